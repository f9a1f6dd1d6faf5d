"""Slices tile their window, add up, and stay under the target; buckets divide; a plan has a duration."""

import math
from dataclasses import replace
from itertools import combinations, pairwise
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hunting_pipeline import plan
from hunting_pipeline.limits import ENDPOINT, ORIGINAL, PROFILES, TEST, Kind, Limits, Rate
from hunting_pipeline.model import DAY, HOUR, Bin, Bucket, Histogram, Partition, Proof, Slice, Window

STEP = 10


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    """Draw a window, which may begin or end within a bin, and its counted bins."""
    start = draw(st.integers(0, 25))
    window = Window(start, start + draw(st.integers(1, 300)))
    bins = []
    for edge in range(window.start // STEP * STEP, window.end, STEP):
        rows = draw(st.sampled_from([0, 0, 1, 2, 3, 4, 20]))
        own = Window(edge, edge + STEP).intersection(window)
        if rows and own:
            bins.append(Bin(own, Proof(rows, draw(st.integers(0, rows * 10**9)))))
    return Histogram((window,), STEP, tuple(bins))


@given(histograms(), st.integers(1, 25))
def test_slices_tile_the_window_and_add_up_to_the_count(histogram: Histogram, target: int) -> None:
    (window,) = histogram.windows
    slices = list(plan.pack(histogram, window, target=lambda: target, table="T"))
    assert slices[0].window.start == window.start
    assert slices[-1].window.end == window.end
    assert all(one.window.end == other.window.start for one, other in pairwise(slices))
    for slice_ in slices:
        mine = [b for b in histogram.bins if slice_.window.contains(b.window)]
        assert slice_.expected == sum((b.proof for b in mine), Proof(0, 0))
        assert slice_.occupied == (Window(mine[0].window.start, mine[-1].window.end) if mine else None)
    assert sum(slice_.expected.rows for slice_ in slices) == histogram.rows, "a bin was cut in two"
    assert {slice_.table for slice_ in slices} == {"T"}


@given(histograms(), st.integers(1, 25))
def test_a_slice_is_over_the_target_only_if_it_holds_one_bin(histogram: Histogram, target: int) -> None:
    (window,) = histogram.windows
    for slice_ in plan.pack(histogram, window, target=lambda: target):
        bins = [b for b in histogram.bins if slice_.window.contains(b.window)]
        assert slice_.expected.rows <= target or len(bins) == 1


@given(histograms(), st.integers(1, 25))
def test_two_neighbouring_slices_never_fit_into_one(histogram: Histogram, target: int) -> None:
    """The first bin of the next slice did not fit. So the number of calls is near the minimum."""
    (window,) = histogram.windows
    slices = list(plan.pack(histogram, window, target=lambda: target))
    for one, other in pairwise(slices):
        first = next(b for b in histogram.bins if other.window.contains(b.window))
        assert one.expected.rows + first.proof.rows > target


def test_the_target_is_called_again_for_every_slice() -> None:
    bins = tuple(Bin(Window(n, n + 1), Proof(10, 0)) for n in range(10))
    targets = iter([10, 30, 20, 1000])
    packed = plan.pack(Histogram((Window(0, 10),), 1, bins), Window(0, 10), target=lambda: next(targets))
    first = next(packed)
    assert first.expected.rows == 10
    assert next(targets) == 30, "the second target was asked before the second slice"
    assert [slice_.expected.rows for slice_ in packed] == [20, 70]


def test_a_window_without_rows_is_one_slice() -> None:
    assert list(plan.pack(Histogram((Window(3, 9),), 1, ()), Window(3, 9), target=lambda: 5)) == [
        Slice("", Window(3, 9), Proof(0, 0))
    ]


def test_only_the_requested_window_of_a_histogram_is_packed() -> None:
    bins = (Bin(Window(0, 1), Proof(5, 0)), Bin(Window(20, 21), Proof(7, 0)))
    histogram = Histogram((Window(0, 10), Window(20, 30)), 1, bins)
    (slice_,) = plan.pack(histogram, Window(20, 30), target=lambda: 100)
    assert (slice_.window, slice_.expected.rows) == (Window(20, 30), 7)


@given(st.integers(1, 400 * DAY), st.integers(1, 60_000))
def test_the_step_is_the_finest_that_keeps_a_histogram_small(ticks: int, bins: int) -> None:
    step = plan.step_for(ticks, bins)
    assert step == DAY or ticks <= step * bins
    assert DAY % step == 0, "bins would not start where partitions do"
    assert step > HOUR or HOUR % step == 0
    finer = [s for s in plan._STEPS if s < step]
    assert not finer or ticks > finer[-1] * bins


def test_a_finer_histogram_is_queried_only_if_it_saves_calls() -> None:
    window = Window(0, 30 * DAY)
    step = plan.step_for(window.ticks)
    full = tuple(Bin(Window(n * step, (n + 1) * step), Proof(600, 0)) for n in range(100))
    loose = tuple(Bin(Window(n * step, (n + 1) * step), Proof(10, 0)) for n in range(100))
    finer = plan.finer_step(Histogram((window,), step, full), 1000)
    assert finer is not None
    assert finer < step
    assert plan.finer_step(Histogram((window,), step, loose), 1000) is None
    assert plan.finer_step(Histogram((window,), finer, full), 1000) is None, "no step is finer than itself"


widths = st.builds(plan.Width, st.floats(1, 1e6), st.booleans())


@given(st.sampled_from(list(PROFILES.values())), widths)
def test_the_row_target_stays_below_both_caps(limits: Limits, width: plan.Width) -> None:
    target = plan.row_target(limits, width)
    assert 1 <= target < limits.rows
    if limits.reply_bytes is not None:
        assert target == 1 or target * width.bytes_per_row <= 0.9 * limits.reply_bytes


@given(st.integers(1, 5), widths)
def test_the_row_target_is_at_least_one_row(rows: int, width: plan.Width) -> None:
    tiny = Limits("tiny", "", (), rows, None, 1)
    assert 1 <= plan.row_target(tiny, width) <= rows


def test_a_guessed_width_leaves_more_room_than_a_learnt_one() -> None:
    assert plan.row_target(ENDPOINT, plan.Width(5000)) == 5_000
    assert plan.row_target(ENDPOINT, plan.Width(5000, measured=True)) == 9_000
    assert plan.row_target(ORIGINAL, plan.Width(5000)) == 99_000


@given(widths, st.integers(0, 10**5), st.integers(0, 10**8))
def test_a_width_follows_wider_replies_at_once_and_narrower_ones_slowly(
    width: plan.Width, rows: int, body: int
) -> None:
    after = width.after(rows, body)
    if rows < 100:
        assert after == width
        return
    seen = max(1.0, body / rows)
    assert after.measured
    assert after.bytes_per_row >= seen * (1 - 1e-9)
    assert after.bytes_per_row <= max(seen, width.bytes_per_row) * (1 + 1e-9)
    if width.measured and seen < width.bytes_per_row:
        assert math.isclose(after.bytes_per_row, 0.8 * width.bytes_per_row + 0.2 * seen)


def test_a_width_is_never_zero() -> None:
    """The row target divides by the width."""
    assert plan.row_target(TEST, plan.Width(1000).after(1000, 0)) < TEST.rows


def rows_of(rows: int, bucket: Bucket | None = None) -> Slice:
    return Slice("T", Window(0, 1), Proof(rows, 0), Window(0, 1), bucket)


@pytest.mark.parametrize(
    ("rows", "width", "expected"),
    [(999, 1000, True), (1000, 1, False), (500, 2000, True), (500, 2001, False), (1, 10**9, True)],
)
def test_a_slice_fits_if_a_reply_can_carry_its_rows_and_bytes(
    rows: int, width: float, expected: bool
) -> None:
    assert plan.fits(rows_of(rows), TEST, plan.Width(width)) is expected


@given(st.integers(2, 10**7), st.integers(1, 10**5), st.one_of(st.none(), st.integers(0, 8)))
def test_buckets_are_a_power_of_two_and_filled_to_two_thirds(rows: int, target: int, own: int | None) -> None:
    bucket = None if own is None else Bucket(0, 1 << own)
    of = plan.buckets_needed(rows_of(rows, bucket), target)
    fan_out = of // (bucket.of if bucket else 1)
    assert of.bit_count() == 1
    assert fan_out >= (16 if bucket else 2)
    assert rows / fan_out <= target / 1.5 or rows <= target
    if fan_out > 16:
        assert rows / (fan_out / 2) > target / 1.5, "twice as many calls as needed"


@given(st.integers(0, 3), st.integers(1, 4), st.data())
def test_finer_buckets_divide_their_bucket_and_add_up(own: int, finer: int, data: st.DataObject) -> None:
    bucket = Bucket(data.draw(st.integers(0, (1 << own) - 1)), 1 << own)
    of = 1 << (own + finer)
    proofs = [Proof(7, 7)] * of  # of other buckets: must not be used
    mine = range(bucket.index, of, bucket.of)
    for index in mine:
        proofs[index] = Proof(data.draw(st.integers(0, 3)), data.draw(st.integers(0, 99)))
    whole = sum((proofs[index] for index in mine), Proof(0, 0))
    slice_ = Slice("T", Window(0, 1), whole, bucket=bucket if own else None)
    if own == 0:
        assume(bucket.index == 0)
    parts = plan.bucket_slices(slice_, proofs)
    assert sum(part.expected.rows for part in parts) == whole.rows
    assert len({part.bucket for part in parts}) == len(parts) >= 1
    assert all(part.bucket.of == of and part.bucket.index % bucket.of == bucket.index for part in parts)
    assert all(part.expected.rows for part in parts) or (whole.rows == 0 and len(parts) == 1)
    assert all(part.window == slice_.window for part in parts)


def test_a_plan_within_every_rate_takes_as_long_as_its_calls_run() -> None:
    found = plan.cost(
        calls=8, rows=1000, width=plan.Width(2.5), limits=ORIGINAL, share=0.8, seconds_per_call=5
    )
    assert found == plan.Cost(8, 1000, 2500, 40, 40)


def test_the_tightest_rate_says_how_long_a_plan_takes() -> None:
    """120 calls of 5 s fill an hour of the original limits. So 360 calls wait for two renewals."""
    found = plan.cost(calls=360, rows=0, width=plan.Width(1), limits=ORIGINAL, share=1, seconds_per_call=5)
    assert found.wall_seconds == pytest.approx(2 * 3600)


@given(st.integers(0, 10**5), st.integers(1, 10**4), st.floats(0.05, 1), st.floats(0, 600))
def test_more_calls_and_a_smaller_share_never_take_less_time(
    calls: int, more: int, share: float, seconds: float
) -> None:
    def price(calls: int, share: float) -> plan.Cost:
        return plan.cost(
            calls=calls,
            rows=calls,
            width=plan.Width(3),
            limits=ENDPOINT,
            share=share,
            seconds_per_call=seconds,
        )

    assert price(calls, share).wall_seconds <= price(calls + more, share).wall_seconds
    assert price(calls, share).wall_seconds <= price(calls, share / 2).wall_seconds
    assert price(calls, share).wall_seconds >= price(calls, share).running_seconds == calls * seconds


@given(st.integers(1, 500), st.integers(1, 60), st.integers(1, 600))
def test_the_wall_time_is_one_that_the_rate_allows(calls: int, amount: int, period: int) -> None:
    """A plan can never need fewer renewals than computed."""
    limits = Limits("one", "", (Rate(Kind.CALLS, amount, period),), 10, None, 1)
    found = plan.cost(calls=calls, rows=0, width=plan.Width(1), limits=limits, share=1, seconds_per_call=0)
    renewals = math.ceil(calls / amount) - 1
    assert found.wall_seconds <= renewals * period + period
    assert found.wall_seconds >= (renewals - 1) * period


# --- the plan as a budget ---------------------------------------------------------------------------------

HOURLY = Limits("hourly", "", (Rate(Kind.CALLS, 10, 3600),), 10, None, 1)
BOTH = Limits("both", "", (Rate(Kind.CALLS, 10, 3600), Rate(Kind.SECONDS, 30, 1800)), 10, None, 1)
TODAY = 100 * DAY


def due(day: int, calls: float, *, hours_left: float | None, running: float = 0.0) -> plan.PartitionCost:
    deadline = None if hours_left is None else TODAY + math.floor(hours_left * HOUR)
    return plan.PartitionCost(Partition("T", Window(day * DAY, (day + 1) * DAY)), calls, running, deadline)


@st.composite
def missing(draw: st.DrawFn) -> list[plan.PartitionCost]:
    return [
        due(
            day,
            draw(st.integers(1, 30)),
            hours_left=draw(st.one_of(st.none(), st.floats(-2, 12))),
            running=draw(st.floats(0, 60)),
        )
        for day in range(draw(st.integers(0, 6)))
    ]


def in_time(dues: list[plan.PartitionCost], limits: Limits) -> bool:
    """Return whether all can be done in time, in the order of their deadlines."""
    calls = running = 0.0
    for one in sorted(dues, key=lambda d: math.inf if d.deadline is None else d.deadline):
        calls, running = calls + one.calls, running + one.running_seconds
        waits = [(calls if r.kind is Kind.CALLS else running, r) for r in limits.rates]
        wall = max([running, *((spent / r.amount - 1) * r.period for spent, r in waits)])
        if one.deadline is not None and TODAY + wall * 10**7 >= one.deadline:
            return False
    return True


def test_partitions_that_fit_are_done_oldest_first() -> None:
    turns = plan.by_deadline(
        [due(3, 10, hours_left=9), due(1, 10, hours_left=1), due(2, 10, hours_left=5)],
        HOURLY,
        share=1,
        now=TODAY,
    )
    assert [(turn.partition.window.start // DAY, turn.lost) for turn in turns] == [
        (1, False),
        (2, False),
        (3, False),
    ]
    assert [turn.done - TODAY for turn in turns] == [0, HOUR, 2 * HOUR]


def test_an_old_partition_is_given_up_if_it_would_cost_two_younger_ones() -> None:
    """30 calls take two hours longer than ten. Both other partitions are forgotten by then."""
    turns = plan.by_deadline(
        [due(1, 30, hours_left=2.5), due(2, 10, hours_left=2.7), due(3, 10, hours_left=2.9)],
        HOURLY,
        share=1,
        now=TODAY,
    )
    assert [(turn.partition.window.start // DAY, turn.lost) for turn in turns] == [
        (2, False),
        (3, False),
        (1, True),
    ]


def test_lost_partitions_go_last_and_the_youngest_of_them_first() -> None:
    gone = [due(1, 1, hours_left=-30), due(2, 1, hours_left=-6)]
    turns = plan.by_deadline([*gone, due(3, 1, hours_left=None)], HOURLY, share=1, now=TODAY)
    assert [(turn.partition.window.start // DAY, turn.lost) for turn in turns] == [
        (3, False),
        (2, True),
        (1, True),
    ]


@given(missing(), st.sampled_from([HOURLY, BOTH]), st.randoms(use_true_random=False))
def test_every_promised_partition_is_done_before_its_deadline(
    dues: list[plan.PartitionCost], limits: Limits, random: Random
) -> None:
    turns = plan.by_deadline(dues, limits, share=1, now=TODAY)
    deadlines = {one.partition: one.deadline for one in dues}
    assert sorted(turn.partition for turn in turns) == sorted(deadlines)
    for turn in turns:
        deadline = deadlines[turn.partition]
        assert turn.lost or deadline is None or turn.done <= deadline
    assert [turn.lost for turn in turns] == sorted(turn.lost for turn in turns), "what is lost goes last"
    assert in_time([one for one in dues if one.partition not in lost_of(turns)], limits)
    if in_time(dues, limits):
        assert not lost_of(turns)
    shuffled = random.sample(dues, len(dues))
    assert plan.by_deadline(shuffled, limits, share=1, now=TODAY) == turns


@given(missing())
def test_no_other_order_keeps_more_partitions(dues: list[plan.PartitionCost]) -> None:
    kept = len(dues) - len(lost_of(plan.by_deadline(dues, HOURLY, share=1, now=TODAY)))
    quick = [replace(one, running_seconds=0.0) for one in dues]
    best = max(
        number
        for number in range(len(dues) + 1)
        if any(in_time(list(some), HOURLY) for some in combinations(quick, number))
    )
    free = len(dues) - len(lost_of(plan.by_deadline(quick, HOURLY, share=1, now=TODAY)))
    assert kept <= free == best


def lost_of(turns: list[plan.Scheduled]) -> set[Partition]:
    return {turn.partition for turn in turns if turn.lost}


def test_a_call_that_partitions_share_is_divided_evenly() -> None:
    days = [Partition("T", Window(day * DAY, (day + 1) * DAY)) for day in (70, 71)]
    slices = [
        Slice("T", Window(70 * DAY, 70 * DAY + HOUR), Proof(1, 0)),
        Slice("T", Window(70 * DAY + HOUR, 72 * DAY), Proof(1, 0)),
    ]
    found = plan.partition_costs(slices, days, seconds_per_call=4, retention_days=30)
    assert found == [
        plan.PartitionCost(days[0], 1.5, 6, 100 * DAY),
        plan.PartitionCost(days[1], 0.5, 2, 101 * DAY),
    ]
