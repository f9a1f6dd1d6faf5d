"""A run's log, for a person who watches: how far, how fast, until when."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from hunting_pipeline.model import Progress, Step

__all__ = ["Reporter", "line_of"]

_EVERY_SECONDS = 10.0
"""Between two lines about fetched slices: each line is an event in Dagster's storage."""


def line_of(progress: Progress, *, seconds: float, now: float, quota: str) -> str:
    """One line: `seconds` after the pull began, at `now` (Unix seconds), with so much `quota` left."""
    share = progress.rows / progress.rows_planned if progress.rows_planned else 1.0
    rate = progress.rows / seconds if seconds > 0 else 0.0
    left = _until((progress.rows_planned - progress.rows) / rate, now) if rate else ""
    return (
        f"{progress.message}, {progress.rows:,} of {progress.rows_planned:,} rows ({share:.0%}),"
        f" {progress.partitions} of {progress.partitions_planned} partitions,"
        f" {progress.calls} calls, {rate:,.0f} rows/s{left}; {quota}"
    )


def _until(seconds: float, now: float) -> str:
    end = datetime.fromtimestamp(now + max(seconds, 0.0), UTC)
    return f", about {_span(seconds)} left, done by {end:%H:%M:%S} UTC"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Reporter:
    """Observes a pull and tells it line by line; called from several threads.

    Plans, waits and splits are told at once, slices now and then. Commits tell themselves: each is an event.
    """

    def __init__(
        self, tell: Callable[[str], object], clock: Callable[[], float], *, quota: Callable[[], str]
    ) -> None:
        self._tell = tell
        self._clock = clock
        self._quota = quota
        self._started = self._told = clock()
        self._lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        with self._lock:
            match progress.step:
                case Step.PLANNED | Step.WAITING | Step.SPLIT:
                    self._tell(progress.message)
                case Step.FETCHED if self._clock() - self._told >= _EVERY_SECONDS:
                    self._told = self._clock()
                    seconds = self._told - self._started
                    self._tell(line_of(progress, seconds=seconds, now=self._told, quota=self._quota()))
                case _:
                    pass
