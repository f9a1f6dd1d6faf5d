"""Time in ticks, half-open spans of ticks, arithmetic on spans, and the constants of the checksum. Pure.

A *tick* is 100 ns. Times are integers: ticks since 1970-01-01T00:00:00Z. 100 ns is the resolution of Kusto's
datetime; a Python `datetime` holds only microseconds. Every span is half-open: the start is inclusive, and
the end is exclusive.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol, Self, TypeVar

__all__ = [
    "CHECKSUM_MODULUS",
    "DAY",
    "DOTNET_EPOCH",
    "HOUR",
    "NULL_TIME",
    "SECOND",
    "Window",
    "datetime_of",
    "iso_of",
    "merge_windows",
    "nanoseconds_of",
    "subtract",
    "ticks_of",
    "ticks_of_nanoseconds",
]

SECOND = 10_000_000
"""Ticks in a second."""
HOUR = 3600 * SECOND
DAY = 24 * HOUR

DOTNET_EPOCH = 621_355_968_000_000_000
"""Ticks from 0001-01-01 to 1970-01-01. Kusto's `tolong(datetime)` counts from 0001-01-01."""

CHECKSUM_MODULUS = 1_000_000_007
"""A prime. The checksum is the sum of `tolong(time) % CHECKSUM_MODULUS`: 9e9 rows still fit 64 bits."""

_NANOSECONDS = 100
"""Nanoseconds in a tick."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Whole(Protocol):
    """A whole number, or an array of whole numbers."""

    def __floordiv__(self, other: int, /) -> Self: ...
    def __mul__(self, other: int, /) -> Self: ...


_W = TypeVar("_W", bound=_Whole)


def ticks_of_nanoseconds(nanoseconds: _W) -> _W:
    """Convert nanoseconds since 1970 to ticks, rounded down. Takes an integer or an array."""
    return nanoseconds // _NANOSECONDS


def nanoseconds_of(ticks: _W) -> _W:
    """Convert ticks to nanoseconds since 1970. Takes an integer or an array."""
    return ticks * _NANOSECONDS


def ticks_of(moment: datetime | date) -> int:
    """Convert an aware datetime, or midnight UTC of a date, to ticks.

    Raises:
        ValueError: the datetime has no time zone.
    """
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return (moment - _EPOCH) // _MICROSECOND * 10


def datetime_of(ticks: int) -> datetime:
    """Convert ticks to a UTC datetime, rounded down to microseconds."""
    return _EPOCH + timedelta(microseconds=ticks // 10)


def iso_of(ticks: int) -> str:
    """Format ticks as `2026-11-20T10:00:00.1234567Z`: seven digits, or none for a whole second."""
    seconds, fraction = divmod(ticks, SECOND)
    # not strftime, which does not pad years before 1000 on every platform
    text = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
    return f"{text}.{fraction:07d}Z" if fraction else f"{text}Z"


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The span `[start, end)` in ticks; `start` is always less than `end`."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(f"a window must end after it starts: {iso_of(self.start)} … {iso_of(self.end)}")

    @property
    def ticks(self) -> int:
        """Length in ticks."""
        return self.end - self.start

    def intersection(self, other: "Window") -> "Window | None":
        """Return the common part of both spans; None if they do not overlap."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Window(start, end) if start < end else None

    def contains(self, other: "Window") -> bool:
        """Return whether `other` lies completely inside this span."""
        return self.start <= other.start and other.end <= self.end

    def __str__(self) -> str:
        return f"{iso_of(self.start)} … {iso_of(self.end)}"


def merge_windows(windows: Iterable[Window]) -> tuple[Window, ...]:
    """Merge windows that overlap or touch. The result covers the same instants, in ascending order."""
    merged: list[Window] = []
    for window in sorted(windows):
        if merged and window.start <= merged[-1].end:
            merged[-1] = Window(merged[-1].start, max(merged[-1].end, window.end))
        else:
            merged.append(window)
    return tuple(merged)


def subtract(window: Window, taken: Iterable[Window]) -> tuple[Window, ...]:
    """Return the parts of `window` outside all of `taken`, in ascending order."""
    left: list[Window] = []
    start = window.start
    for other in sorted(taken):
        if other.end <= start or other.start >= window.end:
            continue
        if other.start > start:
            left.append(Window(start, other.start))
        start = other.end
    if start < window.end:
        left.append(Window(start, window.end))
    return tuple(left)


NULL_TIME = Window(-DOTNET_EPOCH, 1 - DOTNET_EPOCH)
"""The window of null-time rows: the first tick of year 1. No row of the service has this time."""
