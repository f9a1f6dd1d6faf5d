"""Limit profiles, and the counters that enforce the limits. None disables a limit.

Sources: the original 2020 API document; learn.microsoft.com pages of the three APIs as of November 2026.
"""

import math
import threading
from collections import deque
from dataclasses import dataclass, fields, replace

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits per tenant (calls and running seconds by window) and per request (rows, bytes, seconds)."""

    calls_per_minute: int | None = None
    calls_per_hour: int | None = None
    running_seconds_per_hour: float | None = None
    running_seconds_per_day: float | None = None
    rows: int | None = 100_000
    bytes: int | None = None
    request_seconds: float | None = None
    retention_days: float | None = 30

    def changed(self, changes: dict[str, float | None]) -> "Limits":
        """Return the limits with some changed. Raise ValueError for an unknown name."""
        unknown = set(changes) - {field.name for field in fields(self)}
        if unknown:
            raise ValueError(f"unknown limit {min(unknown)!r}")
        whole = {"calls_per_minute", "calls_per_hour", "rows", "bytes"}
        typed = {
            key: int(value) if key in whole and value is not None else value for key, value in changes.items()
        }
        return replace(self, **typed)  # type: ignore[arg-type]


PROFILES = {
    "original": Limits(
        calls_per_minute=10, running_seconds_per_hour=600, running_seconds_per_day=14_400, request_seconds=600
    ),
    "xdr": Limits(calls_per_minute=45, bytes=50 * _MEGABYTE, request_seconds=180),
    "graph": Limits(calls_per_minute=45, bytes=50 * _MEGABYTE, request_seconds=180),
    "endpoint": Limits(
        calls_per_minute=45,
        calls_per_hour=1_500,
        running_seconds_per_hour=600,
        running_seconds_per_day=10_800,
        bytes=50 * _MEGABYTE,
        request_seconds=200,
    ),
    "test": Limits(),
}


@dataclass(frozen=True, slots=True)
class Exceeded:
    """An exhausted quota: code and message of the 429, and the seconds until the quota is available again."""

    code: str
    message: str
    seconds: int


class Meter:
    """The quota usage in sliding windows. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[float] = deque()
        self._runs: deque[tuple[float, float]] = deque()

    def enter(self, limits: Limits, now: float) -> Exceeded | None:
        """Count a call, or return the exhausted quota. A refused call costs nothing."""
        with self._lock:
            self._forget(now)
            found = self._exceeded(limits, now)
            if found is None:
                self._calls.append(now)
            return found

    def spend(self, seconds: float, now: float) -> None:
        """Charge the running time of a finished query."""
        with self._lock:
            self._runs.append((now, seconds))

    def reset(self) -> None:
        """Reset all counters."""
        with self._lock:
            self._calls.clear()
            self._runs.clear()

    def _forget(self, now: float) -> None:
        while self._calls and self._calls[0] <= now - HOUR:
            self._calls.popleft()
        while self._runs and self._runs[0][0] <= now - DAY:
            self._runs.popleft()

    def _exceeded(self, limits: Limits, now: float) -> Exceeded | None:
        for most, window, name in (
            (limits.calls_per_minute, MINUTE, "00:01:00"),
            (limits.calls_per_hour, HOUR, "01:00:00"),
        ):
            recent = [at for at in self._calls if at > now - window]
            if most is not None and len(recent) >= most:
                wait = max(1, math.ceil(recent[-most] + window - now)) if most else math.ceil(window)
                return Exceeded("429", f"API calls quota exceeded! maximum allowed {most} per {name}", wait)
        for budget, window, name in (
            (limits.running_seconds_per_hour, HOUR, "hour"),
            (limits.running_seconds_per_day, DAY, "day"),
        ):
            wait = self._running_wait(budget, window, now)
            if wait:
                spent = f"You have exceeded the running time allotted per {name}."
                text = f"{spent} You can run queries again in {wait} seconds"
                return Exceeded("CpuQuotaExceeded", text, wait)
        return None

    def _running_wait(self, budget: float | None, window: float, now: float) -> int:
        recent = [(at, spent) for at, spent in self._runs if at > now - window]
        total = sum(spent for _, spent in recent)
        if budget is None or total < budget:
            return 0
        for at, spent in recent:
            total -= spent
            if total < budget:
                return max(1, math.ceil(at + window - now))
        return math.ceil(window)
