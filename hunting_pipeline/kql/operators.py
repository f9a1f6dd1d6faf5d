"""The operators of KQL and their rules, in one table. To add an operator, add one row to `OPERATORS`.

The lexer, the checks of hunts, the tracer of times, and the rules for columns use the table. An operator
without a row is unknown. An unknown operator is refused in a hunt with a time column. It is accepted in a
snapshot, because a snapshot reads the whole result and needs no tracing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, Flag, auto
from types import MappingProxyType

__all__ = [
    "JOIN_KINDS",
    "OPERATORS",
    "Effect",
    "JoinKind",
    "OperatorRule",
    "Sides",
    "join_kind",
    "operator_rule",
]


class Effect(Enum):
    """The effect of an operator on the columns of its rows."""

    PASSES_ALL = auto()
    """Works row by row. Every column stays as it is."""
    PASSES_UNNAMED = auto()
    """Works row by row. A column stays as it is unless the operator names it."""
    ADDS = auto()
    """Adds the columns that its items name, and keeps all other columns."""
    CHOOSES = auto()
    """Yields the columns of its items and no others."""
    CHOOSES_DISTINCT = auto()
    """Yields the columns of its items and no others, or all columns for `*`."""
    KEEPS = auto()
    """Keeps the columns that it names. A name may contain a wildcard."""
    REMOVES = auto()
    """Removes the columns that it names. A name may contain a wildcard."""
    RENAMES = auto()
    """Renames columns, and keeps all other columns."""
    GROUPS = auto()
    """Yields one row for each group of rows: the keys after `by`, and aggregates."""
    JOINS = auto()
    """Combines rows with the rows of another table. Bounds may go to either side."""
    LOOKS_UP = auto()
    """Combines rows with the rows of another table. Bounds may go to the left side only."""
    UNITES = auto()
    """Appends the rows of other tables."""
    COUNTS = auto()
    """Yields a number, and no column of its input."""
    UNCLEAR = auto()
    """Yields columns that cannot be derived from the text."""


@dataclass(frozen=True, slots=True)
class OperatorRule:
    """One row of the table.

    Attributes:
        effect: the effect on columns.
        refused: the reason why no hunt may use the operator; None if hunts may use it.
        refused_by_time: the reason why a hunt with a time column may not use the operator. A snapshot may.
        gathers: whether a late row can change the times in the result.
        rewrites: whether a late row can change other rows of the result.
        plugins: the plugins that a hunt with a time column may use, with a schema of the result; empty if the
            operator calls no plugin.
        join_kind: the default kind of a join.
    """

    effect: Effect = Effect.UNCLEAR
    refused: str | None = None
    refused_by_time: str | None = None
    gathers: bool = False
    rewrites: bool = False
    plugins: frozenset[str] = frozenset()
    join_kind: str | None = None


_ANY_ROWS = "it returns arbitrary rows. Use `top … by …` in a snapshot, or remove it"
_CHART = "it returns a chart or several results, but an archive holds rows. Remove it"
_RANK = "its result depends on all rows, so it would differ if only one partition is read. Remove it"

OPERATORS: Mapping[str, OperatorRule] = MappingProxyType({
    "where": OperatorRule(Effect.PASSES_ALL),
    "filter": OperatorRule(Effect.PASSES_ALL),
    "sort": OperatorRule(Effect.PASSES_ALL),  # an archive in partitions does not keep an order
    "order": OperatorRule(Effect.PASSES_ALL),
    "project-reorder": OperatorRule(Effect.PASSES_ALL),
    "parse": OperatorRule(Effect.PASSES_UNNAMED),
    "parse-where": OperatorRule(Effect.PASSES_UNNAMED),
    "parse-kv": OperatorRule(Effect.PASSES_UNNAMED),
    "mv-expand": OperatorRule(Effect.PASSES_UNNAMED),
    "mvexpand": OperatorRule(Effect.PASSES_UNNAMED),
    "extend": OperatorRule(Effect.ADDS),
    "project": OperatorRule(Effect.CHOOSES),
    "distinct": OperatorRule(Effect.CHOOSES_DISTINCT),
    "project-keep": OperatorRule(Effect.KEEPS),
    "project-away": OperatorRule(Effect.REMOVES),
    "project-rename": OperatorRule(Effect.RENAMES),
    "summarize": OperatorRule(Effect.GROUPS, gathers=True, rewrites=True),
    "make-series": OperatorRule(gathers=True, rewrites=True),
    "mv-apply": OperatorRule(rewrites=True),
    "join": OperatorRule(Effect.JOINS, rewrites=True, join_kind="innerunique"),
    "lookup": OperatorRule(Effect.LOOKS_UP, rewrites=True, join_kind="leftouter"),
    "union": OperatorRule(Effect.UNITES),
    "count": OperatorRule(Effect.COUNTS),
    "evaluate": OperatorRule(plugins=frozenset({"bag_unpack"})),  # the one plugin that works row by row
    "take": OperatorRule(refused=_ANY_ROWS),
    "limit": OperatorRule(refused=_ANY_ROWS),
    "sample": OperatorRule(refused=_ANY_ROWS),
    "sample-distinct": OperatorRule(refused=_ANY_ROWS),
    "render": OperatorRule(refused=_CHART),
    "fork": OperatorRule(refused=_CHART),
    "facet": OperatorRule(refused=_CHART),
    "consume": OperatorRule(refused=_CHART),
    "top": OperatorRule(refused_by_time=_RANK),
    "top-nested": OperatorRule(refused_by_time=_RANK),
    "top-hitters": OperatorRule(refused_by_time=_RANK),
    "serialize": OperatorRule(refused_by_time=_RANK),
    "scan": OperatorRule(refused_by_time=_RANK),
})  # fmt: skip
"""The rule of each known operator, by its name."""

_UNKNOWN = OperatorRule()


def operator_rule(name: str) -> OperatorRule:
    """Return the rule of an operator. An unknown operator has the most cautious rule."""
    return OPERATORS.get(name, _UNKNOWN)


class Sides(Flag):
    """Sides of a join."""

    NEITHER = 0
    LEFT = auto()
    RIGHT = auto()


@dataclass(frozen=True, slots=True)
class JoinKind:
    """A kind of join.

    Attributes:
        bounds: the sides on which a time filter may move before the join. Each row of the result has exactly
            one row on such a side, so a filter before or after the join gives the same rows.
        columns: the sides whose columns are in the result.
        refused: the reason why a hunt with a time column may not use this kind.
    """

    bounds: Sides = Sides.NEITHER
    columns: Sides = Sides.LEFT | Sides.RIGHT
    refused: str | None = None


_UNKNOWN_KIND = JoinKind()
_LEFT_ONLY = JoinKind(Sides.LEFT, Sides.LEFT)
_RIGHT_ONLY = JoinKind(Sides.RIGHT, Sides.RIGHT)

JOIN_KINDS: Mapping[str, JoinKind] = MappingProxyType({
    "innerunique": JoinKind(
        refused="`join` without a kind is innerunique: it keeps an arbitrary left row for each key."
        " Write kind=inner, or another kind"
    ),
    "inner": JoinKind(Sides.LEFT | Sides.RIGHT),
    "leftouter": JoinKind(Sides.LEFT),
    "rightouter": JoinKind(Sides.RIGHT),
    "fullouter": JoinKind(),
    "leftsemi": _LEFT_ONLY,
    "leftanti": _LEFT_ONLY,
    "leftantisemi": _LEFT_ONLY,
    "anti": _LEFT_ONLY,
    "rightsemi": _RIGHT_ONLY,
    "rightanti": _RIGHT_ONLY,
    "rightantisemi": _RIGHT_ONLY,
})  # fmt: skip
"""The kinds of join, by the value of `kind=`."""


def join_kind(word: str) -> JoinKind:
    """Return the rule of a kind of join. An unknown kind has the most cautious rule."""
    return JOIN_KINDS.get(word, _UNKNOWN_KIND)
