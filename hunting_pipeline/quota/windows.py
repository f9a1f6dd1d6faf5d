"""What counts in a rate's sliding window, and until when: arithmetic over what was spent. Reads no clock.

How each kind of spending enters the sum:

*   A call counts from its reservation until a moment of transit longer than the rate's period: the service
    counts it when it arrives, a little after it was reserved. While it is unsettled it always counts, for it
    may still be on its way.
*   Running seconds count from the reservation until one period after the call *ended*, because the service
    does not say whether it books them at the start or at the end. While a call is unsettled they grow with
    the time it has been running, up to what the service lets a request run.
*   A reservation that is never settled (its process died) counts in full until it expires, and afterwards
    like a call that ended at its expiry and took what was reserved.

Every rate is looked at twice. The whole of it must hold what may come at worst: the running seconds that were
reserved, which hardly a call exceeds, and a long transit. So the tenant is not overdrawn. The share must hold
what is likely: the running seconds that calls probably take, and a usual transit. There a window may end a
moment too full, which harms nobody.

All times are seconds on the ledger's own time line, which only ever moves forward (see `book.elapsed`).
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
"""How much longer one call may take to reach the service than another: a lost SYN is sent again after 1 s
(RFC 6298, 2.1)."""
LIKELY_TRANSIT_SECONDS = 0.5
"""The same on a connection that stands: what is lost there is sent again after 0.2 s or a little more (the
TCP_RTO_MIN of Linux)."""
RECHECK_SECONDS = 5.0
"""When to ask again where only unsettled calls stand in the way: a typical query ends within seconds."""
_EPSILON = 1e-6
"""Sums of floats are compared with this tolerance (seconds of running time)."""
_Charge = tuple[float, float]
"""Until when something counts in a window, and how much."""
_PERIODS = {60.0: "minute", 3600.0: "hour", 86400.0: "day"}


@dataclass(frozen=True, slots=True)
class Spend:
    """Calls that were reserved, and perhaps settled.

    Attributes:
        at: when they were reserved.
        calls: how many.
        seconds: running seconds: reserved while `ended` is None, true afterwards.
        expires: when the reservation counts as ended, if it is never settled.
        ended: when it was settled; None until then.
        likely: running seconds that it will probably take.

    Several settled calls may be told as one: the latest `at` and `ended` of all, and their sums.
    """

    at: float
    calls: int
    seconds: float
    expires: float
    ended: float | None = None
    likely: float = 0.0

    def end(self, now: float) -> float | None:
        """When it ended, by settlement or by expiry; None while it may still be running."""
        if self.ended is None and self.expires <= now:
            return self.expires
        return self.ended


@dataclass(frozen=True, slots=True)
class RateUse:
    """How one rate stands.

    Attributes:
        rate: as in the profile.
        amount: what the share leaves of it.
        spent: by settled calls.
        reserved: by calls still running.
        left: what may still be reserved; never negative.
        renews_at: when the next part comes back; None if nothing is spent.
    """

    rate: Rate
    amount: float
    spent: float
    reserved: float
    left: float
    renews_at: float | None


class Demand(Protocol):
    """A call that wants room: the running seconds to reserve for it, and what it will likely take of them."""

    @property
    def seconds(self) -> float: ...

    @property
    def likely(self) -> float: ...


def rate_uses(history: Iterable[Spend], limits: Limits, now: float, *, share: float) -> tuple[RateUse, ...]:
    """How every rate stands, in the profile's order."""
    settled, running = _parted(history, now)
    uses = []
    for rate in limits.rates:
        charges = _settled_charges(settled, rate, now, likely=True)
        spent = math.fsum(cost for _, cost in charges)
        still = _running_charges(running, rate, now, longest=limits.request_seconds, likely=False)
        reserved = math.fsum(cost for _, cost in still)
        amount = _amount(rate, share)
        left = max(0.0, amount - spent - reserved)
        uses.append(RateUse(rate, amount, spent, reserved, left, min((r for r, _ in charges), default=None)))
    return tuple(uses)


class RateWindow:
    """One rate's window, moving forward in time: what counts in it, and when each part falls out."""

    def __init__(self, rate: Rate, charges: Iterable[_Charge], amount: float, *, likely: bool) -> None:
        self._rate = rate
        self._amount = amount
        self._likely = likely
        self._releases = sorted(charges)  # a heap, too
        self._used = self._spent = math.fsum([cost for _, cost in self._releases])

    def copy(self) -> "RateWindow":
        """The same window, to be moved forward on its own."""
        twin = copy(self)
        twin._releases = self._releases.copy()
        return twin

    def room(self, call: Demand, at: float) -> float:
        """The first time from `at` on when one more call fits."""
        limit = self._amount - self._cost(call) + _EPSILON
        while self._releases and (self._releases[0][0] <= at or self._used > limit):
            release, cost = heapq.heappop(self._releases)
            self._used -= cost
            at = max(at, release)
        return at

    def fits(self, call: Demand, at: float) -> bool:
        """Whether one more call fits at `at`."""
        while self._releases and self._releases[0][0] <= at:
            self._used -= heapq.heappop(self._releases)[1]
        return self._used + self._cost(call) <= self._amount + _EPSILON

    def take(self, call: Demand, at: float) -> None:
        """Enter a call that goes at `at`: all it needs, of which the likely part stays."""
        whole = stays = self._cost(call)
        held = _transit(likely=self._likely)
        if self._rate.kind is Kind.SECONDS:
            stays = held = min(call.likely, whole)
            heapq.heappush(self._releases, (at + held, whole - stays))
        heapq.heappush(self._releases, (at + held + self._rate.period, stays))
        self._used += whole

    def _cost(self, call: Demand) -> float:
        if self._rate.kind is Kind.CALLS:
            return 1.0
        return min(call.likely if self._likely else call.seconds, self._amount)

    @property
    def reason(self) -> str:
        """What is waited for, in words."""
        period = _PERIODS.get(self._rate.period, f"{self._rate.period:g} s")
        what = "calls" if self._rate.kind is Kind.CALLS else "running seconds"
        return f"{what} per {period} ({self._spent:.0f} of {self._amount:.0f} spent)"


def windows(history: Iterable[Spend], limits: Limits, now: float, *, share: float) -> list[RateWindow]:
    """Every window in which a call must find room; with a share of 1, the likely is the lesser condition."""
    settled, running = _parted(history, now)
    found = []
    for rate in limits.rates:
        for likely in (False, True) if share < 1 else (False,):
            charges = _settled_charges(settled, rate, now, likely=likely)
            charges += _running_charges(running, rate, now, longest=limits.request_seconds, likely=likely)
            found.append(RateWindow(rate, charges, _amount(rate, share if likely else 1), likely=likely))
    return found


def _amount(rate: Rate, share: float) -> float:
    """What the share leaves of a rate: whole calls, at least one."""
    amount = rate.amount * share
    return amount if rate.kind is Kind.SECONDS else max(1.0, math.floor(amount + _EPSILON))


def _parted(history: Iterable[Spend], now: float) -> tuple[list[tuple[float, Spend]], list[Spend]]:
    """What has ended, with its end, and what may still be running."""
    spends = [(spend.end(now), spend) for spend in history]
    settled = [(end, spend) for end, spend in spends if end is not None]
    return settled, [spend for end, spend in spends if end is None]


def _transit(*, likely: bool) -> float:
    return LIKELY_TRANSIT_SECONDS if likely else TRANSIT_SECONDS


def _settled_charges(
    settled: Iterable[tuple[float, Spend]], rate: Rate, now: float, *, likely: bool
) -> list[_Charge]:
    """Until when each call that ended still counts in a rate's window, and how much."""
    if rate.kind is Kind.SECONDS:
        oldest = now - rate.period
        return [(end + rate.period, spend.seconds) for end, spend in settled if end > oldest]
    hold = _transit(likely=likely) + rate.period
    oldest = now - hold
    return [(spend.at + hold, float(spend.calls)) for _, spend in settled if spend.at > oldest]


def _running_charges(
    running: Iterable[Spend], rate: Rate, now: float, *, longest: float, likely: bool
) -> list[_Charge]:
    """The same for calls that may still be running: all count now, and until when is a guess.

    What was reserved beyond the likely figure comes back when the call ends.
    """
    soon, hold = now + RECHECK_SECONDS, _transit(likely=likely) + rate.period
    charges = []
    for spend in running:
        if rate.kind is Kind.CALLS:
            charges.append((max(soon, spend.at + hold), float(spend.calls)))
            continue
        seconds = max(spend.likely if likely else spend.seconds, min(now - spend.at, longest))
        end = max(soon, spend.at + spend.likely)
        charges += [(end, seconds - spend.likely), (end + rate.period, spend.likely)]
    return charges
