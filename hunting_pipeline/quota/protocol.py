"""The operations of a tenant's quota ledger, and the values that they take and return."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from hunting_pipeline.quota.outage import UNKNOWN, CallEnd
from hunting_pipeline.quota.rules import Priority, WaitUntil
from hunting_pipeline.quota.windows import RateUse

__all__ = ["Access", "Down", "HourOfCalls", "Ledger", "Reservation", "Usage"]


@dataclass(frozen=True, slots=True)
class Reservation:
    """A permit to send one call now. Settle it, or cancel it if the call was never sent.

    Attributes:
        id: its id in the ledger.
        table: the table that the call queries.
        seconds: running seconds reserved.
        expires: when the reservation counts as ended if it is never settled (Unix seconds).
        rows: whether the call asks for rows.
    """

    id: str
    table: str
    seconds: float
    expires: float
    rows: bool


@dataclass(frozen=True, slots=True)
class Down:
    """The decision to send no call: the service has not answered for a long time.

    Attributes:
        until: when a call may be sent again (Unix seconds).
        failures: number of calls that failed in a row.
        reason: the last failure, for people.
    """

    until: float
    failures: int
    reason: str


@dataclass(frozen=True, slots=True)
class Access:
    """The latest answer of the sign-in and the service to one identity: it is accepted or refused.

    Attributes:
        since: when this answer first followed another one (Unix seconds).
        at: when this answer was last recorded (Unix seconds).
        refusal: the reason for people; "" if the identity was accepted.
    """

    since: float
    at: float
    refusal: str


@dataclass(frozen=True, slots=True)
class HourOfCalls:
    """The calls of one program about one table that ended within one hour.

    Attributes:
        start: start of the hour (Unix seconds, a multiple of 3600).
        table: the table.
        program: the program that sent the calls, such as `hunting` or `dagster`.
        calls: number of calls.
        seconds: their running time.
    """

    start: float
    table: str
    program: str
    calls: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Usage:
    """The state of a tenant's quota.

    Attributes:
        tenant: the tenant's id.
        at: time of this state (Unix seconds).
        share: the part of every rate that this ledger uses.
        rates: the amounts spent, reserved and left of each rate.
        blocked_until: end of the block after a 429 (Unix seconds); None without a block.
        block_reason: the service's own words.
        failures: number of calls that failed in a row since the service last answered; 0 without an outage.
        failure: the last of these failures, for people.
        running: number of calls sent and not settled.
        waiting: number of waiting callers, by priority.
        longest_wait: seconds since the earliest caller in the queue first asked; 0 if the queue is empty.
        owners: calls within the longest period, by owner.
        priorities: calls within the longest period, by priority.
    """

    tenant: str
    at: float
    share: float
    rates: tuple[RateUse, ...]
    blocked_until: float | None
    block_reason: str
    failures: int
    failure: str
    running: int
    waiting: Mapping[Priority, int]
    longest_wait: float
    owners: Mapping[str, int]
    priorities: Mapping[Priority, int]


class Ledger(Protocol):
    """The quota of one tenant.

    Every method but `settle` may raise `ServiceFailed` if the ledger is unreachable for a minute, and
    `Misconfigured` if the ledger's file was deleted or replaced.
    """

    def reserve(
        self, *, table: str, priority: Priority, owner: str, rows: bool = True
    ) -> Reservation | WaitUntil | Down:
        """Return a permit to send one call now, or the time to ask again. Does not wait for quota.

        Send the call at once after a permit, because the call counts from now on. After `WaitUntil`, the
        caller (owner and thread) keeps its queue entry until a few seconds after the returned time.

        Args:
            table: the table that the call queries.
            priority: the urgency of the call.
            owner: the process that sends the call.
            rows: whether the call asks for rows, not for a count or the Schema.
        """

    def settle(self, reservation: Reservation, *, seconds: float, end: CallEnd = UNKNOWN) -> None:
        """Record that the call ended after `seconds` of running time. A second call changes nothing.

        If the ledger fails, the record is kept in memory. The next step of the ledger settles the call.

        Raises:
            ValueError: `seconds` is negative or not finite.
        """

    def cancel(self, reservation: Reservation) -> None:
        """Remove a reservation whose call was never sent. It no longer counts."""

    def block(self, *, until: float, reason: str) -> None:
        """Block all calls of the tenant until `until` (Unix seconds), because the service answered 429."""

    def usage(self) -> Usage:
        """Return the amounts spent, reserved and left, and the calls of each owner."""

    def claim(self, table: str, *, lake: str, holder: str, max_wait: float) -> AbstractContextManager[None]:
        """Wait for the claim of a table, and hold it. All runs that share the ledger share the claim.

        While the claim is held, it raises no error: an outage of the ledger is ignored, and the loss of the
        claim is only reported. A lost claim costs quota, and no rows.

        Args:
            table: the table.
            lake: the location of the lake, the same text for all runs.
            holder: the run that asks, for messages.
            max_wait: longest wait in seconds.

        Raises:
            LakeBusy: another run holds the claim for longer than `max_wait` seconds.
        """

    def hours(self, *, since: float) -> list[HourOfCalls]:
        """Return the ended calls by hour, table and program, the oldest first. The ledger keeps 35 days.

        Args:
            since: the first hour contains this time (Unix seconds).
        """

    def access(self, identity: str) -> Access | None:
        """Return the latest answer to an identity, or None if it never asked.

        Args:
            identity: the digest of the settings that sign in.
        """

    def record_access(self, identity: str, *, refusal: str = "") -> None:
        """Record that the service accepts an identity, or refuses every request of it."""

    def close(self) -> None:
        """Settle the calls that are not yet settled, and close the database."""
