"""A tenant's page in the ledger, open for one transaction: its own row, history, queue and estimates.

All times are on the ledger's own time line.
"""

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hunting_pipeline.quota.rules import GRACE_SECONDS, Priority, Waiting
from hunting_pipeline.quota.store import Run
from hunting_pipeline.quota.windows import Spend

__all__ = ["Book", "Estimate", "elapsed", "learned"]

COARSE_AFTER_SECONDS = 3700.0
"""Calls that ended longer ago matter to windows of a day only, and are summed up: just above an hour."""
COARSE_SECONDS = 300.0
"""They are summed by so much time: a window of a day renews 0.35 % later at most."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of a table's running seconds: smoothed mean and mean deviation."""

    mean: float
    deviation: float

    @property
    def upper(self) -> float:
        """What to reserve: hardly a call takes longer (RFC 6298, 2.3: mean + 4 deviations)."""
        return self.mean + 4 * self.deviation


def learned(before: Estimate | None, seconds: float) -> Estimate:
    """The estimate after one more call took `seconds`. Gains 1/8 and 1/4 are RFC 6298's (2.2 and 2.3)."""
    if before is None:
        return Estimate(seconds, seconds / 2)
    deviation = before.deviation + (abs(before.mean - seconds) - before.deviation) / 4
    return Estimate(before.mean + (seconds - before.mean) / 8, deviation)


def elapsed(before: tuple[float, float | None], after: tuple[float, float | None]) -> float:
    """Seconds between two readings `(wall clock, steady clock)`; never negative.

    The steady clock decides, so a wall clock that is set forwards or back changes nothing. Where there is
    none, or it started anew (a reboot), the wall clock decides, and one that was set back counts as standing
    still: too little time can only make the ledger wait, too much would overdraw.
    """
    (wall, steady), (wall_after, steady_after) = before, after
    if steady is not None and steady_after is not None and steady_after >= steady:
        return steady_after - steady
    return max(0.0, wall_after - wall)


class Book:
    """What a transaction may read and write of one tenant. `write` must end the transaction.

    Attributes:
        now: the ledger's time.
        blocked_until: nobody asks before; in the past where there is no block.
        block_reason: what the service said.
        fresh_run: how many fresh calls went since the last backfill call.
    """

    def __init__(self, run: Run, tenant: str, *, reading: tuple[float, float | None]) -> None:
        self._run = run
        self._tenant = tenant
        self._reading = reading
        rows = run(
            "SELECT now, wall, steady, blocked_until, block_reason, next_turn, fresh_run"
            " FROM quota_tenant WHERE tenant = ?",
            tenant,
        )
        if not rows:
            row = (tenant, reading[0], *reading, 0.0, "", 0, 0)
            run("INSERT INTO quota_tenant VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *row)
            rows = [row[1:]]
        before, wall, steady, self.blocked_until, self.block_reason, self._next_turn, self.fresh_run = rows[0]
        self.now: float = before + elapsed((wall, steady), reading)

    def write(self) -> None:
        """Write the tenant's own row back, with the time that this transaction saw."""
        self._run(
            "UPDATE quota_tenant SET now = ?, wall = ?, steady = ?, blocked_until = ?, block_reason = ?,"
            " next_turn = ?, fresh_run = ? WHERE tenant = ?",
            *(self.now, *self._reading, self.blocked_until, self.block_reason),
            *(self._next_turn, self.fresh_run, self._tenant),
        )

    def prune(self, *, horizon: float) -> None:
        """Forget what ended `horizon` seconds ago, and places that nobody came back for."""
        oldest = self.now - horizon
        self._run("DELETE FROM quota_spend WHERE tenant = ? AND ended < ?", self._tenant, oldest)
        self._run("DELETE FROM quota_past WHERE tenant = ? AND ended < ?", self._tenant, oldest)
        dead = "DELETE FROM quota_spend WHERE tenant = ? AND ended IS NULL AND expires < ?"
        self._run(dead, self._tenant, oldest)
        gone = "DELETE FROM quota_waiting WHERE tenant = ? AND wake_at < ?"
        self._run(gone, self._tenant, self.now - GRACE_SECONDS)

    def history(self, *, longest: float) -> list[Spend]:
        """What ended within `longest` seconds or may still run; what ended long ago in sums."""
        oldest = self.now - longest
        slot = math.floor((self.now - COARSE_AFTER_SECONDS) / COARSE_SECONDS)
        columns = "reserved_at, 1, seconds, expires, ended, likely FROM quota_spend WHERE tenant = ?"
        rows = self._run(
            f"SELECT {columns} AND ended IS NULL UNION ALL SELECT {columns} AND ended >= ?"  # noqa: S608 - constants
            " UNION ALL SELECT reserved_at, calls, seconds, ended, ended, 0 FROM quota_past"
            " WHERE tenant = ? AND slot < ? AND ended > ?",
            *(self._tenant, self._tenant, max(oldest, slot * COARSE_SECONDS), self._tenant, slot, oldest),
        )
        return [Spend(*row) for row in rows]

    def counted(self, column: str, *, longest: float) -> dict[str, int]:
        """Calls of the history by `column`: owner or priority."""
        rows = self._run(
            f"SELECT {column}, count(*) FROM quota_spend WHERE tenant = ?"  # noqa: S608 - one of two names
            f" AND (ended IS NULL OR ended > ?) GROUP BY {column} ORDER BY {column}",
            *(self._tenant, self.now - longest),
        )
        return {str(name): int(calls) for name, calls in rows}

    def spend(
        self, *, table: str, priority: Priority, owner: str, seconds: float, likely: float, expires: float
    ) -> str:
        """Enter a reservation; gives its name."""
        self.fresh_run = self.fresh_run + 1 if priority is Priority.FRESH else 0
        name = uuid.uuid4().hex
        self._run(
            "INSERT INTO quota_spend"
            " (id, tenant, priority, owner, source_table, reserved_at, seconds, likely, expires)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(name, self._tenant, priority, owner, table, self.now, seconds, likely, expires),
        )
        return name

    def settle(self, name: str, *, table: str, seconds: float) -> None:
        """Enter the truth and learn from it; nothing where it is settled, cancelled or pruned already."""
        statement = (
            "UPDATE quota_spend SET ended = ?, seconds = ? WHERE id = ? AND ended IS NULL RETURNING id"
        )
        if not self._run(statement, self.now, seconds, name):
            return
        self._run(
            "INSERT INTO quota_past (tenant, slot, calls, seconds, reserved_at, ended)"
            " VALUES (?, ?, 1, ?, ?, ?) ON CONFLICT (tenant, slot) DO UPDATE"
            " SET calls = quota_past.calls + 1, seconds = quota_past.seconds + excluded.seconds,"
            " reserved_at = excluded.reserved_at, ended = excluded.ended",
            *(self._tenant, math.floor(self.now / COARSE_SECONDS), seconds, self.now, self.now),
        )
        estimate = learned(self._estimate_of(table), seconds)
        self._run(
            "INSERT INTO quota_estimate (tenant, source_table, mean, deviation) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (tenant, source_table) DO UPDATE SET mean = excluded.mean,"
            " deviation = excluded.deviation",
            *(self._tenant, table, estimate.mean, estimate.deviation),
        )

    def cancel(self, name: str) -> None:
        """Strike an unsettled reservation."""
        self._run("DELETE FROM quota_spend WHERE id = ? AND ended IS NULL", name)

    def estimate(self, table: str) -> Estimate | None:
        """What was learnt of the table, else of the dearest one; None while nothing is known."""
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

    def queue(self, seat: str, *, priority: Priority) -> tuple[int, float, tuple[Waiting, ...]]:
        """The turn that this seat was given when it first asked, and when that was; and all others who wait.

        It is a new turn where there is none, or where it was not come back for in time.
        """
        turn, since, others = 0, self.now, []
        for name, *columns in self._run(f"SELECT seat, {_PLACE} WHERE tenant = ?", self._tenant):
            place = _place(columns)
            if (name, place.priority) != (seat, priority):
                others.append(place)
            elif place.at + GRACE_SECONDS >= self.now:
                turn, since = place.turn, place.since
        if not turn:
            turn = self._next_turn = int(self._next_turn) + 1
        return turn, since, tuple(others)

    def waiting(self) -> list[Waiting]:
        """All who wait, whether or not they will come back."""
        return [_place(row) for row in self._run(f"SELECT {_PLACE} WHERE tenant = ?", self._tenant)]

    def wait(self, seat: str, place: Waiting) -> None:
        """Keep a place for this seat."""
        self._run(
            "INSERT INTO quota_waiting"
            " (tenant, seat, priority, turn, seconds, likely, since, asked_at, wake_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, seat, priority) DO UPDATE"
            " SET turn = excluded.turn, seconds = excluded.seconds, likely = excluded.likely,"
            " since = excluded.since, asked_at = excluded.asked_at, wake_at = excluded.wake_at",
            *(self._tenant, seat, place.priority, place.turn, place.seconds, place.likely),
            *(place.since, place.asked, place.at),
        )

    def leave(self, seat: str, *, priority: Priority) -> None:
        """Give up this seat's place."""
        self._run(
            "DELETE FROM quota_waiting WHERE tenant = ? AND seat = ? AND priority = ?",
            self._tenant,
            seat,
            priority,
        )


_PLACE = "turn, priority, seconds, likely, since, asked_at, wake_at FROM quota_waiting"


def _place(row: Sequence[Any]) -> Waiting:
    turn, priority, *rest = row
    return Waiting(turn, Priority(priority), *rest)
