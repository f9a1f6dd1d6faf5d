"""Time as the service counts it: ticks, half-open spans of them, and arithmetic on spans. Pure.

A *tick* is 100 ns, counted from 1970-01-01T00:00:00Z as a plain integer, because that is the resolution of
Kusto's datetime and a Python `datetime` only holds microseconds. Every span is half-open: its start belongs
to it, its end does not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

__all__ = [
    "CHECKSUM_MODULUS",
    "DAY",
    "HOUR",
    "NULL_TIME",
    "SECOND",
    "Window",
    "datetime_of",
    "iso_of",
    "merge_windows",
    "subtract",
    "ticks_of",
]

SECOND = 10_000_000
"""Ticks in a second."""
HOUR = 3600 * SECOND
DAY = 24 * HOUR

CHECKSUM_MODULUS = 1_000_000_007
"""The modulus of the checksum over time ticks: a prime. A sum over 9 billion rows fits a long."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def ticks_of(moment: datetime | date) -> int:
    """Ticks of an aware datetime, or of a date's midnight UTC.

    Raises:
        ValueError: the datetime has no time zone.
    """
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return (moment - _EPOCH) // _MICROSECOND * 10


def datetime_of(ticks: int) -> datetime:
    """The UTC datetime at or just before `ticks` (microseconds; the last digit of a tick is dropped)."""
    return _EPOCH + timedelta(microseconds=ticks // 10)


def iso_of(ticks: int) -> str:
    """`2026-11-20T10:00:00.1234567Z`: all seven digits, or none on a whole second."""
    seconds, fraction = divmod(ticks, SECOND)
    # not strftime, which does not pad years before 1000 on every platform
    text = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
    return f"{text}.{fraction:07d}Z" if fraction else f"{text}Z"


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The span `[start, end)` in ticks; never empty, never backwards."""

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
        """What both spans hold, or None."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Window(start, end) if start < end else None

    def contains(self, other: "Window") -> bool:
        """Whether `other` lies wholly inside."""
        return self.start <= other.start and other.end <= self.end

    def __str__(self) -> str:
        return f"{iso_of(self.start)} … {iso_of(self.end)}"


def merge_windows(windows: Iterable[Window]) -> tuple[Window, ...]:
    """The same instants in as few windows as possible, ascending."""
    merged: list[Window] = []
    for window in sorted(windows):
        if merged and window.start <= merged[-1].end:
            merged[-1] = Window(merged[-1].start, max(merged[-1].end, window.end))
        else:
            merged.append(window)
    return tuple(merged)


def subtract(window: Window, taken: Iterable[Window]) -> tuple[Window, ...]:
    """What of `window` none of `taken` holds, in ascending order."""
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


NULL_TIME = Window(-621_355_968_000_000_000, -621_355_967_999_999_999)
"""Stands for no time at all: the first tick of year 1, which is older than anything the service remembers."""
