"""The rules of the quota, checked against a service with its own count."""

import heapq
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hunting_pipeline.limits import ENDPOINT, GRAPH, ORIGINAL, Kind, Limits, Rate
from hunting_pipeline.quota import rules
from hunting_pipeline.quota.records import Estimate, elapsed, learned
from hunting_pipeline.quota.rules import (
    Block,
    Go,
    Priority,
    Queue,
    QueueEntry,
    WaitUntil,
    decide,
)
from hunting_pipeline.quota.windows import TRANSIT_SECONDS, Spend, rate_uses


def limits(*rates: Rate) -> Limits:
    return replace(GRAPH, name="drawn", rates=rates)


def spend(at: float, *, seconds: float = 1, ended: float | None = None) -> Spend:
    return Spend(at=at, calls=1, seconds=seconds, expires=at + 100, ended=ended)


def entry(
    number: int, at: float, *, priority: Priority = Priority.FRESH, asked: float | None = None
) -> QueueEntry:
    return QueueEntry(
        number, priority, seconds=1, expected=1, since=at, asked=at if asked is None else asked, at=at
    )


def ask(history, rates, now, *, share=1.0, priority=Priority.FRESH, estimate=1.0, blocks=(), queue=None):
    return decide(
        history,
        limits(*rates),
        now,
        share=share,
        priority=priority,
        estimate=estimate,
        blocks=blocks,
        queue=queue or Queue(),
    )


CALLS = Rate(Kind.CALLS, 3, 60)
SECONDS = Rate(Kind.SECONDS, 10, 3600)


def test_calls_up_to_the_amount_go_and_the_next_waits_until_the_oldest_leaves_the_window():
    history = [spend(10, ended=11), spend(20, ended=21)]
    assert ask(history, [CALLS], 30) == Go()
    answer = ask([*history, spend(30, ended=31)], [CALLS], 40)
    assert isinstance(answer, WaitUntil)
    assert answer.at == pytest.approx(10 + 60 + TRANSIT_SECONDS, abs=0.01)
    assert answer.reason == "calls per minute (3 of 3 spent)"


def test_running_seconds_count_from_the_end_of_the_call():
    answer = ask([spend(0, seconds=10, ended=500)], [SECONDS], 600)
    assert isinstance(answer, WaitUntil)
    assert answer.at == pytest.approx(500 + 3600, abs=0.01)
    assert answer.reason == "running seconds per hour (10 of 10 spent)"


def test_the_share_counts_expected_seconds_and_the_whole_rate_counts_reserved_seconds():
    history = [spend(0, seconds=6, ended=1)]

    def asked(expected: float, estimate: float) -> Go | WaitUntil:
        return decide(
            history,
            limits(SECONDS),
            2,
            share=0.8,
            priority=Priority.FRESH,
            estimate=estimate,
            expected=expected,
        )

    assert asked(2, 4) == Go()
    assert isinstance(asked(2.1, 4), WaitUntil)
    assert isinstance(asked(2, 4.1), WaitUntil)


def test_a_running_call_counts_the_time_it_has_been_running():
    running = spend(0, seconds=2)
    assert ask([running], [SECONDS], 5, estimate=4) == Go()
    answer = ask([running], [SECONDS], 8, estimate=4)
    assert isinstance(answer, WaitUntil)
    assert answer.at < 8 + 60  # the call may settle at any moment: try again soon, not after an hour


def test_an_expired_reservation_counts_with_its_expected_seconds_for_one_period():
    dead = replace(spend(0, seconds=10), expected=4)
    assert isinstance(ask([dead], [SECONDS], 99.9, estimate=1), WaitUntil)
    assert ask([dead], [SECONDS], 100, estimate=6) == Go()
    answer = ask([dead], [SECONDS], 200, estimate=7)
    assert isinstance(answer, WaitUntil)
    assert answer.at == pytest.approx(100 + 3600, abs=0.01)
    assert ask([dead], [SECONDS], 100 + 3601, estimate=7) == Go()


def test_an_estimate_above_the_whole_rate_still_fits_alone():
    assert ask([], [SECONDS], 0, estimate=1000) == Go()
    assert isinstance(ask([spend(0, ended=1)], [SECONDS], 2, estimate=1000), WaitUntil)


@pytest.mark.parametrize(("share", "amount"), [(1, 45), (0.8, 36), (0.7, 31), (0.01, 1)])
def test_the_share_leaves_whole_calls_and_at_least_one(share, amount):
    (use,) = rate_uses([], GRAPH, 0, share=share)
    assert use.amount == amount


def test_a_block_stops_every_caller_and_spreads_the_wake_ups():
    block = Block(until=100, reason="CPU")
    first = ask([], [CALLS], 0, blocks=[block])
    assert isinstance(first, WaitUntil)
    assert first.at >= 100
    assert first.reason == "blocked by the service: CPU"
    second = ask([], [CALLS], 0, blocks=[block], queue=Queue(2, (entry(1, first.at),)))
    assert isinstance(second, WaitUntil)
    assert second.at - first.at >= rules.SPREAD_SECONDS / 2
    assert ask([], [CALLS], 100, blocks=[block]) == Go()


def test_waiters_are_given_successive_slots():
    history = [spend(at, ended=at + 1) for at in (0, 10, 20)]
    queue: tuple[QueueEntry, ...] = ()
    times = []
    for number in range(6):
        answer = ask(history, [CALLS], 30, queue=Queue(number, queue))
        assert isinstance(answer, WaitUntil)
        times.append(answer.at)
        queue = (*queue, entry(number, answer.at))
    assert times == pytest.approx([61, 71, 81, 122, 132, 142], abs=0.01)


def test_a_new_caller_does_not_overtake_and_an_absent_one_keeps_its_entry_only_for_the_grace_time():
    absent = entry(1, 100)
    history = [spend(95, ended=96), spend(96, ended=97)]
    answer = ask(history, [CALLS], 101, queue=Queue(2, (absent,)))
    assert isinstance(answer, WaitUntil)
    assert answer.at == pytest.approx(95 + 61, abs=0.01)
    assert "1 waiting before this one" in answer.reason
    assert ask(history, [CALLS], 105, queue=Queue(2, (absent,))) == Go()


def test_a_long_wait_holds_no_position_but_spreads_the_others():
    gone = entry(1, 3601, asked=10)
    assert ask([], [CALLS], 3600, queue=Queue(2, (gone,))) == Go()
    history = [spend(0, seconds=10, ended=1)]
    answer = ask(history, [SECONDS], 10, estimate=10, queue=Queue(2, (replace(gone, seconds=10),)))
    assert isinstance(answer, WaitUntil)
    assert answer.at == pytest.approx(3601 + 1 + 3600, abs=0.01)  # it ends after the expected second


def test_a_low_cost_call_overtakes_a_high_cost_one_that_does_not_fit_but_not_for_ever():
    history = [spend(0, seconds=8, ended=1)]
    high_cost = replace(entry(1, 3601, asked=3500), seconds=5, since=3500)
    assert ask(history, [SECONDS], 3510, estimate=2, queue=Queue(2, (high_cost,))) == Go()
    waited = replace(high_cost, since=3510 - rules.MAX_OVERTAKE_SECONDS)
    assert isinstance(ask(history, [SECONDS], 3510, estimate=2, queue=Queue(2, (waited,))), WaitUntil)
    backfill = ask(
        history, [SECONDS], 3510, priority=Priority.BACKFILL, estimate=2, queue=Queue(2, (high_cost,))
    )
    assert isinstance(backfill, WaitUntil)


def test_fresh_goes_before_earlier_backfill():
    backfill = entry(1, 50, priority=Priority.BACKFILL)
    assert ask([], [CALLS], 48, queue=Queue(2, (backfill,))) == Go()


def test_after_some_fresh_calls_in_a_row_one_backfill_call_is_first():
    entries = tuple(entry(number, 50) for number in range(8))
    queue = Queue(9, entries, fresh_in_a_row=rules.MAX_FRESH_IN_A_ROW)
    assert ask([], [CALLS], 50, priority=Priority.BACKFILL, queue=queue) == Go()
    behind = entry(9, 50, priority=Priority.BACKFILL)
    answer = ask([], [replace(CALLS, amount=1)], 50, queue=Queue(0, (behind,), rules.MAX_FRESH_IN_A_ROW))
    assert isinstance(answer, WaitUntil)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=50))
def test_the_estimate_stays_within_the_observed_range_and_above_its_mean(samples):
    estimate: Estimate | None = None
    for seconds in samples:
        estimate = learned(estimate, seconds)
    assert estimate is not None
    assert min(samples) - 1e-6 <= estimate.mean <= max(samples) + 1e-6
    assert estimate.upper >= estimate.mean


@pytest.mark.parametrize(
    ("before", "after", "seconds"),
    [
        ((100, 10), (110, 20), 10),
        ((100, 10), (9000, 20), 10),  # the wall clock was set forwards
        ((9000, 10), (100, 20), 10),  # and back
        ((100, 10), (160, 2), 60),  # the machine was restarted
        ((100, 10), (50, 2), 0),
        ((100, None), (130, None), 30),
        ((100, None), (50, None), 0),
    ],
)
def test_the_monotonic_clock_decides(before, after, seconds):
    assert elapsed(before, after) == seconds


# --- no drawn schedule exceeds a window ---------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A call as the service sees it."""

    arrived: float
    ended: float
    seconds: float


@dataclass(frozen=True)
class Job:
    """One call of a worker: its start, its cost and its end."""

    ready: float
    priority: Priority
    estimate: float
    expected: float  # relative to the estimate
    part: float  # the real seconds, relative to the estimate
    transit: float
    dies: bool


RATES = st.lists(
    st.one_of(
        st.builds(Rate, st.just(Kind.CALLS), st.integers(1, 8), st.sampled_from([10.0, 60.0, 300.0])),
        st.builds(Rate, st.just(Kind.SECONDS), st.floats(5, 60), st.sampled_from([60.0, 300.0, 900.0])),
    ),
    min_size=1,
    max_size=3,
)
JOBS = st.lists(
    st.builds(
        Job,
        ready=st.floats(0, 100),
        priority=st.sampled_from(Priority),
        estimate=st.floats(0.1, 30),
        expected=st.floats(0, 1),
        part=st.floats(0, 1),
        transit=st.floats(0, TRANSIT_SECONDS - 1e-3),
        dies=st.sampled_from([False, False, False, True]),
    ),
    max_size=25,
)


def run(rates: list[Rate], drawn: list[Job], share: float) -> list[Call]:
    """Run every job on a virtual clock: it asks, waits until the given time, and is sent.

    A call of a dead process runs no longer than expected, because no one knows its running time.
    """
    jobs = [replace(job, part=min(job.part, job.expected)) if job.dies else job for job in drawn]
    profile, sent, history = limits(*rates), [], {}
    waiting: dict[int, QueueEntry] = {}
    smallest = (
        min(share * r.amount for r in rates if r.kind is Kind.SECONDS)
        if any(r.kind is Kind.SECONDS for r in rates)
        else 1e9
    )
    events = [(job.ready, number, "ask") for number, job in enumerate(jobs)]
    heapq.heapify(events)
    asked = 0
    while events:
        now, number, what = heapq.heappop(events)
        job = jobs[number]
        estimate = min(job.estimate, smallest)
        expected = estimate * job.expected
        if what == "settle":
            history[number] = replace(history[number], seconds=estimate * job.part, ended=now)
            continue
        asked += 1
        assert asked < 400 * (1 + len(jobs)), "asks without end"
        others = tuple(other for place, other in waiting.items() if place != number)
        answer = decide(
            history.values(),
            profile,
            now,
            share=share,
            priority=job.priority,
            estimate=estimate,
            expected=expected,
            queue=Queue(number, others),
        )
        if isinstance(answer, WaitUntil):
            assert answer.at > now
            waiting[number] = QueueEntry(
                number, job.priority, estimate, expected, since=job.ready, asked=now, at=answer.at
            )
            heapq.heappush(events, (answer.at, number, "ask"))
            continue
        waiting.pop(number, None)
        end = now + job.transit + estimate * job.part
        history[number] = Spend(at=now, calls=1, seconds=estimate, expires=now + 40, expected=expected)
        sent.append(Call(now + job.transit, end, estimate * job.part))
        if not job.dies:
            heapq.heappush(events, (end, number, "settle"))
    assert len(sent) == len(jobs)
    return sent


def worst(amounts: list[tuple[float, float]], period: float) -> float:
    """Return the largest sum in any half-open window of that length."""
    return max((sum(a for t, a in amounts if start <= t < start + period) for start, _ in amounts), default=0)


def fullest(rate: Rate, sent: list[Call]) -> float:
    """Return the fullest window of the rate, for both ways in which the service may count running seconds."""
    if rate.kind is Kind.CALLS:
        return worst([(c.arrived, 1) for c in sent], rate.period)
    ways = ([(c.arrived, c.seconds) for c in sent], [(c.ended, c.seconds) for c in sent])
    return max(worst(booked, rate.period) for booked in ways)


@settings(max_examples=150, deadline=None)
@given(RATES, JOBS, st.sampled_from([0.3, 0.8, 1.0]))
def test_no_schedule_exceeds_a_window(rates, jobs, share):
    sent = run(rates, jobs, share)
    assert all(fullest(rate, sent) <= rate.amount + 1e-3 for rate in rates)


@settings(max_examples=150, deadline=None)
@given(RATES, JOBS, st.sampled_from([0.3, 0.8]))
def test_calls_that_take_no_longer_than_expected_stay_within_the_share(rates, jobs, share):
    expected = [replace(job, expected=max(job.expected, job.part), transit=0, dies=False) for job in jobs]
    sent = run(rates, expected, share)
    for rate in rates:
        assert fullest(rate, sent) <= max(1, rate.amount * share) + 1e-3


@pytest.mark.parametrize("profile", [ORIGINAL, GRAPH, ENDPOINT], ids=lambda p: p.name)
def test_endless_fresh_calls_never_starve_backfill(profile):
    """There are always twice as many fresh callers as slots, and one backfill caller."""
    amount = int(profile.rates[0].amount)
    now, last, fresh_in_a_row, done = 0.0, 0, 0, 0
    history: list[Spend] = []
    waiting: dict[int, QueueEntry] = {}
    backfill = last
    waiting[backfill] = entry(last, 0, priority=Priority.BACKFILL)
    for _ in range(40 * amount):
        while len(waiting) < 2 * amount:
            last += 1
            waiting[last] = entry(last, now)
        number = min(waiting, key=lambda t: waiting[t].at)
        caller = waiting.pop(number)
        now = max(now, caller.at)
        queue = Queue(number, tuple(waiting.values()), fresh_in_a_row)
        answer = decide(history, profile, now, share=1, priority=caller.priority, estimate=0.1, queue=queue)
        if isinstance(answer, WaitUntil):
            waiting[number] = replace(caller, asked=now, at=answer.at)
            continue
        history = [s for s in history if s.at > now - 100]
        history.append(spend(now, seconds=0.1, ended=now + 0.1))
        fresh_in_a_row = fresh_in_a_row + 1 if caller.priority is Priority.FRESH else 0
        if caller.priority is Priority.BACKFILL:
            done += 1
            last += 1
            waiting[last] = entry(last, now, priority=Priority.BACKFILL)
    assert done >= 2
