"""The tenant's shared memory of what it spent: reserve before a call, settle after it.

The rules decide (`rules.decide`), the book holds a tenant's rows (`book`), the store makes it atomic. The
service counts one quota per tenant, whichever surface is asked: history is kept by tenant, nothing else.

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
from hunting_pipeline.quota.book import Book, Estimate
from hunting_pipeline.quota.rules import GRACE_SECONDS, Block, Priority, Queue, Waiting, WaitUntil, decide
from hunting_pipeline.quota.store import Store, open_store
from hunting_pipeline.quota.windows import TRANSIT_SECONDS, RateUse, rate_uses

__all__ = ["Ledger", "Reservation", "StoredLedger", "Usage", "open_ledger"]

EXPIRY_SECONDS = 60.0
"""A reservation expires this long after the service would have ended the request: time to read the reply."""
LONGEST_BLOCK_SECONDS = 86400.0
"""A block is believed for a day at most, the service's longest documented period; then it is asked again."""
PRUNE_SECONDS = 60.0
"""How often one ledger looks for what can be forgotten: old rows are ignored anyway, and cost only space."""
_HORIZON_SECONDS = max(rate.period for limits in PROFILES.values() for rate in limits.rates) + TRANSIT_SECONDS
"""History is kept as long as any profile needs it, for another process may use another profile."""


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
        waiting: how many wait, by priority.
        longest_wait: seconds since the first of them asked; 0 if nobody waits.
        owners: calls within the longest period, by owner.
        priorities: calls within the longest period, by priority.
    """

    tenant: str
    at: float
    share: float
    rates: tuple[RateUse, ...]
    blocked_until: float | None
    block_reason: str
    running: int
    waiting: Mapping[Priority, int]
    longest_wait: float
    owners: Mapping[str, int]
    priorities: Mapping[Priority, int]


class Ledger(Protocol):
    """One tenant's quota. Every method may raise `ServiceFailed` when the ledger cannot be reached."""

    def reserve(self, *, table: str, priority: Priority, owner: str) -> Reservation | WaitUntil:
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
    return StoredLedger(store, tenant=tenant, limits=limits, share=share, clock=clock or time.time)


class StoredLedger:
    """A ledger over any store that holds its tables (`store.create`)."""

    def __init__(
        self, store: Store, *, tenant: str, limits: Limits, share: float, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._tenant = tenant
        self._limits = limits
        self._share = share
        self._clock = clock
        self._name = uuid.uuid4().hex
        self._pruned = -math.inf
        self._longest = max(rate.period for rate in limits.rates) + TRANSIT_SECONDS

    def reserve(self, *, table: str, priority: Priority, owner: str) -> Reservation | WaitUntil:
        seat = f"{owner}/{self._name}/{os.getpid()}/{threading.get_ident()}"
        with self._opened() as (book, offset):
            self._prune(book)
            cap = self._limits.request_seconds
            estimate = book.estimate(table) or Estimate(0.0, cap / 4)
            seconds = min(cap, estimate.upper)
            likely = min(estimate.mean, seconds)
            turn, since, others = book.queue(seat, priority=priority)
            answer = decide(
                book.history(longest=self._longest),
                self._limits,
                book.now,
                share=self._share,
                priority=priority,
                estimate=seconds,
                likely=likely,
                blocks=[Block(book.blocked_until, book.block_reason)],
                queue=Queue(turn, others, book.fresh_run),
            )
            if isinstance(answer, WaitUntil):
                place = Waiting(turn, priority, seconds, likely, since=since, asked=book.now, at=answer.at)
                book.wait(seat, place)
                return WaitUntil(answer.at + offset, answer.reason)
            book.leave(seat, priority=priority)
            expires = book.now + cap + EXPIRY_SECONDS
            name = book.spend(
                table=table, priority=priority, owner=owner, seconds=seconds, likely=likely, expires=expires
            )
            return Reservation(id=name, table=table, seconds=seconds, expires=expires + offset)

    def settle(self, reservation: Reservation, *, seconds: float) -> None:
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"a call cannot have taken {seconds} seconds")
        with self._opened() as (book, _):
            book.settle(reservation.id, table=reservation.table, seconds=seconds)

    def cancel(self, reservation: Reservation) -> None:
        with self._opened() as (book, _):
            book.cancel(reservation.id)

    def block(self, *, until: float, reason: str) -> None:
        with self._opened() as (book, offset):
            until = min(until - offset, book.now + LONGEST_BLOCK_SECONDS)
            if until > book.blocked_until:
                book.blocked_until, book.block_reason = until, reason

    def usage(self) -> Usage:
        with self._opened() as (book, offset):
            history = book.history(longest=self._longest)
            owners = book.counted("owner", longest=self._longest)
            priorities = book.counted("priority", longest=self._longest)
            waiting = [place for place in book.waiting() if place.at + GRACE_SECONDS > book.now]
        blocked = book.blocked_until > book.now
        uses = rate_uses(history, self._limits, book.now, share=self._share)
        return Usage(
            tenant=self._tenant,
            at=book.now + offset,
            share=self._share,
            rates=tuple(
                use if use.renews_at is None else replace(use, renews_at=use.renews_at + offset)
                for use in uses
            ),
            blocked_until=book.blocked_until + offset if blocked else None,
            block_reason=book.block_reason if blocked else "",
            running=sum(spend.calls for spend in history if spend.end(book.now) is None),
            waiting={priority: sum(place.priority is priority for place in waiting) for priority in Priority},
            longest_wait=max((book.now - place.since for place in waiting), default=0.0),
            owners=owners,
            priorities={priority: priorities.get(priority, 0) for priority in Priority},
        )

    def close(self) -> None:
        self._store.close()

    def _prune(self, book: Book) -> None:
        if book.now >= self._pruned + PRUNE_SECONDS:
            book.prune(horizon=max(self._longest, _HORIZON_SECONDS))
            self._pruned = book.now

    @contextmanager
    def _opened(self) -> Iterator[tuple[Book, float]]:
        """The tenant's book within one transaction, and the caller's clock minus the ledger's."""
        with self._store.transaction() as run:
            book = Book(run, self._tenant, reading=self._store.reading(run))
            yield book, self._clock() - book.now
            book.write()
