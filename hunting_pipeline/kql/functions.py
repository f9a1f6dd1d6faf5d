"""The functions of KQL that need a rule, in one table. To add a function, add one row to `FUNCTIONS`.

Most functions need no row, because their value depends only on the current row. The table has the functions
whose value depends on anything else, and the functions that round a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

__all__ = ["FUNCTIONS", "FunctionRule", "Rounding", "function_rule"]


class Rounding(Enum):
    """The way in which a function rounds a time. A rounded time represents a span of time."""

    TO_DAY = auto()
    """Down to the start of the day (UTC)."""
    TO_LENGTH = auto()
    """Down to a multiple of its second argument."""
    UNCLEAR = auto()
    """To spans that cannot be derived from the text, or that do not all have the same length."""


@dataclass(frozen=True, slots=True)
class FunctionRule:
    """One row of the table.

    Attributes:
        refused: the reason why no hunt may call the function; None if hunts may call it.
        refused_by_time: the reason why a hunt with a time column may not call the function. A snapshot may.
        rounding: the way in which the function rounds a time; None if it does not round.
        rewrites: whether a late row can change other rows of a query that calls the function.
    """

    refused: str | None = None
    refused_by_time: str | None = None
    rounding: Rounding | None = None
    rewrites: bool = False


_CHANCE = FunctionRule(refused="it returns a different value on each call. Remove it")
_ANY_VALUE = FunctionRule(
    refused="it returns the value of an arbitrary row. Use arg_max(), max() or make_set()"
)
_CLOCK = FunctionRule(
    refused_by_time="it changes the result from day to day. Remove it: partitions already limit the time"
    " range"
)
_RANK = FunctionRule(
    refused_by_time="its value depends on all rows before, so it would differ if only one partition is read."
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
    """Return the rule of a function. A function without a row has the rule of an ordinary function."""
    return FUNCTIONS.get(name, _ORDINARY)
