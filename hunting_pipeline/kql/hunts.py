"""A person's query becomes a hunt: one that can be asked for a span of time, or is refused with the reason.

`Q | where T >= a and T < b` is the part of Q's result that lies in the span, whatever Q is, as long as Q
gives the same rows whenever it is asked. So what changes by itself is refused, what is not known to be steady
too, and everything else is a matter of cost: how far up the bounds may go besides. See docs/decisions.
"""

from collections.abc import Mapping
from types import MappingProxyType

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.hunt import Hunt
from hunting_pipeline.kql.reading import (
    Query,
    Unsliceable,
    calls,
    options,
    piped,
    pipeline,
    query,
)
from hunting_pipeline.kql.results import MAKING, ROW_BY_ROW, Columns
from hunting_pipeline.kql.tracing import Edit, Trace, Tracer

__all__ = ["check_steady", "read"]

_ANY_ROWS = "which rows it takes is not defined: use `top … by …`, in a snapshot, or leave it out"
_CHART = "it makes a chart or several results, and an archive holds rows: leave it out"
_RANK = "it depends on all rows before it, so a span alone would give others: leave it out"
_CLOCK = "it moves with the clock, so a partition would mean something else each day: the partitions bound"
_CHANCE = "it gives another value each time it is asked"
_ANY_VALUE = "whose value it takes is not defined: use arg_max(), max() or make_set()"

_NEVER: Mapping[str, str] = MappingProxyType({
    **dict.fromkeys(("take", "limit", "sample", "sample-distinct"), _ANY_ROWS),
    **dict.fromkeys(("render", "fork", "facet", "consume"), _CHART),
})  # fmt: skip
"""Operators that no archive can hold, and why."""

_RANKING = frozenset({"top", "top-nested", "top-hitters", "serialize", "scan"})

_KNOWN = (
    ROW_BY_ROW
    | MAKING
    | {
        *("extend", "project", "project-away", "project-keep", "project-rename", "distinct", "summarize"),
        *("make-series", "mv-apply", "join", "lookup", "union", "count"),
    }
)
"""Operators that give the same rows whenever they are asked, whatever else they do."""

_UNPACK = ["evaluate", "bag_unpack"]
"""The one plugin that works row by row."""

_CHANCES: Mapping[str, str] = MappingProxyType({
    **dict.fromkeys(("rand", "new_guid"), _CHANCE),
    **dict.fromkeys(("take_any", "take_anyif", "any", "anyif"), _ANY_VALUE),
})  # fmt: skip

_MOVING: Mapping[str, str] = MappingProxyType({
    **dict.fromkeys(("now", "ago"), f"{_CLOCK} the time, leave it out"),
    **dict.fromkeys(("prev", "next", "row_number", "row_cumsum", "row_rank_dense", "row_rank_min",
                     "row_window_session"), _RANK),
})  # fmt: skip

_REWRITES = frozenset({"summarize", "make-series", "mv-apply", "join", "lookup"})
"""Operators by which a late row can change another row of the result."""


def read(text: str, time_column: str | None, columns: Columns) -> Hunt:
    """What a query is to the pipeline; with no time column, a snapshot of its result.

    Args:
        text: as a person wrote it; lines are counted in it.
        time_column: of its result.
        columns: what is documented of tables; only decides how far up bounds may go.

    Raises:
        Unsliceable: it has no shape of a query, or its rows would not stay the same.
    """
    found = query(text)
    main = pipeline(found.main)
    _refuse_chance(found)
    if time_column is None:
        return _hunt(found, Trace(()))
    _refuse_motion(found)
    return _hunt(found, Tracer(found, columns).trace(main, time_column))


def check_steady(predicate: str, time_column: str | None) -> None:
    """Accept a table's predicate that would be accepted within a hunt with that time column.

    Raises:
        Misconfigured: the rows that fulfil it would not stay the same.
    """
    try:
        found = query(predicate)
        _refuse_chance(found)
        if time_column is not None:
            _refuse_motion(found)
    except Unsliceable as error:
        raise Misconfigured(error.reason) from None


def _refuse_chance(found: Query) -> None:
    for name, _ in piped(found.tokens):
        if name.text in _NEVER:
            raise Unsliceable(name.line, f"`{name.text}`: {_NEVER[name.text]}")
    _refuse_calls(found, _CHANCES)


def _refuse_motion(found: Query) -> None:
    _refuse_calls(found, _MOVING)
    for name, words in piped(found.tokens):
        if name.text in _RANKING:
            raise Unsliceable(name.line, f"`{name.text}`: {_RANK}")
        if name.text not in _KNOWN and [name.text, *(one.text for one in words[:1])] != _UNPACK:
            raise Unsliceable(
                name.line, f"`{name.text}` is not known to give the same rows whenever it is asked"
            )
        if name.text == "join" and options(words)[0].get("kind", "innerunique") == "innerunique":
            raise Unsliceable(
                name.line,
                "`join` without a kind is innerunique: it takes any one of the left rows that share a key."
                " Write kind=inner, or another kind",
            )


def _refuse_calls(found: Query, reasons: Mapping[str, str]) -> None:
    for name in calls(found.tokens):
        if name.text in reasons:
            raise Unsliceable(name.line, f"{name.text}(): {reasons[name.text]}")


def _hunt(found: Query, trace: Trace) -> Hunt:
    edits = sorted(trace.edits, key=lambda edit: edit.after)
    return Hunt(
        text=_written(found, [])[0],
        parts=_written(found, edits),
        bounds=tuple(edit.bound for edit in edits),
        step=trace.step,
        unseen=_rewrites(found),
        whole=trace.whole,
    )


def _rewrites(found: Query) -> bool:
    """Whether a late row can change others: by what it is gathered with, joined to, or looked up in."""
    named = any(token.text == "|" for value in found.lets.values() for token in value)
    looked_up = any(
        token.text == "|"
        for name, words in piped(found.tokens)
        if name.text in ("extend", "project")
        for token in words
    )
    names = {name.text for name in (*(name for name, _ in piped(found.tokens)), *calls(found.tokens))}
    return named or looked_up or not names.isdisjoint({*_REWRITES, "toscalar"})


def _written(found: Query, edits: list[Edit]) -> tuple[str, ...]:
    """The query's tokens with narrow gaps, cut behind each edit."""
    opening = {edit.after for edit in edits if edit.bracketed}
    cutting = {edit.after: edit for edit in edits}
    last = found.main[-1].at
    parts, text = [], ""
    for token in found.tokens[: last + 1]:
        text += token.gap + ("(" if token.at in opening else "") + token.text
        if token.at in cutting:
            parts.append(text)
            text = ")" if cutting[token.at].bracketed else ""
    first, *others = [*parts, text]
    return (first.lstrip(), *others)
