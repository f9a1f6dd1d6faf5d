"""The lines of a run's log: how much is done, how fast, and when the pull will end."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from hunting_pipeline.model import Progress, Step

__all__ = ["Reporter", "line_of"]

_EVERY_SECONDS = 10.0
"""Seconds between two lines about fetched slices: each line is an event in Dagster's storage."""


def line_of(progress: Progress, *, seconds: float, now: float, quota: str) -> str:
    """Return one line of the log.

    Args:
        progress: the state of the pull.
        seconds: seconds since the pull began.
        now: the current time (Unix seconds).
        quota: the amounts left in the quota, as text.
    """
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
    """An observer of a pull that writes lines to a log. Several threads may call it.

    Plans, waits and splits are reported at once, and fetched slices every ten seconds. Commits are not
    reported here, because each commit is its own event.
    """

    def __init__(
        self, log: Callable[[str], object], clock: Callable[[], float], *, quota: Callable[[], str]
    ) -> None:
        """Begin to observe a pull.

        Args:
            log: writes one line.
            clock: returns the current time (Unix seconds).
            quota: returns the amounts left in the quota, as text.
        """
        self._log = log
        self._clock = clock
        self._quota = quota
        self._started = self._reported = clock()
        self._lock = threading.Lock()

    def __call__(self, progress: Progress) -> None:
        """Write a line about one step of the pull; some steps are left out, see the class."""
        with self._lock:
            match progress.step:
                case Step.PLANNED | Step.WAITING | Step.SPLIT:
                    self._log(progress.message)
                case Step.FETCHED if self._clock() - self._reported >= _EVERY_SECONDS:
                    self._reported = self._clock()
                    seconds = self._reported - self._started
                    self._log(line_of(progress, seconds=seconds, now=self._reported, quota=self._quota()))
                case _:
                    pass
