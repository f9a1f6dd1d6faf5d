"""An outage of the service: the calls that have failed since its last answer. Pure: time is an argument.

While the service fails, one process at a time may send a call. The pause before it doubles with each failure.
All processes of the tenant wait for the result. The first answer ends the outage.

A service can answer counts and fail to send rows. So if a query for rows has failed, only an answer with rows
ends the outage.

A table is given up after `TABLE_FAILURES` failures in a row, and the tenant after `TENANT_FAILURES`. Then no
process sends a call for `DOWN_SECONDS`.
"""

from dataclasses import dataclass, replace

__all__ = ["DOWN_SECONDS", "TABLE_FAILURES", "TENANT_FAILURES", "CallEnd", "Outage"]

TABLE_FAILURES = 7
"""Failures in a row after which a table is given up: with the pauses between them, about a minute."""
TENANT_FAILURES = 3 * TABLE_FAILURES
"""Failures in a row after which the tenant is given up: three tables were tried."""
DOWN_SECONDS = 300.0
"""Seconds between two calls after the tenant was given up: the time until Dagster retries a step."""
LONGEST_PAUSE = 30.0
"""Longest pause in seconds before the tenant is given up."""
ASK_AGAIN_SECONDS = 2.0
"""Seconds until a waiting caller asks again, because the call that all callers wait for may end early."""


@dataclass(frozen=True, slots=True)
class CallEnd:
    """The end of a call.

    Attributes:
        answered: whether the service answered; None if the end does not show it.
        reason: the failure, for people, if the service did not answer.
        pause: seconds that the service demanded before the next call.
    """

    answered: bool | None = None
    reason: str = ""
    pause: float = 0.0


UNKNOWN = CallEnd()
"""The end of a call that does not show whether the service answers."""


@dataclass(frozen=True, slots=True)
class Outage:
    """The calls that have failed since the last answer.

    Attributes:
        failures: number of calls that failed in a row; 0 if there is no outage.
        of_rows: whether one of them asked for rows.
        next_at: earliest time of the next call.
        reason: the last failure, for people.
        asking: whether a call is under way, for whose end all other callers wait.
    """

    failures: int = 0
    of_rows: bool = False
    next_at: float = 0.0
    reason: str = ""
    asking: bool = False

    @property
    def down(self) -> bool:
        """Whether the tenant was given up, and no call is under way."""
        return self.failures >= TENANT_FAILURES and not self.asking

    def after(self, end: CallEnd, now: float, *, rows: bool) -> "Outage":
        """Add the end of a call at `now`. `rows` says whether it asked for rows.

        An answer ends the outage, unless a query for rows failed before and this query asked for none.
        """
        if end.answered is None:
            return self
        if end.answered:
            return replace(self, next_at=now, asking=False) if self.of_rows and not rows else Outage()
        failures = self.failures + 1
        usual = DOWN_SECONDS if failures >= TENANT_FAILURES else min(LONGEST_PAUSE, 0.5 * 2.0**failures)
        next_at = now + max(usual, min(end.pause, DOWN_SECONDS))
        return Outage(failures, self.of_rows or rows, next_at, end.reason)

    def after_permit(self, now: float, *, longest: float) -> "Outage":
        """Add a permit for a call of at most `longest` seconds. All other callers wait for its end."""
        return replace(self, next_at=now + longest, asking=True) if self.failures else self

    def wait(self, now: float) -> float | None:
        """Return the time to ask again; None if a call may be sent now."""
        if not self.failures or now >= self.next_at:
            return None
        return min(self.next_at, now + ASK_AGAIN_SECONDS)
