"""When the next call may go: decisions over what was spent. Reads no clock, does no I/O, knows no process.

A limit is a sum over a sliding window; what enters it, and for how long, is `windows`' business.

Whoever may not go yet is told when to ask again. All who wait form one queue; those ahead are placed into the
windows first, as if they had already gone, so everyone is given a slot of his own and nobody wakes up for the
same one. Fresh calls stand before backfill, but after `FRESH_TURNS` of them in a row one backfill call goes.
A cheap call may overtake a dear one that does not fit, until that one has waited `PATIENCE_SECONDS`.
A place is kept until `GRACE_SECONDS` after its time. One who was told to come back in more than
`NEAR_SECONDS` keeps no place, for he may come back as another process: his time only spreads the times of
others who are told to come back as late.

All times are seconds on the ledger's own time line, which only ever moves forward (see `book.elapsed`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hunting_pipeline.limits import Limits
from hunting_pipeline.quota.windows import RateWindow, Spend, windows

__all__ = ["Block", "Go", "Priority", "Queue", "WaitUntil", "Waiting", "decide"]

GRACE_SECONDS = 5.0
"""How late a waiter may wake and still find its place: above the worst wait for the ledger's lock (1.0 s
measured with 8 processes)."""
SPREAD_SECONDS = 0.1
"""Least distance between two waiters' wake-ups: several times what one turn at the ledger takes."""
NEAR_SECONDS = 120.0
"""A wait up to this is slept through, so its place is kept; whoever is told more may go away. Twice the
period of the shortest rate, so that a queue for the calls of a minute keeps its order."""
PATIENCE_SECONDS = 600.0
"""How long a dear call lets cheaper ones overtake it: a sixth of the shortest period of running seconds."""
FRESH_TURNS = 4
"""Fresh calls in a row before one backfill call goes: backfill keeps a fifth of the quota at worst."""


class Priority(StrEnum):
    """How urgent a call is."""

    FRESH = "fresh"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A place in the queue.

    Attributes:
        turn: the order in which callers first asked; unique.
        priority: how urgent it is.
        seconds: running seconds it will reserve.
        likely: of these, what it will probably take; the rest comes back soon.
        since: when it first asked.
        asked: when it last asked.
        at: when it was told to ask again.
    """

    turn: int
    priority: Priority
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


def decide(
    history: Iterable[Spend],
    limits: Limits,
    now: float,
    *,
    share: float,
    priority: Priority,
    estimate: float,
    likely: float = math.inf,
    blocks: Iterable[Block] = (),
    queue: Queue = Queue(),
) -> Go | WaitUntil:
    """Whether one call may go now, or when to ask again.

    If every call takes at most what was reserved for it, no window of any rate ever holds more than its
    amount; and more than `share` of it only by what calls took beyond what they would likely take. A call
    that takes longer counts its true time from that moment on.

    Args:
        history: what was spent within the longest period, in any order.
        limits: the rates that must all hold.
        now: the ledger's time.
        share: part of every rate that may be used, 0 < share ≤ 1; one call always fits.
        priority: of this call.
        estimate: running seconds to reserve for it; more than a whole rate counts as the whole rate.
        likely: of these, what it will probably take.
        blocks: what the service said in a 429.
        queue: who else waits.
    """
    room = windows(history, limits, now, share=share)
    mine = Waiting(queue.turn, priority, estimate, likely=min(likely, estimate), since=now, asked=now, at=now)
    places = [place for place in queue.waiting if place.at + GRACE_SECONDS > now]
    block = max(blocks, key=lambda b: b.until, default=Block(now, ""))
    for held in ([place for place in places if place.near], places):
        ahead = _ahead(held, mine, fresh_run=queue.fresh_run)
        if block.until <= now and _may_go([window.copy() for window in room], ahead, mine, now):
            return Go()
        at, bound = _slot([window.copy() for window in room], (*ahead, mine), start=max(now, block.until))
        if at <= now + NEAR_SECONDS:
            break
    reason = bound or (f"blocked by the service: {block.reason}" if block.until > now else "")
    others = f"{len(ahead)} waiting before this one" if ahead else ""
    return WaitUntil(math.ceil(at * 1000 + 1) / 1000, ", ".join(filter(None, (reason, others))))


def _may_go(room: Sequence[RateWindow], ahead: Iterable[Waiting], mine: Waiting, now: float) -> bool:
    """Whether there is room now for this call after those ahead who may go now too.

    Where one ahead needs more running seconds than are left, a cheaper call may overtake it, for a while;
    but backfill never overtakes a fresh call.
    """
    for place in ahead:
        if all(window.fits(place, now) for window in room):
            for window in room:
                window.take(place, now)
            continue
        patient = place.since + PATIENCE_SECONDS > now and (place.priority, mine.priority) != (
            Priority.FRESH,
            Priority.BACKFILL,
        )
        if place.seconds <= mine.seconds or not patient:
            return False
    return all(window.fits(mine, now) for window in room)


def _slot(room: Sequence[RateWindow], places: Iterable[Waiting], *, start: float) -> tuple[float, str]:
    """When the last of these places may go, one after the other, and for which window ("" if for none)."""
    at, bound = start - SPREAD_SECONDS, ""
    for place in places:
        at += SPREAD_SECONDS
        for window in room:
            later = window.room(place, at)
            if later > at:
                at, bound = later, window.reason
        for window in room:
            window.take(place, at)
    return at, bound


def _ahead(waiting: Iterable[Waiting], mine: Waiting, *, fresh_run: int) -> list[Waiting]:
    """Who goes before `mine`: fresh before backfill, except that every so often one backfill call goes."""
    places = sorted((*waiting, mine), key=lambda place: -place.turn)
    fresh = [place for place in places if place.priority is Priority.FRESH]
    backfill = [place for place in places if place.priority is Priority.BACKFILL]
    ahead: list[Waiting] = []
    while True:
        turn_of_backfill = backfill and (fresh_run >= FRESH_TURNS or not fresh)
        place = backfill.pop() if turn_of_backfill else fresh.pop()
        if place is mine:
            return ahead
        ahead.append(place)
        fresh_run = 0 if turn_of_backfill else fresh_run + 1
