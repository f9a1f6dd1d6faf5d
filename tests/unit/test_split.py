"""The decision about a slice, for every reason and every kind of slice and evidence."""

from dataclasses import replace
from itertools import product

import pytest

from hunting_pipeline import actions, plan, split
from hunting_pipeline.actions import Blame, Evidence, Reason
from hunting_pipeline.limits import TEST
from hunting_pipeline.model import HOUR, Bucket, Grain, Proof, Slice, Window
from hunting_pipeline.split import next_action

WIDTH = plan.Width(100.0)
KNOWN = Evidence(WIDTH, edge=0)
COUNTED = replace(KNOWN, recounts=1)
WINDOW = Window(HOUR, 4 * HOUR)
TICK = Window(2 * HOUR + 7, 2 * HOUR + 8)
PARTS = (Slice("T", WINDOW, Proof(3, 0)),)


def a_slice(
    rows: int = 500,
    *,
    occupied: Window | None = WINDOW,
    bucket: Bucket | None = None,
    window: Window = WINDOW,
) -> Slice:
    return Slice("T", window, Proof(rows, rows), occupied, bucket)


def decided(slice_: Slice, reason: Reason, evidence: Evidence = KNOWN) -> actions.Action:
    return next_action(slice_, reason, evidence, limits=TEST, grain=Grain.HOUR)


ONE = Window(2 * HOUR, 3 * HOUR)
SERVED = replace(KNOWN, served=True)


def halves(slice_: Slice) -> tuple[Slice, ...]:
    """Return a slice of three partitions as two slices that were not counted."""
    windows = Window(HOUR, 2 * HOUR), Window(2 * HOUR, 4 * HOUR)
    return tuple(replace(slice_, window=part, expected=Proof(0, 0), occupied=None) for part in windows)


def received(rows: int, rounds: int = 1) -> Evidence:
    return replace(KNOWN, received=Proof(rows, rows), rounds=rounds)


@pytest.mark.parametrize(
    ("slice_", "reason", "evidence", "expected"),
    [
        (a_slice(), Reason.NEW, KNOWN, actions.Fetch(persist=False)),
        (a_slice(1), Reason.NEW, KNOWN, actions.Fetch(persist=True)),
        (a_slice(0, occupied=None), Reason.NEW, KNOWN, actions.Fetch(persist=True)),
        (a_slice(1000), Reason.NEW, KNOWN, actions.ByTime(WINDOW, plan.step_for(WINDOW.ticks), 500)),
        (a_slice(), Reason.ANSWERED, received(500), actions.Accept()),
        (a_slice(), Reason.ANSWERED, received(499), actions.Recount()),
        (a_slice(), Reason.RECOUNTED, received(500), actions.Accept()),
        (a_slice(), Reason.RECOUNTED, received(499, 3), actions.Fetch(persist=False)),
        (a_slice(), Reason.RECOUNTED, received(499, 4), actions.Replace(halves(a_slice()))),
        (a_slice(window=ONE), Reason.RECOUNTED, received(499, 4), actions.ByTime(ONE, 15 * 10**7, 250)),
        (a_slice(1500), Reason.RECOUNTED, received(499, 1), actions.ByTime(WINDOW, 15 * 10**7, 750)),
        (a_slice(), Reason.UNANSWERED, KNOWN, actions.Probe()),
        (a_slice(1), Reason.UNANSWERED, KNOWN, actions.Probe()),
        (a_slice(), Reason.UNANSWERED, SERVED, actions.ByTime(WINDOW, 15 * 10**7, 250)),
        (a_slice(), Reason.PROBED, KNOWN, actions.ByTime(WINDOW, 15 * 10**7, 250)),
        (a_slice(), Reason.UNREADABLE, replace(KNOWN, unreadable=1), actions.Fetch(persist=False)),
        (a_slice(), Reason.UNREADABLE, replace(KNOWN, unreadable=2), actions.Probe()),
        (a_slice(), Reason.UNREADABLE, replace(SERVED, unreadable=2), "ByTime"),
        (a_slice(), Reason.UNREADABLE, replace(KNOWN, unreadable=3), "ByTime"),
        (a_slice(1), Reason.UNREADABLE, replace(KNOWN, unreadable=1), actions.Recount()),
        (a_slice(1), Reason.TRUNCATED, KNOWN, actions.Recount()),
        (a_slice(occupied=TICK), Reason.NOT_DISTINCT, KNOWN, "Isolate"),
        (a_slice(occupied=None), Reason.REFUSED, KNOWN, actions.ByTime(WINDOW, 15 * 10**7, 250)),
        (a_slice(2, occupied=None), Reason.TRUNCATED, KNOWN, actions.ByTime(WINDOW, 15 * 10**7, 1)),
        (a_slice(occupied=TICK, window=TICK), Reason.REFUSED, KNOWN, actions.ByHash(4)),
        (a_slice(occupied=TICK, bucket=Bucket(1, 4)), Reason.REFUSED, KNOWN, actions.Distinct()),
        (a_slice(occupied=TICK, bucket=Bucket(1, 4)), Reason.NOT_DISTINCT, KNOWN, actions.ByHash(64)),
        (a_slice(), Reason.BINS, replace(KNOWN, parts=PARTS), actions.Replace(PARTS)),
        (a_slice(3), Reason.BUCKETS, KNOWN.after_buckets(4, PARTS), actions.Replace(PARTS)),
        (a_slice(4), Reason.BUCKETS, KNOWN.after_buckets(4, PARTS), actions.Recount()),
        (a_slice(4), Reason.RECOUNTED, KNOWN.after_buckets(4, PARTS), actions.ByHash(4)),
    ],
)  # fmt: skip
def test_each_reason_has_its_decision(
    slice_: Slice, reason: Reason, evidence: Evidence, expected: actions.Action | str
) -> None:
    found = decided(slice_, reason, evidence)
    assert found == expected or type(found).__name__ == expected


def test_a_snapshot_is_cut_by_hash_alone() -> None:
    whole = Slice("T", None, Proof(3000, 0))
    assert decided(whole, Reason.NEW) == actions.ByHash(8)
    assert decided(whole, Reason.REFUSED) == actions.ByHash(8)


def test_a_dense_tick_endangers_only_its_own_partition() -> None:
    for rows in (1, 700):
        found = decided(a_slice(rows, occupied=TICK), Reason.REFUSED, COUNTED)
        assert isinstance(found, actions.Isolate)
        own, *rest = found.parts
        assert (own.window, own.expected.rows, own.occupied) == (Window(2 * HOUR, 3 * HOUR), rows, TICK)
        assert [part.window for part in rest] == [Window(HOUR, 2 * HOUR), Window(3 * HOUR, 4 * HOUR)]
        assert all(part.expected == Proof(0, 0) and part.occupied is None for part in rest)


def test_a_slice_is_given_up_only_if_no_smaller_query_is_possible() -> None:
    said = replace(COUNTED, refusal="the result is too large")
    one = decided(a_slice(1, occupied=TICK, window=TICK), Reason.REFUSED, said)
    assert isinstance(one, actions.GiveUp)
    assert one.blame is Blame.DENSE
    assert "(1 rows) cannot be cut further: the result is too large." in one.message
    alike = decided(a_slice(bucket=Bucket(5, split.MOST_BUCKETS)), Reason.NOT_DISTINCT)
    assert isinstance(alike, actions.GiveUp)
    assert alike.blame is Blame.DENSE


def test_a_slice_is_given_up_with_both_figures_if_its_count_and_its_rows_always_differ() -> None:
    steady = replace(received(499, 2), steady=split.STEADY_ROUNDS)
    given_up = decided(a_slice(window=ONE), Reason.RECOUNTED, steady)
    assert isinstance(given_up, actions.GiveUp)
    assert given_up.blame is Blame.UNREADABLE
    assert "the service counts 500 rows and sends 499 rows." in given_up.message
    other = decided(a_slice(window=ONE), Reason.RECOUNTED, replace(steady, received=Proof(500, 1)))
    assert isinstance(other, actions.GiveUp)
    assert "counts 500 rows and sends 500 rows with other times." in other.message


def test_a_disputed_slice_is_halved_until_it_lies_in_one_partition() -> None:
    steady = replace(received(499, 2), steady=split.STEADY_ROUNDS)
    assert decided(a_slice(), Reason.RECOUNTED, steady) == actions.Replace(halves(a_slice()))


def test_a_slice_whose_count_keeps_changing_is_cut_a_few_times() -> None:
    slice_, evidence = a_slice(window=ONE), received(499, split.ROUNDS)
    for _ in range(split.MOST_DISPUTES):
        assert isinstance(decided(slice_, Reason.RECOUNTED, evidence), actions.ByTime)
        replaced = decided(slice_, Reason.BINS, replace(evidence, parts=(a_slice(window=ONE),)))
        assert isinstance(replaced, actions.Replace)
        (slice_,) = replaced.parts
    given_up = decided(slice_, Reason.RECOUNTED, evidence)
    assert isinstance(given_up, actions.GiveUp)
    assert given_up.blame is Blame.UNREADABLE
    one = decided(a_slice(1, window=ONE), Reason.RECOUNTED, received(2, split.ROUNDS))
    assert isinstance(one, actions.GiveUp)


def test_a_cut_for_another_reason_keeps_the_number_of_disputes() -> None:
    disputed = replace(a_slice(window=ONE), disputes=2)
    replaced = decided(disputed, Reason.BINS, replace(KNOWN, parts=PARTS))
    assert isinstance(replaced, actions.Replace)
    assert [part.disputes for part in replaced.parts] == [2]


def test_buckets_that_never_add_up_are_given_up_with_both_figures() -> None:
    evidence = KNOWN
    for _ in range(split.ROUNDS - 1):
        evidence = evidence.after_buckets(4, PARTS)
        assert decided(a_slice(4), Reason.BUCKETS, evidence) == actions.Recount()
    unequal = decided(a_slice(4), Reason.BUCKETS, evidence.after_buckets(4, PARTS))
    assert isinstance(unequal, actions.GiveUp)
    assert unequal.blame is Blame.UNREADABLE
    assert "(4 rows): its hash buckets hold 3 rows." in unequal.message


def test_one_row_that_is_always_unreadable_is_given_up_alone() -> None:
    found = replace(
        COUNTED, steady=1, failed=Reason.UNREADABLE, refusal="no JSON after byte 70", unreadable=5
    )
    assert isinstance(decided(a_slice(1, occupied=TICK), Reason.RECOUNTED, found), actions.Isolate)
    given_up = decided(a_slice(1, occupied=TICK, window=TICK), Reason.RECOUNTED, found)
    assert isinstance(given_up, actions.GiveUp)
    assert given_up.blame is Blame.UNREADABLE
    assert "no JSON after byte 70" in given_up.message


def test_one_row_that_grew_to_many_is_fetched_or_cut_again() -> None:
    burst = replace(COUNTED, failed=Reason.TRUNCATED)
    assert decided(a_slice(900), Reason.RECOUNTED, burst) == actions.Fetch(persist=False)
    assert isinstance(decided(a_slice(9000), Reason.RECOUNTED, burst), actions.ByTime)


def test_a_table_whose_replies_are_all_unreadable_ends() -> None:
    many = replace(KNOWN, unreadable=split.MOST_UNREADABLE, refusal="no JSON")
    given_up = decided(a_slice(), Reason.UNREADABLE, many)
    assert isinstance(given_up, actions.GiveUp)
    assert given_up.blame is Blame.FAILED


@pytest.mark.parametrize("reason", list(Reason))
def test_a_slice_at_the_edge_is_cut_back_for_every_reason(reason: Reason) -> None:
    step = 600 * 10**7
    reached = replace(received(500), edge=HOUR + 1, parts=PARTS)
    rest = Window(HOUR + 1 + step, 4 * HOUR)
    cut = decided(a_slice(), reason, reached)
    assert cut == actions.Remainder(rest, plan.step_for(rest.ticks), plan.row_target(TEST, WIDTH))
    assert decided(a_slice(), reason, replace(reached, edge=4 * HOUR - step)) == actions.Replace(())
    assert not isinstance(decided(a_slice(), reason, replace(reached, edge=HOUR)), actions.Remainder)


SLICES = [
    replace(Slice("T", window, Proof(rows, 0), occupied, bucket))
    for window, occupied in ((WINDOW, WINDOW), (WINDOW, TICK), (WINDOW, None), (TICK, TICK), (None, None))
    for bucket in (None, Bucket(1, 4), Bucket(1, split.MOST_BUCKETS))
    for rows in (0, 1, 2, 999, 1000, 10**6)
]
EVIDENCE = [
    Evidence(
        *(width, 0, rounds),
        received=got,
        buckets=buckets,
        parts=parts,
        refusal="too much",
        recounts=recounts,
        steady=recounts,
        served=served,
        unreadable=1 + recounts,
    )
    for width, rounds, got, buckets, parts, recounts, served in product(
        (WIDTH, plan.Width(10.0**6, measured=True)),
        (0, 1, split.ROUNDS),
        (None, Proof(1, 0), Proof(1000, 0)),
        (0, 8),
        ((), PARTS),
        (0, 2),
        (True, False),
    )
]


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_and_evidence_has_a_sound_decision(reason: Reason) -> None:  # noqa: C901 # one case each
    """For any evidence, the decision fits the slice and makes progress."""
    for slice_, evidence in product(SLICES, EVIDENCE):
        rows, too_much = slice_.expected.rows, reason in {Reason.REFUSED, Reason.TRUNCATED}
        match decided(slice_, reason, evidence):
            case actions.Accept():
                assert evidence.received == slice_.expected
                assert reason in {Reason.ANSWERED, Reason.RECOUNTED}
            case actions.Fetch(persist):
                assert persist == (rows <= 1)
                assert not too_much
                assert reason in {Reason.NEW, Reason.UNREADABLE} or evidence.rounds < split.ROUNDS
            case actions.ByTime(window, step, target):
                assert slice_.bucket is None
                assert window == slice_.window
                assert 1 <= target <= (rows + 1) // 2
                assert step < (slice_.occupied or window).ticks
            case actions.ByHash(of):
                own = slice_.bucket.of if slice_.bucket else 1
                again = reason is Reason.RECOUNTED and evidence.buckets
                assert again or own < of <= split.MOST_BUCKETS
                assert again or of // own < TEST.rows, "one reply cannot count them"
            case actions.Distinct():
                assert slice_.bucket is not None
                assert rows > 1
            case actions.Isolate(parts):
                assert slice_.bucket is None
                assert parts[0].window
                assert slice_.occupied
                assert parts[0].window.start <= slice_.occupied.start < parts[0].window.end
                assert sum(part.window.ticks for part in parts if part.window) == WINDOW.ticks
            case actions.GiveUp(message, blame):
                assert message.startswith(str(slice_))
                alike = slice_.bucket is not None and slice_.bucket.of == split.MOST_BUCKETS
                assert blame is not Blame.DENSE or rows <= 1 or alike
            case actions.Recount():
                assert rows <= 1 or reason in {Reason.ANSWERED, Reason.BUCKETS}
            case actions.Replace():
                assert reason in {Reason.BUCKETS, Reason.BINS, Reason.RECOUNTED}
            case actions.Probe():
                assert reason in {Reason.UNANSWERED, Reason.UNREADABLE}
            case actions.Remainder():
                raise AssertionError("the edge is far")


def test_a_refused_slice_that_was_expected_to_be_large_teaches_a_wider_row() -> None:
    narrow = a_slice(400)  # 40 kB of 1 MB
    assert split.width_after_refusal(WIDTH, narrow, TEST) == WIDTH
    wide = split.width_after_refusal(plan.Width(2000.0), narrow, TEST)
    assert wide == plan.Width(2500.0, measured=True)
    assert split.width_after_refusal(WIDTH, a_slice(10**6), replace(TEST, reply_bytes=None)) == WIDTH


def test_a_histogram_that_is_too_large_is_halved_at_the_edge_of_a_bin() -> None:
    three = [Window(0, 10), Window(20, 30), Window(40, 50)]
    assert split.halves(three, 10) == (three[:1], three[1:])
    assert split.halves([Window(3, 38)], 10) == ([Window(3, 20)], [Window(20, 38)])
    assert split.halves([Window(3, 9)], 10) is None
    assert split.halves([Window(0, 10)], 10) is None
