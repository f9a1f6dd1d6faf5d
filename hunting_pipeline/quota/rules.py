"""When the next call may go: decisions over what was spent. Reads no clock, does no I/O, knows no process.

A limit is a sum over a sliding window. How each kind of spending enters that sum:

*   A call counts from its reservation until `TRANSIT_SECONDS` longer than the rate's period: the service
    counts it when it arrives, a little after it was reserved. While it is unsettled it always counts, for it
    may still be on its way.
*   Running seconds count from the reservation until one period after the call *ended*, because the service
    does not say whether it books them at the start or at the end. While a call is unsettled it counts the
    larger of its estimate and the time it has been running (at most what the service lets a request run), so
    too small an estimate stops new calls at once.
*   A reservation that is never settled (its process died) counts in full until it expires, and afterwards
    like a call that ended at its expiry and took what was reserved.

Whoever may not go yet is told when to ask again. All who wait form one queue; those ahead are placed into the
windows first, as if they had already gone, so everyone is given a slot of his own and nobody wakes up for the
same one. Fresh calls stand before backfill, but after `FRESH_TURNS` of them in a row one backfill call goes.
A cheap call may overtake a dear one that does not fit, until that one has waited `PATIENCE_SECONDS`.
A place is kept until `GRACE_SECONDS` after its time. One who was told to come back in more than
`NEAR_SECONDS` keeps no place, for he may come back as another process: his time only spreads the times of
others who are told to come back as late.

All times are seconds on the ledger's own time line, which only ever moves forward (see `book.elapsed`).
"""

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hunting_pipeline.limits import Kind, Limits, Rate

__all__ = [
    "Block",
    "Go",
    "Lane",
    "Queue",
    "RateUse",
    "Spend",
    "WaitUntil",
    "Waiting",
    "decide",
    "rate_uses",
]

TRANSIT_SECONDS = 1.0
"""How much longer one call may take to reach the service than another: a lost SYN is sent again after 1 s
(RFC 6298, 2.1)."""
GRACE_SECONDS = 5.0
"""How late a waiter may wake and still find its place: above the worst wait for the ledger's lock (1.0 s
measured with 8 processes)."""
RECHECK_SECONDS = 5.0
"""When to ask again where only unsettled calls stand in the way: a typical query ends within seconds."""
SPREAD_SECONDS = 0.1
"""Least distance between two waiters' wake-ups: several times what one turn at the ledger takes."""
NEAR_SECONDS = 120.0
"""A wait up to this is slept through, so its place is kept; whoever is told more may go away. Twice the
period of the shortest rate, so that a queue for the calls of a minute keeps its order."""
PATIENCE_SECONDS = 600.0
"""How long a dear call lets cheaper ones overtake it: a sixth of the shortest period of running seconds."""
FRESH_TURNS = 4
"""Fresh calls in a row before one backfill call goes: backfill keeps a fifth of the quota at worst."""
_EPSILON = 1e-6
"""Sums of floats are compared with this tolerance (seconds of running time)."""
_Charge = tuple[float, float]
"""Until when something counts in a window, and how much."""
_PERIODS = {60.0: "minute", 3600.0: "hour", 86400.0: "day"}


class Lane(StrEnum):
    """How urgent a call is."""

    FRESH = "fresh"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class Spend:
    """Calls that were reserved, and perhaps settled.

    Attributes:
        at: when they were reserved.
        calls: how many.
        seconds: running seconds: reserved while `ended` is None, true afterwards.
        expires: when the reservation counts as ended, if it is never settled.
        ended: when it was settled; None until then.
        likely: running seconds it will probably take; of what was reserved, the rest comes back soon.

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
class Waiting:
    """A place in the queue.

    Attributes:
        turn: the order in which callers first asked; unique.
        lane: in which lane.
        seconds: running seconds it will reserve.
        likely: of these, what it will probably take; the rest comes back soon.
        since: when it first asked.
        asked: when it last asked.
        at: when it was told to ask again.
    """

    turn: int
    lane: Lane
    seconds: float
    likely: float
    since: float
    asked: float
    at: float

    @property
    def near(self) -> bool:
        """Whether it surely waits here, rather than going away to come back as somebody else."""
        return self.at <= self.asked + NEAR_SECONDS


@dataclass(frozen=True, slots=True)
class Queue:
    """Who else waits, as one caller finds it.

    Attributes:
        turn: this caller's own turn.
        waiting: the others' places.
        fresh_run: how many fresh calls went since the last backfill call.
    """

    turn: int = 0
    waiting: tuple[Waiting, ...] = ()
    fresh_run: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """The service said 429: nobody asks before `until`."""

    until: float
    reason: str


@dataclass(frozen=True, slots=True)
class Go:
    """Send the call now."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Ask again at `at` (unix seconds), not before; `reason` tells people what is waited for."""

    at: float
    reason: str


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


def decide(
    history: Iterable[Spend],
    limits: Limits,
    now: float,
    *,
    share: float,
    lane: Lane,
    estimate: float,
    likely: float = math.inf,
    blocks: Iterable[Block] = (),
    queue: Queue = Queue(),
) -> Go | WaitUntil:
    """Whether one call may go now, or when to ask again.

    If every call takes at most what was reserved for it, no window of any rate ever holds more than
    `share` of its amount. A call that takes longer counts its true time from that moment on.

    Args:
        history: what was spent within the longest period, in any order.
        limits: the rates that must all hold.
        now: the ledger's time.
        share: part of every rate that may be used, 0 < share ≤ 1; one call always fits.
        lane: of this call.
        estimate: running seconds to reserve for it; more than a whole rate counts as the whole rate.
        likely: of these, what it will probably take.
        blocks: what the service said in a 429.
        queue: who else waits.
    """
    charged = _charged(history, limits, now, share=share)
    mine = Waiting(queue.turn, lane, estimate, likely=min(likely, estimate), since=now, asked=now, at=now)
    places = [place for place in queue.waiting if place.at + GRACE_SECONDS > now]
    block = max(blocks, key=lambda b: b.until, default=Block(now, ""))
    for held in ([place for place in places if place.near], places):
        ahead = _ahead(held, mine, fresh_run=queue.fresh_run)
        windows = [_Window(*each) for each in charged]
        if block.until <= now and _may_go(windows, ahead, mine, now):
            return Go()
        windows = [_Window(*each) for each in charged]
        at, bound = _slot(windows, (*ahead, mine), start=max(now, block.until))
        if at <= now + NEAR_SECONDS:
            break
    reason = bound or (f"blocked by the service: {block.reason}" if block.until > now else "")
    others = f"{len(ahead)} waiting before this one" if ahead else ""
    return WaitUntil(math.ceil(at * 1000 + 1) / 1000, ", ".join(filter(None, (reason, others))))


def rate_uses(history: Iterable[Spend], limits: Limits, now: float, *, share: float) -> tuple[RateUse, ...]:
    """How every rate stands, in the profile's order."""
    settled, running = _parted(history, now)
    uses = []
    for rate in limits.rates:
        charges = _settled_charges(settled, rate, now)
        spent = math.fsum(cost for _, cost in charges)
        still = _running_charges(running, rate, now, longest=limits.request_seconds)
        reserved = math.fsum(cost for _, cost in still)
        amount = _amount(rate, share)
        left = max(0.0, amount - spent - reserved)
        uses.append(RateUse(rate, amount, spent, reserved, left, min((r for r, _ in charges), default=None)))
    return tuple(uses)


def _amount(rate: Rate, share: float) -> float:
    """What the share leaves of a rate: whole calls, at least one."""
    amount = rate.amount * share
    return amount if rate.kind is Kind.SECONDS else max(1.0, math.floor(amount + _EPSILON))


def _parted(history: Iterable[Spend], now: float) -> tuple[list[tuple[float, Spend]], list[Spend]]:
    """What has ended, with its end, and what may still be running."""
    spends = [(spend.end(now), spend) for spend in history]
    settled = [(end, spend) for end, spend in spends if end is not None]
    return settled, [spend for end, spend in spends if end is None]


def _settled_charges(settled: Iterable[tuple[float, Spend]], rate: Rate, now: float) -> list[_Charge]:
    """Until when each call that ended still counts in a rate's window, and how much."""
    if rate.kind is Kind.SECONDS:
        oldest = now - rate.period
        return [(end + rate.period, spend.seconds) for end, spend in settled if end > oldest]
    hold = TRANSIT_SECONDS + rate.period
    oldest = now - hold
    return [(spend.at + hold, float(spend.calls)) for _, spend in settled if spend.at > oldest]


def _running_charges(running: Iterable[Spend], rate: Rate, now: float, *, longest: float) -> list[_Charge]:
    """The same for calls that may still be running: all count now, and until when is a guess.

    Running seconds count as reserved, or as long as the call has been running, up to the `longest` a request
    can; what is more than the likely figure comes back when the call ends.
    """
    soon = now + RECHECK_SECONDS
    charges = []
    for spend in running:
        if rate.kind is Kind.CALLS:
            charges.append((max(soon, spend.at + TRANSIT_SECONDS + rate.period), float(spend.calls)))
            continue
        seconds = max(spend.seconds, min(now - spend.at, longest))
        end = max(soon, spend.at + spend.likely)
        charges += [(end, seconds - spend.likely), (end + rate.period, spend.likely)]
    return charges


class _Window:
    """One rate's window, moving forward in time: what counts in it, and when each part falls out."""

    def __init__(self, rate: Rate, charges: Iterable[_Charge], amount: float) -> None:
        self._rate = rate
        self._amount = amount
        self._releases = sorted(charges)  # a heap, too
        self._used = self._spent = math.fsum([cost for _, cost in self._releases])

    def room(self, seconds: float, at: float) -> float:
        """The first time from `at` on when one more call fits."""
        limit = self._amount - self._cost(seconds) + _EPSILON
        while self._releases and (self._releases[0][0] <= at or self._used > limit):
            release, cost = heapq.heappop(self._releases)
            self._used -= cost
            at = max(at, release)
        return at

    def fits(self, seconds: float, at: float) -> bool:
        """Whether one more call fits at `at`."""
        while self._releases and self._releases[0][0] <= at:
            self._used -= heapq.heappop(self._releases)[1]
        return self._used + self._cost(seconds) <= self._amount + _EPSILON

    def take(self, place: Waiting, at: float) -> None:
        """Enter a call that goes at `at`: all it reserves, of which the likely part stays."""
        whole = stays = self._cost(place.seconds)
        held = TRANSIT_SECONDS
        if self._rate.kind is Kind.SECONDS:
            stays = held = min(place.likely, whole)
            heapq.heappush(self._releases, (at + held, whole - stays))
        heapq.heappush(self._releases, (at + held + self._rate.period, stays))
        self._used += whole

    def _cost(self, seconds: float) -> float:
        return 1.0 if self._rate.kind is Kind.CALLS else min(seconds, self._amount)

    @property
    def reason(self) -> str:
        period = _PERIODS.get(self._rate.period, f"{self._rate.period:g} s")
        what = "calls" if self._rate.kind is Kind.CALLS else "running seconds"
        return f"{what} per {period} ({self._spent:.0f} of {self._amount:.0f} spent)"


def _charged(
    history: Iterable[Spend], limits: Limits, now: float, *, share: float
) -> list[tuple[Rate, list[_Charge], float]]:
    """Every rate with what counts in its window and the amount that the share leaves of it."""
    settled, running = _parted(history, now)
    charged = []
    for rate in limits.rates:
        charges = _settled_charges(settled, rate, now)
        charges += _running_charges(running, rate, now, longest=limits.request_seconds)
        charged.append((rate, charges, _amount(rate, share)))
    return charged


def _may_go(windows: Sequence[_Window], ahead: Iterable[Waiting], mine: Waiting, now: float) -> bool:
    """Whether there is room now for this call after those ahead who may go now too.

    Where one ahead needs more running seconds than are left, a cheaper call may overtake it, for a while;
    but backfill never overtakes a fresh call.
    """
    for place in ahead:
        if all(window.fits(place.seconds, now) for window in windows):
            for window in windows:
                window.take(place, now)
            continue
        patient = place.since + PATIENCE_SECONDS > now and (place.lane, mine.lane) != (
            Lane.FRESH,
            Lane.BACKFILL,
        )
        if place.seconds <= mine.seconds or not patient:
            return False
    return all(window.fits(mine.seconds, now) for window in windows)


def _slot(windows: Sequence[_Window], places: Iterable[Waiting], *, start: float) -> tuple[float, str]:
    """When the last of these places may go, one after the other, and for which window ("" if for none)."""
    at, bound = start - SPREAD_SECONDS, ""
    for place in places:
        at += SPREAD_SECONDS
        for window in windows:
            later = window.room(place.seconds, at)
            if later > at:
                at, bound = later, window.reason
        for window in windows:
            window.take(place, at)
    return at, bound


def _ahead(waiting: Iterable[Waiting], mine: Waiting, *, fresh_run: int) -> list[Waiting]:
    """Who goes before `mine`: fresh before backfill, except that every so often one backfill call goes."""
    places = sorted((*waiting, mine), key=lambda place: -place.turn)
    fresh = [place for place in places if place.lane is Lane.FRESH]
    backfill = [place for place in places if place.lane is Lane.BACKFILL]
    ahead: list[Waiting] = []
    while True:
        turn_of_backfill = backfill and (fresh_run >= FRESH_TURNS or not fresh)
        place = backfill.pop() if turn_of_backfill else fresh.pop()
        if place is mine:
            return ahead
        ahead.append(place)
        fresh_run = 0 if turn_of_backfill else fresh_run + 1
