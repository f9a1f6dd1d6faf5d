"""All that is known about the functions of KQL, in one table. A new function is one row of `FUNCTIONS`.

Most functions need no row: they give the same value for the same row at any time. The table holds those that
do not, those that round a time, and those that read rows of another table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

__all__ = ["FUNCTIONS", "FunctionRule", "Rounding", "function_rule"]


class Rounding(Enum):
    """The way in which a function rounds a time. A rounded time stands for a span of time."""

    TO_DAY = auto()
    """Down to the start of the day (UTC)."""
    TO_LENGTH = auto()
    """Down to a multiple of its second argument."""
    UNCLEAR = auto()
    """In a way whose spans cannot be derived from the text, or are not of one length."""


@dataclass(frozen=True, slots=True)
class FunctionRule:
    """One row of the table.

    Attributes:
        refused: the reason why no hunt may call the function; None if one may.
        refused_by_time: the reason why a hunt with a time column may not call it; a snapshot may.
        rounding: the way in which it rounds a time; None if it does not round.
        rewrites: whether a late row can change other rows of a result that calls it.
    """

    refused: str | None = None
    refused_by_time: str | None = None
    rounding: Rounding | None = None
    rewrites: bool = False


_CHANCE = FunctionRule(refused="it gives another value on each call. Remove it")
_ANY_VALUE = FunctionRule(
    refused="it takes the value of any row, so its value is not defined. Use arg_max(), max() or make_set()"
)
_CLOCK = FunctionRule(
    refused_by_time="it changes the result from day to day. Remove it: partitions already limit the time"
    " range"
)
_RANK = FunctionRule(
    refused_by_time="its value depends on all rows before, so a partition alone would get other values."
    " Remove it"
)
_ROUNDS_UNCLEARLY = FunctionRule(rounding=Rounding.UNCLEAR)

FUNCTIONS: Mapping[str, FunctionRule] = MappingProxyType({
    "rand": _CHANCE,
    "new_guid": _CHANCE,
    "take_any": _ANY_VALUE,
    "take_anyif": _ANY_VALUE,
    "any": _ANY_VALUE,
    "anyif": _ANY_VALUE,
    "now": _CLOCK,
    "ago": _CLOCK,
    "prev": _RANK,
    "next": _RANK,
    "row_number": _RANK,
    "row_cumsum": _RANK,
    "row_rank_dense": _RANK,
    "row_rank_min": _RANK,
    "row_window_session": _RANK,
    "bin": FunctionRule(rounding=Rounding.TO_LENGTH),
    "floor": FunctionRule(rounding=Rounding.TO_LENGTH),
    "startofday": FunctionRule(rounding=Rounding.TO_DAY),
    "bin_at": _ROUNDS_UNCLEARLY,
    "bin_auto": _ROUNDS_UNCLEARLY,
    "format_datetime": _ROUNDS_UNCLEARLY,
    "make_datetime": _ROUNDS_UNCLEARLY,
    "startofweek": _ROUNDS_UNCLEARLY,
    "startofmonth": _ROUNDS_UNCLEARLY,
    "startofyear": _ROUNDS_UNCLEARLY,
    "endofday": _ROUNDS_UNCLEARLY,
    "endofweek": _ROUNDS_UNCLEARLY,
    "endofmonth": _ROUNDS_UNCLEARLY,
    "endofyear": _ROUNDS_UNCLEARLY,
    "toscalar": FunctionRule(rewrites=True),
})  # fmt: skip
"""The rule of each function that needs one, by its name."""

_ORDINARY = FunctionRule()


def function_rule(name: str) -> FunctionRule:
    """Return the rule of a function; of one without a row the rule of an ordinary function."""
    return FUNCTIONS.get(name, _ORDINARY)
