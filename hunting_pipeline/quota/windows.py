"""The sliding window of a rate: which calls count in its sum, and until when. Arithmetic only: no clock.

How calls and running seconds count in the sum:

*   A call counts from its reservation until the rate's period plus one transit time have passed: the service
    counts the call when it arrives, a little after the reservation. A call that is not settled always counts,
    because the service may not have received it yet.
*   Running seconds count from the reservation until one period after the call *ended*. The service does not
    document whether it counts them at the start or at the end. While a call is not settled, its seconds grow
    with the time since the reservation, up to the service's limit for one request.
*   If a process dies, its reservation is never settled. The reservation counts in full until it expires. Then
    it counts like a call that ended at this moment and used the expected seconds.

Every rate has two windows. The window of the whole rate counts the worst case: the reserved running seconds,
which almost no call exceeds, and a long transit. So the tenant's quota is not exceeded. The window of the
share counts the expected case: the running seconds that calls probably use, and a usual transit. Calls may
exceed the share for a moment, which does no harm.

All times are seconds on the ledger's own time line, which only moves forward (see `records.elapsed`).
"""

import heapq
import math
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from typing import Protocol

from hunting_pipeline.limits import Kind, Limits, Rate

__all__ = ["TRANSIT_SECONDS", "RateUse", "RateWindow", "Spend", "rate_uses", "windows"]

TRANSIT_SECONDS = 1.0
"""The greatest difference between the transit times of two calls: a lost SYN is sent again after 1 s (RFC
6298, 2.1)."""
EXPECTED_TRANSIT_SECONDS = 0.5
"""The same on an open connection: a lost packet is sent again after 0.2 s or a little more (TCP_RTO_MIN of
Linux)."""
RECHECK_SECONDS = 5.0
"""Wait before the next try if only running calls fill the window: a typical query ends within seconds."""
_EPSILON = 1e-6
"""The tolerance when sums of floats are compared (seconds of running time)."""
_Charge = tuple[float, float]
"""A pair: the time until which a call counts in a window, and the amount that it counts."""
_PERIODS = {60.0: "minute", 3600.0: "hour", 86400.0: "day"}


@dataclass(frozen=True, slots=True)
class Spend:
    """One or more calls that were reserved, and perhaps settled.

    Attributes:
        at: time of the reservation.
        calls: number of calls.
        seconds: running seconds: reserved while `ended` is None, measured afterwards.
        expires: time at which the reservation counts as ended, if it is never settled.
        ended: time of the settlement; None until then.
        expected: running seconds that the call will probably use.

    Several settled calls may be one `Spend`: the latest `at` and `ended` of all, and the sums of their
    `calls` and `seconds`.
    """

    at: float
    calls: int
    seconds: float
    expires: float
    ended: float | None = None
    expected: float = 0.0

    def end(self, now: float) -> float | None:
        """Return the end of the call, by settlement or by expiry; None while it may still be running."""
        if self.ended is None and self.expires <= now:
            return self.expires
        return self.ended

    @property
    def used(self) -> float:
        """The running seconds of an ended call: measured, or expected if it was never settled."""
        return self.expected if self.ended is None else self.seconds


@dataclass(frozen=True, slots=True)
class RateUse:
    """The state of one rate.

    Attributes:
        rate: the rate, as in the profile.
        amount: the amount within the share.
        spent: the amount that settled calls used.
        reserved: the amount that running calls reserved.
        left: the amount that may still be reserved; never negative.
        renews_at: time at which the next part of `spent` becomes free; None if nothing is spent.
    """

    rate: Rate
    amount: float
    spent: float
    reserved: float
    left: float
    renews_at: float | None


class Demand(Protocol):
    """The demand of a call: the running seconds to reserve, and the part that it will probably use."""

    @property
    def seconds(self) -> float: ...

    @property
    def expected(self) -> float: ...


def rate_uses(history: Iterable[Spend], limits: Limits, now: float, *, share: float) -> tuple[RateUse, ...]:
    """Return the state of every rate, in the profile's order."""
    settled, running = _ended_and_running(history, now)
    uses = []
    for rate in limits.rates:
        charges = _settled_charges(settled, rate, now, expected=True)
        spent = math.fsum(cost for _, cost in charges)
        still = _running_charges(running, rate, now, longest=limits.request_seconds, expected=False)
        reserved = math.fsum(cost for _, cost in still)
        amount = _amount(rate, share)
        left = max(0.0, amount - spent - reserved)
        uses.append(RateUse(rate, amount, spent, reserved, left, min((r for r, _ in charges), default=None)))
    return tuple(uses)


class RateWindow:
    """The window of one rate. It moves forward in time, and each charge leaves its sum at a known time."""

    def __init__(self, rate: Rate, charges: Iterable[_Charge], amount: float, *, expected: bool) -> None:
        self._rate = rate
        self._amount = amount
        self._expected = expected
        self._releases = sorted(charges)  # a heap, too
        self._used = self._spent = math.fsum([cost for _, cost in self._releases])

    def copy(self) -> "RateWindow":
        """Copy the window. The copy moves forward independently."""
        new = copy(self)
        new._releases = self._releases.copy()
        return new

    def first_fit(self, call: Demand, at: float) -> float:
        """Return the first time from `at` on when one more call fits. Moves the window to this time."""
        limit = self._amount - self._cost(call) + _EPSILON
        while self._releases and (self._releases[0][0] <= at or self._used > limit):
            release, cost = heapq.heappop(self._releases)
            self._used -= cost
            at = max(at, release)
        return at

    def fits(self, call: Demand, at: float) -> bool:
        """Return whether one more call fits at `at`. Moves the window to this time."""
        while self._releases and self._releases[0][0] <= at:
            self._used -= heapq.heappop(self._releases)[1]
        return self._used + self._cost(call) <= self._amount + _EPSILON

    def add(self, call: Demand, at: float) -> None:
        """Add a call that is sent at `at`.

        All reserved seconds count while the call runs. The expected part counts for a whole period more.
        """
        whole = stays = self._cost(call)
        running = _transit(expected=self._expected)
        if self._rate.kind is Kind.SECONDS:
            stays = running = min(call.expected, whole)
            heapq.heappush(self._releases, (at + running, whole - stays))
        heapq.heappush(self._releases, (at + running + self._rate.period, stays))
        self._used += whole

    def _cost(self, call: Demand) -> float:
        if self._rate.kind is Kind.CALLS:
            return 1.0
        return min(call.expected if self._expected else call.seconds, self._amount)

    @property
    def reason(self) -> str:
        """The rate that causes the wait, as text for people."""
        period = _PERIODS.get(self._rate.period, f"{self._rate.period:g} s")
        what = "calls" if self._rate.kind is Kind.CALLS else "running seconds"
        return f"{what} per {period} ({self._spent:.0f} of {self._amount:.0f} spent)"


def windows(
    history: Iterable[Spend], limits: Limits, now: float, *, share: float, certain: bool = False
) -> list[RateWindow]:
    """Return every window in which a call must fit; with a share of 1, only those of the worst case.

    If `certain`, the windows hold only what still counts if all running calls end now without running time.
    """
    settled, running = _ended_and_running(history, now)
    found = []
    for rate in limits.rates:
        for expected in (False, True) if share < 1 else (False,):
            charges = _settled_charges(settled, rate, now, expected=expected)
            if certain:
                charges += _certain_charges(running, rate, expected=expected)
            else:
                longest = limits.request_seconds
                charges += _running_charges(running, rate, now, longest=longest, expected=expected)
            found.append(
                RateWindow(rate, charges, _amount(rate, share if expected else 1), expected=expected)
            )
    return found


def _amount(rate: Rate, share: float) -> float:
    """Return the amount of a rate within the share: whole calls, at least one."""
    amount = rate.amount * share
    return amount if rate.kind is Kind.SECONDS else max(1.0, math.floor(amount + _EPSILON))


def _ended_and_running(history: Iterable[Spend], now: float) -> tuple[list[tuple[float, Spend]], list[Spend]]:
    """Return the calls that have ended, each with its end, and the calls that may still be running."""
    spends = [(spend.end(now), spend) for spend in history]
    settled = [(end, spend) for end, spend in spends if end is not None]
    return settled, [spend for end, spend in spends if end is None]


def _transit(*, expected: bool) -> float:
    return EXPECTED_TRANSIT_SECONDS if expected else TRANSIT_SECONDS


def _settled_charges(
    settled: Iterable[tuple[float, Spend]], rate: Rate, now: float, *, expected: bool
) -> list[_Charge]:
    """Return the charges of ended calls that still count in a rate's window."""
    if rate.kind is Kind.SECONDS:
        oldest = now - rate.period
        return [(end + rate.period, spend.used) for end, spend in settled if end > oldest]
    hold = _transit(expected=expected) + rate.period
    oldest = now - hold
    return [(spend.at + hold, float(spend.calls)) for _, spend in settled if spend.at > oldest]


def _running_charges(
    running: Iterable[Spend], rate: Rate, now: float, *, longest: float, expected: bool
) -> list[_Charge]:
    """Return the charges of calls that may still be running. Their ends are estimated.

    The seconds reserved beyond the expected part become free when the call ends.
    """
    soon, hold = now + RECHECK_SECONDS, _transit(expected=expected) + rate.period
    charges = []
    for spend in running:
        if rate.kind is Kind.CALLS:
            charges.append((max(soon, spend.at + hold), float(spend.calls)))
            continue
        seconds = max(spend.expected if expected else spend.seconds, min(now - spend.at, longest))
        end = max(soon, spend.at + spend.expected)
        charges += [(end, seconds - spend.expected), (end + rate.period, spend.expected)]
    return charges


def _certain_charges(running: Iterable[Spend], rate: Rate, *, expected: bool) -> list[_Charge]:
    """Return the charges of running calls that do not depend on their ends: each was sent as one call."""
    if rate.kind is Kind.SECONDS:
        return []
    hold = _transit(expected=expected) + rate.period
    return [(spend.at + hold, float(spend.calls)) for spend in running]
