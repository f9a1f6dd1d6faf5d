"""The records of one tenant in the ledger, within one transaction: its state, history, queue, estimates,
claims and identities.

All times are on the ledger's own time line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hunting_pipeline.quota.claims import Claim
from hunting_pipeline.quota.outage import Outage
from hunting_pipeline.quota.protocol import Access, HourOfCalls
from hunting_pipeline.quota.rules import GRACE_SECONDS, Priority, QueueEntry
from hunting_pipeline.quota.store import Run
from hunting_pipeline.quota.windows import Spend

__all__ = ["HOUR_SECONDS", "Estimate", "TenantRecords", "elapsed", "learned", "program_of"]

SUM_AFTER_SECONDS = 3700.0
"""Calls that ended longer ago are read as sums: only rates per day still count them. Just above an hour."""
SUM_SECONDS = 300.0
"""The time that one sum covers. A rate per day therefore renews at most 0.35 % later."""


HOUR_SECONDS = 3600.0


def program_of(owner: str) -> str:
    """Return the program in the name of an owner, which is its first word."""
    return owner.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate of the running seconds of a table's calls: smoothed mean and mean deviation."""

    mean: float
    deviation: float

    @property
    def upper(self) -> float:
        """The seconds to reserve. Almost no call takes longer (RFC 6298, 2.3: mean + 4 deviations)."""
        return self.mean + 4 * self.deviation


def learned(before: Estimate | None, seconds: float) -> Estimate:
    """Update an estimate with one more call of `seconds`. Gains 1/8 and 1/4: RFC 6298, 2.2 and 2.3."""
    if before is None:
        return Estimate(seconds, seconds / 2)
    deviation = before.deviation + (abs(before.mean - seconds) - before.deviation) / 4
    return Estimate(before.mean + (seconds - before.mean) / 8, deviation)


def elapsed(before: tuple[float, float | None], after: tuple[float, float | None]) -> float:
    """Return the seconds between two readings `(wall clock, monotonic clock)`; never negative.

    The monotonic clock is used, so a change of the wall clock has no effect. The wall clock is used if there
    is no monotonic clock or if a reboot has restarted it. If the wall clock was set back, no time has passed:
    too little time only makes the ledger wait, but too much would exceed the quota.
    """
    (wall, monotonic), (wall_after, monotonic_after) = before, after
    if monotonic is not None and monotonic_after is not None and monotonic_after >= monotonic:
        return monotonic_after - monotonic
    return max(0.0, wall_after - wall)


class TenantRecords:
    """The rows of one tenant in the ledger, within one transaction. Call `write` at its end.

    Attributes:
        now: the ledger's time.
        blocked_until: no call may start earlier; a time in the past means no block.
        block_reason: the service's own words.
        fresh_in_a_row: number of fresh calls sent since the last backfill call.
    """

    def __init__(self, run: Run, tenant: str, *, reading: tuple[float, float | None]) -> None:
        self._run = run
        self._tenant = tenant
        self._reading = reading
        rows = run(
            "SELECT now, wall, monotonic, blocked_until, block_reason, last_number, fresh_in_a_row"
            " FROM quota_tenant WHERE tenant = ?",
            tenant,
        )
        if not rows:
            row = (tenant, reading[0], *reading, 0.0, "", 0, 0)
            run("INSERT INTO quota_tenant VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)
            rows = [row[1:]]
        before, wall, monotonic, *state = rows[0]
        self.blocked_until, self.block_reason, self._last_number, self.fresh_in_a_row = state
        self.now: float = before + elapsed((wall, monotonic), reading)

    def write(self) -> None:
        """Write the tenant's state back, with the time of this transaction."""
        self._run(
            "UPDATE quota_tenant SET now = ?, wall = ?, monotonic = ?, blocked_until = ?, block_reason = ?,"
            " last_number = ?, fresh_in_a_row = ? WHERE tenant = ?",
            *(self.now, *self._reading, self.blocked_until, self.block_reason),
            *(self._last_number, self.fresh_in_a_row, self._tenant),
        )

    def prune(self, *, horizon: float) -> None:
        """Delete calls that ended more than `horizon` seconds ago, and queue entries that have expired."""
        oldest = self.now - horizon
        self._run("DELETE FROM quota_spend WHERE tenant = ? AND ended < ?", self._tenant, oldest)
        self._run("DELETE FROM quota_past WHERE tenant = ? AND ended < ?", self._tenant, oldest)
        dead = "DELETE FROM quota_spend WHERE tenant = ? AND ended IS NULL AND expires < ?"
        self._run(dead, self._tenant, oldest)
        gone = "DELETE FROM quota_queue WHERE tenant = ? AND wake_at < ?"
        self._run(gone, self._tenant, self.now - GRACE_SECONDS)

    def prune_hours(self, *, before: int) -> None:
        """Delete the calls by hour before the hour with this number."""
        self._run("DELETE FROM quota_hour WHERE tenant = ? AND hour < ?", self._tenant, before)

    def hours(self, *, since: int) -> list[HourOfCalls]:
        """Return the calls by hour from the hour with this number on, the oldest first."""
        rows = self._run(
            "SELECT hour, source_table, program, calls, seconds FROM quota_hour"
            " WHERE tenant = ? AND hour >= ? ORDER BY hour, source_table, program",
            *(self._tenant, since),
        )
        return [HourOfCalls(hour * HOUR_SECONDS, *rest) for hour, *rest in rows]

    def history(self, *, longest: float) -> list[Spend]:
        """Return the calls that ended within `longest` seconds or may still run. Old calls come as sums."""
        oldest = self.now - longest
        slot = math.floor((self.now - SUM_AFTER_SECONDS) / SUM_SECONDS)
        columns = "reserved_at, 1, seconds, expires, ended, expected FROM quota_spend WHERE tenant = ?"
        rows = self._run(
            f"SELECT {columns} AND ended IS NULL UNION ALL SELECT {columns} AND ended >= ?"  # noqa: S608 - constants
            " UNION ALL SELECT reserved_at, calls, seconds, ended, ended, 0 FROM quota_past"
            " WHERE tenant = ? AND slot < ? AND ended > ?",
            *(self._tenant, self._tenant, max(oldest, slot * SUM_SECONDS), self._tenant, slot, oldest),
        )
        return [Spend(*row) for row in rows]

    def calls_by(self, column: str, *, longest: float) -> dict[str, int]:
        """Count the calls of the history by `column`: owner or priority."""
        rows = self._run(
            f"SELECT {column}, count(*) FROM quota_spend WHERE tenant = ?"  # noqa: S608 - one of two names
            f" AND (ended IS NULL OR ended > ?) GROUP BY {column} ORDER BY {column}",
            *(self._tenant, self.now - longest),
        )
        return {str(name): int(calls) for name, calls in rows}

    def reserve(
        self,
        name: str,
        *,
        table: str,
        priority: Priority,
        owner: str,
        seconds: float,
        expected: float,
        expires: float,
    ) -> None:
        """Insert a reservation with the id `name`."""
        self.fresh_in_a_row = self.fresh_in_a_row + 1 if priority is Priority.FRESH else 0
        self._run(
            "INSERT INTO quota_spend"
            " (id, tenant, priority, owner, source_table, reserved_at, seconds, expected, expires)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(name, self._tenant, priority, owner, table, self.now, seconds, expected, expires),
        )

    def settle(self, name: str, *, table: str, seconds: float, hour: int) -> bool:
        """Record the measured running time and update the table's estimate. Return whether it is new.

        Changes nothing if the reservation is already settled, cancelled or pruned. `hour` is the number of
        the present hour since 1970.
        """
        statement = (
            "UPDATE quota_spend SET ended = ?, seconds = ? WHERE id = ? AND ended IS NULL RETURNING owner"
        )
        settled = self._run(statement, self.now, seconds, name)
        if not settled:
            return False
        ((owner,),) = settled
        self._run(
            "INSERT INTO quota_hour (tenant, hour, source_table, program, calls, seconds)"
            " VALUES (?, ?, ?, ?, 1, ?) ON CONFLICT (tenant, hour, source_table, program) DO UPDATE"
            " SET calls = quota_hour.calls + 1, seconds = quota_hour.seconds + excluded.seconds",
            *(self._tenant, hour, table, program_of(owner), seconds),
        )
        self._run(
            "INSERT INTO quota_past (tenant, slot, calls, seconds, reserved_at, ended)"
            " VALUES (?, ?, 1, ?, ?, ?) ON CONFLICT (tenant, slot) DO UPDATE"
            " SET calls = quota_past.calls + 1, seconds = quota_past.seconds + excluded.seconds,"
            " reserved_at = excluded.reserved_at, ended = excluded.ended",
            *(self._tenant, math.floor(self.now / SUM_SECONDS), seconds, self.now, self.now),
        )
        estimate = learned(self._estimate_of(table), seconds)
        self._run(
            "INSERT INTO quota_estimate (tenant, source_table, mean, deviation) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (tenant, source_table) DO UPDATE SET mean = excluded.mean,"
            " deviation = excluded.deviation",
            *(self._tenant, table, estimate.mean, estimate.deviation),
        )
        return True

    def cancel(self, name: str) -> None:
        """Delete a reservation that is not settled."""
        self._run("DELETE FROM quota_spend WHERE id = ? AND ended IS NULL", name)

    def estimate(self, table: str) -> Estimate | None:
        """Return the table's estimate, or else the highest of all tables; None if no call was settled."""
        known = self._estimate_of(table)
        if known is not None:
            return known
        rows = self._run("SELECT mean, deviation FROM quota_estimate WHERE tenant = ?", self._tenant)
        return max((Estimate(*row) for row in rows), key=lambda e: e.upper, default=None)

    def _estimate_of(self, table: str) -> Estimate | None:
        rows = self._run(
            "SELECT mean, deviation FROM quota_estimate WHERE tenant = ? AND source_table = ?",
            *(self._tenant, table),
        )
        return Estimate(*rows[0]) if rows else None

    def queue(self, caller: str, *, priority: Priority) -> tuple[int, float, tuple[QueueEntry, ...]]:
        """Return the caller's queue number, the time of its assignment, and all other entries.

        Assigns a new number if the caller has none or its last one has expired.
        """
        number, since, others = 0, self.now, []
        for name, *columns in self._run(f"SELECT caller, {_ENTRY} WHERE tenant = ?", self._tenant):
            entry = _entry(columns)
            if (name, entry.priority) != (caller, priority):
                others.append(entry)
            elif entry.at + GRACE_SECONDS >= self.now:
                number, since = entry.number, entry.since
        if not number:
            number = self._last_number = int(self._last_number) + 1
        return number, since, tuple(others)

    def outage(self) -> Outage:
        """Return the outage of the service, which has no failures in normal times."""
        rows = self._run(
            "SELECT failures, of_rows, next_at, reason, asking FROM quota_outage WHERE tenant = ?",
            self._tenant,
        )
        if not rows:
            return Outage()
        failures, of_rows, next_at, reason, asking = rows[0]
        return Outage(failures, bool(of_rows), next_at, reason, bool(asking))

    def write_outage(self, outage: Outage) -> None:
        """Write the outage of the service."""
        self._run(
            "INSERT INTO quota_outage (tenant, failures, of_rows, next_at, reason, asking)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant) DO UPDATE SET failures = excluded.failures,"
            " of_rows = excluded.of_rows, next_at = excluded.next_at, reason = excluded.reason,"
            " asking = excluded.asking",
            *(self._tenant, outage.failures, outage.of_rows, outage.next_at, outage.reason, outage.asking),
        )

    def claim(self, table: str, *, lake: str) -> Claim | None:
        """Return the claim on a table of a lake, even if it has expired; None if there is none."""
        rows = self._run(
            "SELECT token, holder, since, expires FROM quota_claim"
            " WHERE tenant = ? AND lake = ? AND source_table = ?",
            *(self._tenant, lake, table),
        )
        return Claim(*rows[0]) if rows else None

    def write_claim(self, table: str, *, lake: str, claim: Claim) -> None:
        """Write the claim on a table of a lake, in place of the last claim."""
        self._run(
            "INSERT INTO quota_claim (tenant, lake, source_table, token, holder, since, expires)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, lake, source_table) DO UPDATE"
            " SET token = excluded.token, holder = excluded.holder, since = excluded.since,"
            " expires = excluded.expires",
            *(self._tenant, lake, table, claim.token, claim.holder, claim.since, claim.expires),
        )

    def delete_claim(self, token: str) -> None:
        """Delete a claim. The claim of another run stays."""
        self._run("DELETE FROM quota_claim WHERE tenant = ? AND token = ?", self._tenant, token)

    def access(self, identity: str) -> Access | None:
        """Return the latest answer to an identity; None if there is none."""
        rows = self._run(
            "SELECT since, at, refusal FROM quota_access WHERE tenant = ? AND identity = ?",
            *(self._tenant, identity),
        )
        return Access(*rows[0]) if rows else None

    def write_access(self, identity: str, *, refusal: str) -> None:
        """Write the latest answer to an identity."""
        before = self.access(identity)
        same = before is not None and bool(before.refusal) == bool(refusal)
        since = before.since if before and same else self.now
        self._run(
            "INSERT INTO quota_access (tenant, identity, since, at, refusal) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (tenant, identity) DO UPDATE SET since = excluded.since, at = excluded.at,"
            " refusal = excluded.refusal",
            *(self._tenant, identity, since, self.now, refusal),
        )

    def entries(self) -> list[QueueEntry]:
        """Return all queue entries, expired ones included."""
        return [_entry(row) for row in self._run(f"SELECT {_ENTRY} WHERE tenant = ?", self._tenant)]

    def enqueue(self, caller: str, entry: QueueEntry) -> None:
        """Insert or update the caller's queue entry."""
        self._run(
            "INSERT INTO quota_queue"
            " (tenant, caller, priority, number, seconds, expected, since, asked_at, wake_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, caller, priority) DO UPDATE"
            " SET number = excluded.number, seconds = excluded.seconds, expected = excluded.expected,"
            " since = excluded.since, asked_at = excluded.asked_at, wake_at = excluded.wake_at",
            *(self._tenant, caller, entry.priority, entry.number, entry.seconds, entry.expected),
            *(entry.since, entry.asked, entry.at),
        )

    def dequeue(self, caller: str, *, priority: Priority) -> None:
        """Delete the caller's queue entry."""
        self._run(
            "DELETE FROM quota_queue WHERE tenant = ? AND caller = ? AND priority = ?",
            self._tenant,
            caller,
            priority,
        )


_ENTRY = "number, priority, seconds, expected, since, asked_at, wake_at FROM quota_queue"


def _entry(row: Sequence[Any]) -> QueueEntry:
    number, priority, *rest = row
    return QueueEntry(number, Priority(priority), *rest)
