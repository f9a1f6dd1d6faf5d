"""The lines of a run's log: how much is done, how fast, and when the pull will end."""

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from hunting_pipeline.model import Progress, Step

__all__ = ["Reporter", "WaitNotices", "line_of", "span"]

_EVERY_SECONDS = 10.0
"""Seconds between two lines about fetched slices: each line is an event in Dagster's storage."""

_WAIT_SECONDS = 30.0
"""Least seconds between two reports of waits with one reason. A queued call asks again every few seconds."""


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
    return f", about {span(seconds)} left, done by {end:%H:%M:%S} UTC"


def span(seconds: float) -> str:
    """Return a duration as text, such as `3 min 20 s`."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class WaitNotices:
    """Decides which waits are reported: each reason once, and then at most every 30 seconds.

    Two reasons that differ only in numbers or in the length of the queue are the same reason. Several threads
    may use one object.
    """

    def __init__(self) -> None:
        self._reported: dict[str, float] = {}
        self._lock = threading.Lock()

    def due(self, reason: str, now: float) -> bool:
        """Return whether to report a wait that begins at `now` (seconds), and record the report."""
        key = re.sub(r"\d+", "", reason.partition(", ")[0])
        with self._lock:
            if now < self._reported.get(key, float("-inf")) + _WAIT_SECONDS:
                return False
            self._reported[key] = now
            return True


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
