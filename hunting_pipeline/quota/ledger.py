"""The quota ledger: a shared record of a tenant's calls. Reserve before each call, settle after it.

`rules.decide` decides, `records` reads and writes the rows of a tenant, and `store` makes each step atomic.
The service counts one quota per tenant, for all APIs together. So the history is kept by tenant only.

The ledger has its own time line, which only moves forward. Callers use Unix seconds of their own clock. The
ledger converts all times that it receives and returns.

If the database server is down, each step is repeated for `OUTAGE_SECONDS`. Every step may run twice: the id
of a reservation is chosen beforehand, and a call is settled only once. `settle` never fails for this reason,
because its caller has a reply that the quota has paid for: the next step settles the call first.
"""

import math
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from hunting_pipeline.errors import HuntingError, Misconfigured, ServiceFailed, setting
from hunting_pipeline.limits import PROFILES, Limits
from hunting_pipeline.quota.claiming import holding
from hunting_pipeline.quota.outage import UNKNOWN, CallEnd, Outage
from hunting_pipeline.quota.protocol import Access, Down, HourOfCalls, Ledger, Reservation, Usage
from hunting_pipeline.quota.records import HOUR_SECONDS, Estimate, TenantRecords
from hunting_pipeline.quota.rules import (
    GRACE_SECONDS,
    Block,
    Priority,
    Queue,
    QueueEntry,
    WaitUntil,
    decide,
)
from hunting_pipeline.quota.store import DatabaseDown, Store, open_store
from hunting_pipeline.quota.windows import TRANSIT_SECONDS, rate_uses

__all__ = ["StoredLedger", "open_ledger"]

_Result = TypeVar("_Result")

EXPIRY_SECONDS = 60.0
"""Time from the service's limit for one request until the reservation expires: time to read the reply."""
LONGEST_BLOCK_SECONDS = 86400.0
"""Longest block: a day, the service's longest documented period."""
PRUNE_SECONDS = 60.0
"""Time between two deletions of old rows. Old rows are never counted: they only take space."""
OUTAGE_SECONDS = 60.0
"""Longest outage of the database server that a step waits for: several times the duration of a restart."""
_KEPT_SECONDS = 35 * 86400.0
"""Age at which the calls by hour are deleted: a month and some days, for people who compare months."""
_RETRY_SECONDS = 2.0
"""Longest wait between two attempts during an outage."""
_HORIZON_SECONDS = max(rate.period for limits in PROFILES.values() for rate in limits.rates) + TRANSIT_SECONDS
"""Age at which history is deleted: no profile needs older rows. Another process may use another profile."""


def open_ledger(
    url: str,
    *,
    tenant: str,
    limits: Limits,
    share: float = 0.8,
    clock: Callable[[], float] | None = None,
    monotonic: Callable[[], float] | None = None,
) -> Ledger:
    """Open a tenant's ledger. Create it if it does not exist.

    Args:
        url: `sqlite:///path/ledger.db` or a bare path, on a local disk; `postgresql://...` for many machines.
        tenant: the tenant's id.
        limits: the profile whose rates apply.
        share: part of every rate to use, 0 < share ≤ 1; the rest is for the tenant's analysts.
        clock: a clock in Unix seconds that replaces the clocks of the database and of the callers, for tests.
        monotonic: a monotonic clock that replaces the seconds since boot; `clock` by default if it is given.

    Raises:
        Misconfigured: the ledger cannot be opened or has another version, or `share` is out of range.
        ServiceFailed: the database server does not answer.
    """
    if not 0 < share <= 1:
        raise Misconfigured(
            f"{setting('share')} is {share}. Set {setting('share')} to a number above 0 and at most 1"
        )
    store = open_store(url, clock=clock, monotonic=monotonic)
    return StoredLedger(store, tenant=tenant, limits=limits, share=share, clock=clock or time.time)


class StoredLedger:
    """A ledger over any store that holds its tables (`store.create`).

    `clock` is the clock of the times that callers give and get. The ledger's entries do not depend on it.
    """

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
        self._unsettled: dict[str, tuple[Reservation, float, CallEnd]] = {}

    def reserve(
        self, *, table: str, priority: Priority, owner: str, rows: bool = True
    ) -> Reservation | WaitUntil | Down:
        name = uuid.uuid4().hex

        def step(records: TenantRecords, offset: float) -> Reservation | WaitUntil | Down:
            records.cancel(name)  # an attempt before may have been committed although it failed
            outage = records.outage()
            if (paused := _paused(outage, records.now, offset)) is not None:
                return paused
            answer = self._reserve(
                records, offset, name=name, table=table, priority=priority, owner=owner, rows=rows
            )
            if outage.failures and isinstance(answer, Reservation):
                records.write_outage(outage.after_permit(records.now, longest=self._limits.request_seconds))
            return answer

        return self._repeated(step)

    def _reserve(
        self,
        records: TenantRecords,
        offset: float,
        *,
        name: str,
        table: str,
        priority: Priority,
        owner: str,
        rows: bool,
    ) -> Reservation | WaitUntil:
        caller = f"{owner}/{self._name}/{os.getpid()}/{threading.get_ident()}"
        self._prune(records)
        cap = self._limits.request_seconds
        estimate = records.estimate(table) or Estimate(0.0, cap / 4)
        seconds = min(cap, estimate.upper)
        expected = min(estimate.mean, seconds)
        number, since, others = records.queue(caller, priority=priority)
        answer = decide(
            records.history(longest=self._longest),
            self._limits,
            records.now,
            share=self._share,
            priority=priority,
            estimate=seconds,
            expected=expected,
            blocks=[Block(records.blocked_until, records.block_reason)],
            queue=Queue(number, others, records.fresh_in_a_row),
        )
        if isinstance(answer, WaitUntil):
            asked = records.now
            entry = QueueEntry(number, priority, seconds, expected, since, asked=asked, at=answer.at)
            records.enqueue(caller, entry)
            return WaitUntil(answer.at + offset, answer.reason)
        records.dequeue(caller, priority=priority)
        expires = records.now + cap + EXPIRY_SECONDS
        records.reserve(
            name,
            table=table,
            priority=priority,
            owner=owner,
            seconds=seconds,
            expected=expected,
            expires=expires,
        )
        return Reservation(id=name, table=table, seconds=seconds, expires=expires + offset, rows=rows)

    def settle(self, reservation: Reservation, *, seconds: float, end: CallEnd = UNKNOWN) -> None:
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"a running time of {seconds} seconds is not finite and at least 0")
        self._unsettled[reservation.id] = (reservation, seconds, end)
        with suppress(HuntingError):  # the next step settles the call, or raises
            self._once(_nothing_more)

    def cancel(self, reservation: Reservation) -> None:
        self._repeated(lambda records, _: records.cancel(reservation.id))

    def block(self, *, until: float, reason: str) -> None:
        def step(records: TenantRecords, offset: float) -> None:
            moment = min(until - offset, records.now + LONGEST_BLOCK_SECONDS)
            if moment > records.blocked_until:
                records.blocked_until, records.block_reason = moment, reason

        self._repeated(step)

    def usage(self) -> Usage:
        return self._repeated(self._usage)

    def _usage(self, records: TenantRecords, offset: float) -> Usage:
        history = records.history(longest=self._longest)
        priorities = records.calls_by("priority", longest=self._longest)
        outage = records.outage()
        waiting = [entry for entry in records.entries() if entry.at + GRACE_SECONDS > records.now]
        now, blocked = records.now, records.blocked_until > records.now
        uses = rate_uses(history, self._limits, now, share=self._share)
        return Usage(
            tenant=self._tenant,
            at=now + offset,
            share=self._share,
            rates=tuple(
                use if use.renews_at is None else replace(use, renews_at=use.renews_at + offset)
                for use in uses
            ),
            blocked_until=records.blocked_until + offset if blocked else None,
            block_reason=records.block_reason if blocked else "",
            failures=outage.failures,
            failure=outage.reason,
            running=sum(spend.calls for spend in history if spend.end(now) is None),
            waiting={priority: sum(entry.priority is priority for entry in waiting) for priority in Priority},
            longest_wait=max((now - entry.since for entry in waiting), default=0.0),
            owners=records.calls_by("owner", longest=self._longest),
            priorities={priority: priorities.get(priority, 0) for priority in Priority},
        )

    def claim(self, table: str, *, lake: str, holder: str, max_wait: float) -> AbstractContextManager[None]:
        return holding(
            table, lake=lake, holder=holder, max_wait=max_wait, repeated=self._repeated, once=self._once
        )

    def hours(self, *, since: float) -> list[HourOfCalls]:
        return self._repeated(lambda records, _: records.hours(since=_hour(since)))

    def access(self, identity: str) -> Access | None:
        def step(records: TenantRecords, offset: float) -> Access | None:
            found = records.access(identity)
            return found and replace(found, since=found.since + offset, at=found.at + offset)

        return self._repeated(step)

    def record_access(self, identity: str, *, refusal: str = "") -> None:
        self._repeated(lambda records, _: records.write_access(identity, refusal=refusal))

    def close(self) -> None:
        try:
            if self._unsettled:
                self._repeated(_nothing_more)
        finally:
            self._store.close()

    def _prune(self, records: TenantRecords) -> None:
        if records.now >= self._pruned + PRUNE_SECONDS:
            records.prune(horizon=max(self._longest, _HORIZON_SECONDS))
            records.prune_hours(before=_hour(self._clock() - _KEPT_SECONDS))
            self._pruned = records.now

    def _repeated(self, step: Callable[[TenantRecords, float], _Result]) -> _Result:
        """Run a step in a transaction. Repeat it while the database server is down, for a limited time."""
        attempts = Retrying(
            retry=retry_if_exception_type(DatabaseDown),
            stop=stop_after_delay(OUTAGE_SECONDS),
            wait=wait_random_exponential(multiplier=0.1, max=_RETRY_SECONDS),
            reraise=True,
        )
        try:
            result: _Result = attempts(self._once, step)
        except DatabaseDown as error:
            waited = f"The pipeline tried again for {OUTAGE_SECONDS:g} seconds"
            raise ServiceFailed(f"{error.marked}. {waited}") from error
        return result

    def _once(self, step: Callable[[TenantRecords, float], _Result]) -> _Result:
        """Settle the calls that could not be settled before, and run a step, in one transaction.

        The step gets the tenant's records, and the caller's time minus the ledger's time.
        """
        unsettled = list(self._unsettled.items())
        with self._store.transaction() as run:
            records = TenantRecords(run, self._tenant, reading=self._store.reading(run))
            for _, (reservation, seconds, end) in unsettled:
                _settle(records, reservation, seconds, end, hour=_hour(self._clock()))
            result = step(records, self._clock() - records.now)
            records.write()
        for name, _ in unsettled:
            self._unsettled.pop(name, None)
        return result


def _nothing_more(records: TenantRecords, offset: float) -> None:
    """Accept the records as they are: a step that only settles calls."""


def _hour(moment: float) -> int:
    return math.floor(moment / HOUR_SECONDS)


def _settle(
    records: TenantRecords, reservation: Reservation, seconds: float, end: CallEnd, *, hour: int
) -> None:
    if not records.settle(reservation.id, table=reservation.table, seconds=seconds, hour=hour):
        return  # another thread, or an earlier attempt, has counted the end of this call
    before = records.outage()
    after = before.after(end, records.now, rows=reservation.rows)
    if after != before:
        records.write_outage(after)


def _paused(outage: Outage, now: float, offset: float) -> WaitUntil | Down | None:
    """Return the answer to a caller that must wait because of an outage; None if it may send a call."""
    at = outage.wait(now)
    if at is None:
        return None
    if outage.down:
        return Down(outage.next_at + offset, outage.failures, outage.reason)
    return WaitUntil(at + offset, f"the service fails ({outage.failures} calls in a row): {outage.reason}")
