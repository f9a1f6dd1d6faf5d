"""The tenant's shared memory of what it spent: reserve before a call, settle after it.

The rules decide (`rules.decide`), the store makes it atomic (`store`). The service counts one quota per
tenant, whichever surface is asked, so all history is kept by tenant and nothing else.

The ledger keeps its own time line, which only moves forward, and translates at the door: every time that goes
in or out is unix seconds on the caller's clock.
"""

import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.limits import PROFILES, Limits
from hunting_pipeline.quota.rules import (
    GRACE_SECONDS,
    TRANSIT_SECONDS,
    Block,
    Estimate,
    Lane,
    Queue,
    RateUse,
    Spend,
    Waiting,
    WaitUntil,
    decide,
    elapsed,
    learned,
    rate_uses,
)
from hunting_pipeline.quota.store import Run, Store, open_store

__all__ = ["Ledger", "Reservation", "Usage", "open_ledger"]

EXPIRY_SECONDS = 60.0
"""A reservation expires this long after the service would have ended the request: time to read the reply."""
LONGEST_BLOCK_SECONDS = 86400.0
"""A block is believed for a day at most, the service's longest documented period; then it is asked again."""
_LONGEST_PERIOD = max(rate.period for limits in PROFILES.values() for rate in limits.rates)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Leave to send one call now. Settle it, or cancel it if the call was never sent.

    Attributes:
        id: names it in the ledger.
        table: what will be asked.
        seconds: running seconds reserved.
        expires: when the ledger takes its owner for dead (unix seconds).
    """

    id: str
    table: str
    seconds: float
    expires: float


@dataclass(frozen=True, slots=True)
class Usage:
    """How the tenant's quota stands.

    Attributes:
        tenant: whose.
        at: when this was true (unix seconds).
        share: the part of every rate that this ledger uses.
        rates: spent, reserved and left, rate by rate.
        blocked_until: the service said 429 until then (unix seconds); None if it did not.
        block_reason: what it said.
        running: calls sent and not settled.
        waiting: how many wait, by lane.
        owners: calls within the longest period, by owner.
        lanes: calls within the longest period, by lane.
    """

    tenant: str
    at: float
    share: float
    rates: tuple[RateUse, ...]
    blocked_until: float | None
    block_reason: str
    running: int
    waiting: Mapping[Lane, int]
    owners: Mapping[str, int]
    lanes: Mapping[Lane, int]


class Ledger(Protocol):
    """One tenant's quota. Every method may raise `ServiceFailed` when the ledger cannot be reached."""

    def reserve(self, *, table: str, lane: Lane, owner: str) -> Reservation | WaitUntil:
        """Leave to send one call now, or when to ask again. Never waits for quota.

        After `WaitUntil` the caller's place in the queue is kept, by owner and thread, until a few seconds
        after the time it was given. Send the call at once: it is counted from now.
        """

    def settle(self, reservation: Reservation, *, seconds: float) -> None:
        """The call ended after `seconds` of running time. Settling twice changes nothing.

        Raises:
            ValueError: seconds is negative or no number.
        """

    def cancel(self, reservation: Reservation) -> None:
        """The call was never sent: nothing of it counts."""

    def block(self, *, until: float, reason: str) -> None:
        """The service refused with 429: nobody asks before `until` (unix seconds)."""

    def usage(self) -> Usage:
        """What is spent, reserved and left, and by whom."""

    def close(self) -> None:
        """Let go of the database."""


def open_ledger(
    url: str,
    *,
    tenant: str,
    limits: Limits,
    share: float = 0.8,
    clock: Callable[[], float] | None = None,
    steady: Callable[[], float] | None = None,
) -> Ledger:
    """Open a tenant's ledger, creating it where there is none.

    Args:
        url: `sqlite:///path/ledger.db` or a bare path, on a local disk; `postgresql://...` for many machines.
        tenant: whose quota.
        limits: the profile to keep to.
        share: part of every rate to use, 0 < share ≤ 1; the rest is for the tenant's analysts.
        clock: unix seconds, in place of the system's and the database's clock.
        steady: a clock that nobody sets, in place of the seconds since boot; `clock` if only that is given.

    Raises:
        Misconfigured: the ledger cannot be opened, is of another version, or share is out of range.
        ServiceFailed: the database server does not answer.
    """
    if not 0 < share <= 1:
        raise Misconfigured(f"SHARE is {share}: it must be above 0 and at most 1")
    store = open_store(url, clock=clock, steady=steady)
    return _StoredLedger(store, tenant=tenant, limits=limits, share=share, clock=clock or time.time)


@dataclass(slots=True)
class _Turn:
    """One transaction, with the tenant's row as it stands; the row is written back when the turn ends.

    Attributes:
        run: runs a statement.
        now: the ledger's time.
        offset: the caller's clock minus the ledger's.
    """

    run: Run
    now: float
    offset: float
    blocked_until: float = 0.0
    block_reason: str = ""
    next_turn: int = 0
    fresh_run: int = 0


class _StoredLedger:
    """A ledger over a store."""

    def __init__(
        self, store: Store, *, tenant: str, limits: Limits, share: float, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._limits = limits
        self._share = share
        self._clock = clock
        self._name = uuid.uuid4().hex
        self._longest = max(rate.period for rate in limits.rates) + TRANSIT_SECONDS

    def reserve(self, *, table: str, lane: Lane, owner: str) -> Reservation | WaitUntil:
        seat = f"{owner}/{self._name}/{os.getpid()}/{threading.get_ident()}"
        with self._turn() as turn:
            self._prune(turn)
            seconds = self._upper(turn, table)
            place = self._place(turn, seat, lane=lane)
            answer = decide(
                self._history(turn),
                self._limits,
                turn.now,
                share=self._share,
                lane=lane,
                estimate=seconds,
                blocks=[Block(turn.blocked_until, turn.block_reason)],
                queue=Queue(
                    place,
                    tuple(other for other in self._waiting(turn) if other.turn != place),
                    turn.fresh_run,
                ),
            )
            if isinstance(answer, WaitUntil):
                self._wait(turn, seat, Waiting(place, lane, seconds=seconds, asked=turn.now, at=answer.at))
                return WaitUntil(answer.at + turn.offset, answer.reason)
            turn.run(
                "DELETE FROM quota_waiting WHERE tenant = ? AND seat = ? AND lane = ?",
                self._tenant,
                seat,
                lane,
            )
            return self._spend(turn, table=table, lane=lane, owner=owner, seconds=seconds)

    def settle(self, reservation: Reservation, *, seconds: float) -> None:
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"a call cannot have taken {seconds} seconds")
        with self._turn() as turn:
            settled = turn.run(
                "UPDATE quota_spend SET ended = ?, seconds = ? WHERE id = ? AND ended IS NULL RETURNING id",
                turn.now,
                seconds,
                reservation.id,
            )
            if settled:
                self._learn(turn, reservation.table, seconds=seconds)

    def cancel(self, reservation: Reservation) -> None:
        with self._turn() as turn:
            turn.run("DELETE FROM quota_spend WHERE id = ? AND ended IS NULL", reservation.id)

    def block(self, *, until: float, reason: str) -> None:
        with self._turn() as turn:
            until = min(until - turn.offset, turn.now + LONGEST_BLOCK_SECONDS)
            if until > turn.blocked_until:
                turn.blocked_until, turn.block_reason = until, reason

    def usage(self) -> Usage:
        with self._turn() as turn:
            history = self._history(turn)
            waiting = [place for place in self._waiting(turn) if place.at + GRACE_SECONDS > turn.now]
        blocked = turn.blocked_until > turn.now
        uses = rate_uses(history, self._limits, turn.now, share=self._share)
        owners: dict[str, int] = {}
        for spend in history:
            owners[spend.owner] = owners.get(spend.owner, 0) + spend.calls
        return Usage(
            tenant=self._tenant,
            at=turn.now + turn.offset,
            share=self._share,
            rates=tuple(self._translated(use, turn) for use in uses),
            blocked_until=turn.blocked_until + turn.offset if blocked else None,
            block_reason=turn.block_reason if blocked else "",
            running=sum(spend.calls for spend in history if spend.end(turn.now) is None),
            waiting={lane: sum(place.lane is lane for place in waiting) for lane in Lane},
            owners=owners,
            lanes={lane: sum(s.calls for s in history if s.lane is lane) for lane in Lane},
        )

    def close(self) -> None:
        self._store.close()

    @staticmethod
    def _translated(use: RateUse, turn: _Turn) -> RateUse:
        return use if use.renews_at is None else replace(use, renews_at=use.renews_at + turn.offset)

    @contextmanager
    def _turn(self) -> Iterator[_Turn]:
        with self._store.transaction() as run:
            wall, steady = self._store.reading(run)
            rows = run(
                "SELECT now, wall, steady, blocked_until, block_reason, next_turn, fresh_run"
                " FROM quota_tenant WHERE tenant = ?",
                self._tenant,
            )
            if rows:
                before, wall_before, steady_before, *rest = rows[0]
                now = before + elapsed((wall_before, steady_before), (wall, steady))
                turn = _Turn(run, now, self._clock() - now, *rest)
            else:
                turn = _Turn(run, wall, self._clock() - wall)
                run("INSERT INTO quota_tenant VALUES (?, 0, 0, 0, 0, '', 0, 0)", self._tenant)
            yield turn
            run(
                "UPDATE quota_tenant SET now = ?, wall = ?, steady = ?, blocked_until = ?, block_reason = ?,"
                " next_turn = ?, fresh_run = ? WHERE tenant = ?",
                *(turn.now, wall, steady, turn.blocked_until, turn.block_reason),
                *(turn.next_turn, turn.fresh_run, self._tenant),
            )

    def _prune(self, turn: _Turn) -> None:
        """Forget what no window of any profile holds any more, and places that nobody came back for."""
        horizon = turn.now - max(self._longest, _LONGEST_PERIOD + TRANSIT_SECONDS)
        turn.run("DELETE FROM quota_spend WHERE tenant = ? AND ended < ?", self._tenant, horizon)
        turn.run(
            "DELETE FROM quota_spend WHERE tenant = ? AND ended IS NULL AND expires < ?",
            self._tenant,
            horizon,
        )
        turn.run(
            "DELETE FROM quota_waiting WHERE tenant = ? AND wake_at < ?",
            self._tenant,
            turn.now - GRACE_SECONDS,
        )

    def _history(self, turn: _Turn) -> list[Spend]:
        rows = turn.run(
            "SELECT reserved_at, seconds, expires, ended, lane, owner FROM quota_spend"
            " WHERE tenant = ? AND (ended IS NULL OR ended > ?)",
            self._tenant,
            turn.now - self._longest,
        )
        return [
            Spend(at=at, calls=1, seconds=seconds, expires=expires, ended=ended, lane=Lane(lane), owner=owner)
            for at, seconds, expires, ended, lane, owner in rows
        ]

    def _place(self, turn: _Turn, seat: str, *, lane: Lane) -> int:
        """This caller's turn: the one it was given when it first asked, or a new one."""
        rows = turn.run(
            "SELECT turn FROM quota_waiting WHERE tenant = ? AND seat = ? AND lane = ?",
            self._tenant,
            seat,
            lane,
        )
        if rows:
            return int(rows[0][0])
        turn.next_turn += 1
        return turn.next_turn

    def _waiting(self, turn: _Turn) -> list[Waiting]:
        rows = turn.run(
            "SELECT turn, lane, seconds, asked_at, wake_at FROM quota_waiting WHERE tenant = ?", self._tenant
        )
        return [Waiting(place, Lane(lane), seconds, asked, at) for place, lane, seconds, asked, at in rows]

    def _wait(self, turn: _Turn, seat: str, place: Waiting) -> None:
        turn.run(
            "INSERT INTO quota_waiting (tenant, seat, lane, turn, seconds, asked_at, wake_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, seat, lane) DO UPDATE"
            " SET seconds = excluded.seconds, asked_at = excluded.asked_at, wake_at = excluded.wake_at",
            *(self._tenant, seat, place.lane, place.turn, place.seconds, place.asked, place.at),
        )

    def _spend(self, turn: _Turn, *, table: str, lane: Lane, owner: str, seconds: float) -> Reservation:
        turn.fresh_run = turn.fresh_run + 1 if lane is Lane.FRESH else 0
        expires = turn.now + self._limits.request_seconds + EXPIRY_SECONDS
        name = uuid.uuid4().hex
        turn.run(
            "INSERT INTO quota_spend (id, tenant, lane, owner, source_table, reserved_at, seconds, expires)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            *(name, self._tenant, lane, owner, table, turn.now, seconds, expires),
        )
        return Reservation(id=name, table=table, seconds=seconds, expires=expires + turn.offset)

    def _estimates(self, turn: _Turn) -> dict[str, Estimate]:
        rows = turn.run(
            "SELECT source_table, mean, deviation FROM quota_estimate WHERE tenant = ?", self._tenant
        )
        return {table: Estimate(mean, deviation) for table, mean, deviation in rows}

    def _upper(self, turn: _Turn, table: str) -> float:
        """Running seconds to reserve: learnt of the table, else the dearest one's, else the longest."""
        known = self._estimates(turn)
        if table in known:
            known = {table: known[table]}
        cap = self._limits.request_seconds
        return min(cap, max((estimate.upper for estimate in known.values()), default=cap))

    def _learn(self, turn: _Turn, table: str, *, seconds: float) -> None:
        estimate = learned(self._estimates(turn).get(table), seconds)
        turn.run(
            "INSERT INTO quota_estimate (tenant, source_table, mean, deviation) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (tenant, source_table) DO UPDATE SET mean = excluded.mean,"
            " deviation = excluded.deviation",
            *(self._tenant, table, estimate.mean, estimate.deviation),
        )
