"""The splitter reads a random service: every row comes once, and the number of calls is bounded."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from random import Random
from zlib import crc32

from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from hunting_pipeline import actions, plan, split
from hunting_pipeline.actions import Blame, Evidence, Reason
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import HOUR, Bin, Grain, Histogram, Proof, Slice, Window
from hunting_pipeline.split import next_action

ATTEMPTS = 5
"""Attempts of a query that cannot be smaller."""

WINDOW = Window(10 * HOUR, 13 * HOUR)

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""The phases of hypothesis without shrinking, which takes minutes. A failing case is small enough to read."""


@dataclass(frozen=True, order=True)
class Row:
    """A row. Rows with the same values are identical."""

    tick: int
    value: int
    width: int

    def bucket(self, of: int) -> int:
        return crc32(f"{self.tick} {self.value} {self.width}".encode()) % of


class TooMuch(Exception):
    """The service refuses, or cuts the reply short."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Service:
    """A service with a row limit, a byte limit, random refusals, late rows and a moving retention limit.

    Attributes:
        rows: the current rows.
        limits: the limits of a reply.
        refused: numbers of the calls that are refused at random.
        late: rows that arrive before a call, by the number of the call.
        edge: instants before which rows are forgotten, by the number of the first call after the change.
    """

    rows: list[Row]
    limits: Limits
    refused: frozenset[int] = frozenset()
    late: dict[int, Row] = field(default_factory=dict)
    edge: dict[int, int] = field(default_factory=dict)
    calls: int = 0
    forgotten_before: int = 0
    arrived: list[Row] = field(default_factory=list)
    by_chance: int = 0

    def of(self, slice_: Slice) -> list[Row]:
        """Return the current rows of a slice."""
        window, bucket = slice_.window, slice_.bucket
        return [
            row
            for row in self.rows
            if (window is None or window.start <= row.tick < window.end)
            and (bucket is None or row.bucket(bucket.of) == bucket.index)
        ]

    def _call(self, *, whole: bool = False) -> None:
        """Count one call and apply its events. A query that cannot be smaller is never refused."""
        self.calls += 1
        assert self.calls < 5_000, "the calls do not end"
        if row := self.late.pop(self.calls, None):
            self.rows.append(row)
            self.arrived.append(row)
        self.forgotten_before = max(self.forgotten_before, self.edge.get(self.calls, 0))
        self.rows = [row for row in self.rows if row.tick >= self.forgotten_before]
        if self.calls in self.refused and not whole:
            self.by_chance += 1
            raise TooMuch(Reason.REFUSED)

    def _short_enough(self, rows: int) -> None:
        if rows >= self.limits.rows:
            raise TooMuch(Reason.TRUNCATED)

    def _carried(self, rows: list[Row]) -> None:
        self._short_enough(len(rows))
        if self.limits.reply_bytes and sum(row.width for row in rows) > self.limits.reply_bytes:
            raise TooMuch(Reason.REFUSED)

    def fetch(self, slice_: Slice, *, persist: bool) -> list[Row]:
        for attempt in range(1, ATTEMPTS + 1 if persist else 2):
            try:
                self._call()
                self._carried(self.of(slice_))
                return self.of(slice_)
            except TooMuch:
                if attempt == (ATTEMPTS if persist else 1):
                    raise
        raise AssertionError

    def distinct(self, slice_: Slice) -> list[Row]:
        self._call()
        rows = self.of(slice_)
        self._carried(sorted(set(rows)))
        return rows

    def count(self, slice_: Slice) -> Proof:
        self._call(whole=True)
        return proof_of(self.of(slice_))

    def buckets(self, slice_: Slice, of: int) -> list[Proof]:
        self._call(whole=True)
        proofs = [Proof(0, 0)] * of
        for row in self.of(slice_):
            proofs[row.bucket(of)] += proof_of([row])
        assert sum(1 for proof in proofs if proof.rows) < self.limits.rows, "one reply cannot count them"
        return proofs

    def histograms(self, windows: list[Window], step: int) -> list[Histogram]:
        try:
            self._call()
            counted: dict[Window, Proof] = {}
            for window in windows:
                for row in self.of(Slice("T", window, Proof(0, 0))):
                    start = row.tick // step * step
                    own = Window(start, start + step).intersection(window)
                    assert own
                    counted[own] = counted.get(own, Proof(0, 0)) + proof_of([row])
            self._short_enough(len(counted))
        except TooMuch:
            halves = split.halves(windows, step)
            if halves is None:  # a single bin is queried again
                return self.histograms(windows, step)
            return [found for half in halves for found in self.histograms(list(half), step)]
        return [Histogram(tuple(windows), step, tuple(Bin(w, counted[w]) for w in sorted(counted)))]


def proof_of(rows: list[Row]) -> Proof:
    return Proof(len(rows), sum(row.tick % 1_000_000_007 for row in rows))


@dataclass
class Reader:
    """A reader that executes decisions on the random service, as the pipeline does."""

    service: Service
    width: plan.Width
    accepted: list[tuple[Slice, list[Row]]] = field(default_factory=list)
    given_up: list[tuple[Slice, actions.GiveUp, list[Row]]] = field(default_factory=list)
    decisions: Counter[str] = field(default_factory=Counter)

    def read(self, window: Window | None) -> None:
        whole = Slice("T", window, Proof(0, 0))
        queue = (
            [whole.recounted(self.service.count(whole))]
            if window is None
            else list(self.packed(window, plan.step_for(window.ticks), None))
        )
        while queue:
            queue[:0] = self.one(queue.pop(0))

    def packed(self, window: Window, step: int, target: int | None) -> Iterator[Slice]:
        wanted = target or plan.row_target(self.service.limits, self.width)
        histograms = self.service.histograms([window], step)
        yield from plan.pack_all(histograms, target=lambda: wanted, table="T")

    def one(self, slice_: Slice) -> tuple[Slice, ...]:  # noqa: C901, PLR0912 # one case each
        service, reason, rows = self.service, Reason.NEW, []
        evidence = Evidence(self.width, service.forgotten_before)
        while True:
            evidence = replace(evidence, width=self.width, edge=service.forgotten_before)
            cut = next_action(slice_, reason, evidence, limits=service.limits, grain=Grain.HOUR)
            self.decisions[f"{reason.name} → {type(cut).__name__}"] += 1
            match cut:
                case actions.Accept():
                    self.accepted.append((slice_, rows))
                    return ()
                case actions.Replace(parts) | actions.Isolate(parts):
                    return parts
                case actions.Remainder(window, step, target):
                    return tuple(self.packed(window, step, target))
                case actions.GiveUp():
                    self.given_up.append((slice_, cut, service.of(slice_)))
                    return ()
                case actions.Fetch(persist):
                    try:
                        rows = service.fetch(slice_, persist=persist)
                    except TooMuch as error:
                        reason = error.reason
                        self.width = split.width_after_refusal(self.width, slice_, service.limits)
                        evidence = evidence.after_failure(reason, str(reason), served=False, unreadable=0)
                        continue
                    reason, evidence = Reason.ANSWERED, evidence.after_reply(proof_of(rows))
                    self.width = self.width.after(len(rows), sum(row.width for row in rows))
                case actions.Recount():
                    counted = service.count(slice_)
                    evidence = evidence.after_recount(same=counted == slice_.expected)
                    reason, slice_ = Reason.RECOUNTED, slice_.recounted(counted)
                case actions.Probe():
                    raise AssertionError("every call of this service is answered")
                case actions.Distinct():
                    try:
                        rows = service.distinct(slice_)
                    except TooMuch:
                        reason = Reason.NOT_DISTINCT
                        continue
                    equal = proof_of(rows) == slice_.expected
                    reason = Reason.ANSWERED if equal else Reason.NOT_DISTINCT
                    evidence = evidence.after_reply(proof_of(rows)) if equal else evidence
                case actions.ByTime(window, step, target):
                    parts = tuple(self.packed(window, step, target))
                    reason, evidence = Reason.BINS, replace(evidence, parts=parts)
                case actions.ByHash(of):
                    parts = plan.bucket_slices(slice_, service.buckets(slice_, of))
                    reason, evidence = Reason.BUCKETS, evidence.after_buckets(of, parts)


@st.composite
def rows_drawn(draw: st.DrawFn, window: Window = WINDOW) -> list[Row]:
    """Draw groups of rows: spread, on one tick or at a partition's edge, identical or not, wide or not."""
    chance, rows = Random(draw(st.integers(0, 2**32))), []
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["spread", "near", "tick", "alike", "edge"]))
        width = draw(st.sampled_from([1, 10, 60, 101]))
        start = chance.randrange(window.start, window.end - 100)
        for number in range(draw(st.sampled_from([1, 2, 7, 40]))):
            tick = {
                "spread": chance.randrange(window.start, window.end),
                "near": start + chance.randrange(100),
                "edge": chance.choice([window.start, 11 * HOUR - 1, 11 * HOUR, window.end - 1]),
            }.get(kind, start)
            rows.append(Row(tick, 0 if kind == "alike" else number, width))
    return rows


def limits(rows: int, reply_bytes: int | None) -> Limits:
    return Limits("drawn", "", (), rows, reply_bytes, 1)


drawn_limits = st.builds(limits, st.sampled_from([4, 5, 9, 30]), st.sampled_from([None, 100, 400]))
numbers = st.frozensets(st.integers(1, 60), max_size=12)
widths = st.builds(plan.Width, st.sampled_from([1.0, 50.0, 1000.0]))


def tiled(slices: list[Slice], window: Window | None) -> None:
    """Assert that the slices cover each instant, and each hash of an instant, exactly once."""
    cuts = sorted({edge for s in slices if s.window for edge in (s.window.start, s.window.end)})
    if window is not None:
        assert cuts[0] == window.start
        assert cuts[-1] == window.end
    covered: dict[int, list[Slice]] = {}
    for slice_ in slices:
        first = bisect_left(cuts, slice_.window.start) if slice_.window else 0
        last = bisect_left(cuts, slice_.window.end) if slice_.window else 1
        for number in range(first, last):
            covered.setdefault(number, []).append(slice_)
    assert set(covered) == set(range(max(1, len(cuts) - 1))), "a gap"
    for mine in covered.values():
        assert len({(s.bucket.index, s.bucket.of) if s.bucket else None for s in mine}) == len(mine)
        if any(slice_.bucket is None for slice_ in mine):
            assert len(mine) == 1, "an overlap"


def assert_given_up_for_a_reason(reader: Reader) -> None:
    """Assert that a slice is given up only for identical rows that fit in no reply, or after random refusals.

    If rows arrive late, a slice of one row may have grown since its count.
    """
    late = set(reader.service.arrived)
    for slice_, cut, rows in reader.given_up:
        limit = reader.service.limits.reply_bytes
        different = {*rows} - late
        too_much = len(different) >= reader.service.limits.rows or (
            limit is not None and sum(row.width for row in different) > limit
        )
        if cut.blame is not Blame.DENSE:
            assert len(late) >= split.STEADY_ROUNDS - 1, cut.message
            continue
        assert len({row.bucket(split.MOST_BUCKETS) for row in different}) <= 1, f"{slice_}: its rows differ"
        assert too_much or reader.service.by_chance or late, cut.message


@settings(max_examples=300, deadline=None, phases=PHASES)
@given(rows_drawn(), drawn_limits, numbers, widths, st.booleans())
def test_every_row_comes_once_for_any_refused_calls(
    rows: list[Row], limits: Limits, refused: frozenset[int], width: plan.Width, snapshot: bool
) -> None:
    service = Service(list(rows), limits, refused)
    reader = Reader(service, width)
    window = None if snapshot else WINDOW
    reader.read(window)
    for decision in reader.decisions:
        event(decision)
    taken = Counter(row for _, found in reader.accepted for row in found)
    lost = Counter(row for _, _, found in reader.given_up for row in found)
    assert taken + lost == Counter(rows)
    if not any(s.bucket for s, _ in reader.accepted) and not reader.given_up:
        tiled([slice_ for slice_, _ in reader.accepted], window)
    assert_given_up_for_a_reason(reader)
    assert service.calls <= 40 + 12 * len(rows) + 8 * len(refused) + ATTEMPTS * len(reader.given_up)


@settings(max_examples=150, deadline=None, phases=PHASES)
@given(rows_drawn(), drawn_limits, st.dictionaries(st.integers(1, 40), rows_drawn(), max_size=20), widths)
def test_rows_that_arrive_during_a_pull_cost_calls_but_lose_no_row(
    rows: list[Row], limits: Limits, late: dict[int, list[Row]], width: plan.Width
) -> None:
    """Every row of the start comes once. A late row comes once, or arrives after its slice."""
    arriving = {call: some[0] for call, some in late.items() if some}
    service = Service(list(rows), limits, late=arriving)
    reader = Reader(service, width)
    reader.read(WINDOW)
    for decision in reader.decisions:
        event(decision)
    for slice_, found in reader.accepted:
        assert proof_of(found) == slice_.expected
    taken = Counter(row for _, found in reader.accepted for row in found)
    lost = Counter(row for _, _, found in reader.given_up for row in found)
    assert not taken + lost - Counter(service.rows), "a row came twice"
    assert not Counter(rows) - taken - lost, "a row was left out"
    assert_given_up_for_a_reason(reader)


@settings(max_examples=150, deadline=None, phases=PHASES)
@given(st.data(), drawn_limits, numbers, widths)
def test_every_row_that_is_still_available_comes_once_while_the_edge_moves(
    data: st.DataObject, limits: Limits, refused: frozenset[int], width: plan.Width
) -> None:
    """Each row has its own tick. So no bucket is partly forgotten."""
    ticks = data.draw(st.sets(st.integers(WINDOW.start, WINDOW.end - 1), max_size=60))
    moves = data.draw(
        st.dictionaries(st.integers(1, 30), st.integers(WINDOW.start, WINDOW.end + HOUR), max_size=3)
    )
    rows = [Row(tick, 0, 1) for tick in sorted(ticks)]
    service = Service(list(rows), limits, refused, edge=moves)
    reader = Reader(service, width)
    reader.read(WINDOW)
    for decision in reader.decisions:
        event(decision)
    assert not reader.given_up or service.by_chance >= ATTEMPTS
    taken = Counter(row for _, found in reader.accepted for row in found)
    lost = Counter(row for _, _, found in reader.given_up for row in found)
    assert not taken - Counter(rows), "a row came twice"
    kept_from = service.forgotten_before + 600 * 10**7
    assert not Counter(r for r in rows if r.tick >= kept_from) - taken - lost, "a row was left out"
    starts = sorted((s.window.start, s.window.end) for s, _ in reader.accepted if s.window and not s.bucket)
    assert all(one[1] <= other[0] for one, other in pairwise(starts)), "an overlap"
