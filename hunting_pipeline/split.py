"""How a slice is fetched exactly or cut into smaller slices: a state machine that only decides. Pure.

A slice is accepted when one reply holds exactly the rows that the service counts in the slice: the same
number of rows and the same checksum over their times. `next_cut` takes a slice, the reason for deciding now,
and the evidence so far. The answer is the next action. The caller (`pipeline.splitter`) executes the action
and calls `next_cut` again with what came of the action, until the answer is `Accept`, `Replace`, `Remainder`
or `GiveUp`.

    NEW ──────────────► Fetch, or a cut if no reply can be expected to carry the slice
    ANSWERED ─────────► Accept if the rows equal the count, else Recount
    RECOUNTED ────────► Accept if the rows equal the new count, else Fetch again; after four rounds a cut
    CUT_SHORT, REFUSED► a cut
    NOT_DISTINCT ─────► ByHash
    BINS ─────────────► Replace
    BUCKETS ──────────► Replace if the buckets add up to the count, else Recount; after four rounds GiveUp

A cut is the first of these that applies:

1. `ByTime`: the occupied range is longer than one tick. The bins of a histogram are packed into slices.
2. `Isolate`: one tick is too much, and the slice touches other partitions too. Only the partition of the tick
   stays with the tick.
3. `Distinct`: a hash bucket is too much, so its rows are probably alike. Each different row is fetched once,
   with the number of its occurrences.
4. `ByHash`: the rows are counted by a hash over all their values; each bucket becomes a slice.
5. `GiveUp`: one row is too much, or more rows than one reply carries have the same hash.

Why the cuts end: a slice of `ByTime` holds at most half of the rows, or its rows lie in one bin, which is
shorter than the occupied range before. `ByHash` doubles the number of buckets at least, and there are at most
`MOST_BUCKETS`. Why the cuts are exact: bins, partitions and buckets each tile what they cut, and each new
slice is proved by its own count. A wrong count therefore costs calls, never rows.

The retention edge moves while a run is going. A slice that the edge has reached is always replaced by
`Remainder`, the part that the service still holds: no count of the whole slice can be trusted any more.

Every refusal means that the slice is too much, whatever the evidence says. A refusal that means an outage is
to be judged here, by the reason and the evidence together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from hunting_pipeline import plan
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import SECOND, Grain, Proof, Slice, Window, subtract

__all__ = [
    "MOST_BUCKETS",
    "ROUNDS",
    "Accept",
    "ByHash",
    "ByTime",
    "Cut",
    "Distinct",
    "Evidence",
    "Fetch",
    "GiveUp",
    "Isolate",
    "Reason",
    "Recount",
    "Remainder",
    "Replace",
    "halves",
    "next_cut",
    "remainder",
    "width_after_refusal",
]

ROUNDS = 4
"""Times a slice is fetched, or its buckets are counted, while its count does not settle."""

MOST_BUCKETS = 65_536
"""Rows that are not separated by this many buckets are alike."""

_EDGE_STEP = 600 * SECOND
"""Ticks by which a slice is cut back from the retention edge: time to count the rest and to fetch it."""


class Reason(StrEnum):
    """Why the next action must be decided now."""

    NEW = "the slice has not been asked for"
    ANSWERED = "a reply brought rows"
    RECOUNTED = "the service has counted the slice again"
    CUT_SHORT = "the reply held as many rows as a reply can, so rows are missing"
    REFUSED = "the service did not answer, or answered that the slice is too much"
    NOT_DISTINCT = "the different rows could not be fetched, or do not add up to the count"
    BINS = "the rows of the slice were counted by time"
    BUCKETS = "the rows of the slice were counted by hash"


_TOO_MUCH = frozenset({Reason.CUT_SHORT, Reason.REFUSED})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known beside the slice itself.

    Attributes:
        width: the width of a row, learnt from every reply of the table.
        edge: the instant (ticks) before which the service may have forgotten rows.
        rounds: fetches so far, or counts by hash once `buckets` is set.
        received: rows and checksum of the last reply; None before the first.
        buckets: number of buckets that the slice was counted by; 0 before the first such count.
        parts: the smaller slices that the last count by time or by hash gave.
        said: the service's words about its last refusal.
    """

    width: plan.Width
    edge: int
    rounds: int = 0
    received: Proof | None = None
    buckets: int = 0
    parts: tuple[Slice, ...] = ()
    said: str = ""

    def after_reply(self, received: Proof) -> "Evidence":
        """Add what one more reply brought."""
        return replace(self, received=received, rounds=self.rounds + 1)

    def after_buckets(self, of: int, parts: tuple[Slice, ...]) -> "Evidence":
        """Add one more count by hash; the first of them begins new rounds."""
        return replace(self, buckets=of, parts=parts, rounds=self.rounds + 1 if self.buckets else 1)


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch the rows. With `persist`, a refusal is answered by asking again: nothing smaller can be asked."""

    persist: bool


@dataclass(frozen=True, slots=True)
class Recount:
    """Have the slice counted again; the next reason is `RECOUNTED`."""


@dataclass(frozen=True, slots=True)
class Accept:
    """The last reply is the slice, exactly."""


@dataclass(frozen=True, slots=True)
class ByTime:
    """Count `window` by bins of `step` ticks and pack the bins to `target` rows; next: `BINS`."""

    window: Window
    step: int
    target: int


@dataclass(frozen=True, slots=True)
class ByHash:
    """Count the slice by `of` hash buckets; next: `BUCKETS`."""

    of: int


@dataclass(frozen=True, slots=True)
class Distinct:
    """Fetch each different row once, with the number of its occurrences; next: `ANSWERED` if the rows equal
    the count, else `NOT_DISTINCT`."""


@dataclass(frozen=True, slots=True)
class Isolate:
    """Fetch `parts` in place of the slice: the dense tick's partition, then the others."""

    parts: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Replace:
    """Fetch `parts` in place of the slice; together they are the slice, or what the service still holds."""

    parts: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Remainder:
    """Count what the service still holds of the slice, as in `ByTime`; fetch that in place of the slice."""

    window: Window
    step: int
    target: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Raise: the slice is too dense to be fetched, or else the service contradicts itself."""

    message: str
    dense: bool


Cut = Fetch | Recount | Accept | ByTime | ByHash | Distinct | Isolate | Replace | Remainder | GiveUp


def next_cut(slice_: Slice, reason: Reason, evidence: Evidence, *, limits: Limits, grain: Grain) -> Cut:
    """Decide what to do next about a slice.

    Args:
        slice_: with the service's newest count.
        reason: what happened last.
        evidence: what is known so far.
        limits: what one reply can carry.
        grain: length of the table's partitions.
    """
    return (
        remainder(slice_, evidence, limits=limits)
        or _after_counting(slice_, reason, evidence)
        or _after_asking(slice_, reason, evidence, limits)
        or _smaller(slice_, reason, evidence, limits=limits, grain=grain)
    )


def remainder(slice_: Slice, evidence: Evidence, *, limits: Limits) -> Remainder | Replace | None:
    """Return what to do about a slice that the retention edge has reached; None where it has not."""
    window = slice_.window
    if window is None or window.start >= evidence.edge:
        return None
    start = evidence.edge + _EDGE_STEP
    if start >= window.end:
        return Replace(())
    rest = Window(start, window.end)
    return Remainder(rest, plan.step_for(rest.ticks), plan.row_target(limits, evidence.width))


def _after_counting(slice_: Slice, reason: Reason, evidence: Evidence) -> Cut | None:
    """Decide after a count by time or by hash, and after a recount between two counts by hash."""
    match reason:
        case Reason.BINS:
            return Replace(evidence.parts)
        case Reason.BUCKETS:
            return _after_buckets(slice_, evidence)
        case Reason.RECOUNTED if evidence.buckets:
            return ByHash(evidence.buckets)
    return None


def _after_buckets(slice_: Slice, evidence: Evidence) -> Replace | Recount | GiveUp:
    if sum(part.expected.rows for part in evidence.parts) == slice_.expected.rows:
        return Replace(evidence.parts)
    if evidence.rounds < ROUNDS:
        return Recount()
    return GiveUp(
        f"{slice_}: its hash buckets do not add up to its count. Nothing of it was kept. Run again",
        dense=False,
    )


def _after_asking(slice_: Slice, reason: Reason, evidence: Evidence, limits: Limits) -> Cut | None:
    """Decide whether to accept the last reply, or to ask for the slice; None if the slice must be cut."""
    answered = reason in {Reason.ANSWERED, Reason.RECOUNTED}
    if answered and evidence.received == slice_.expected:
        return Accept()
    if reason is Reason.ANSWERED:
        return Recount()
    again = reason is Reason.RECOUNTED and evidence.rounds < ROUNDS
    if again or (reason is Reason.NEW and plan.fits(slice_, limits, evidence.width)):
        return Fetch(persist=slice_.expected.rows <= 1)
    return None


def _smaller(slice_: Slice, reason: Reason, evidence: Evidence, *, limits: Limits, grain: Grain) -> Cut:
    """Choose the cut, see the list at the top."""
    if slice_.expected.rows <= 1:
        return _of_one_row(slice_, reason, evidence, grain)
    bucket, target = slice_.bucket, _target(slice_, evidence, limits)
    occupied = slice_.occupied or slice_.window
    if bucket is None and slice_.window and occupied and occupied.ticks > 1:
        return ByTime(slice_.window, plan.step_for(occupied.ticks), target)
    if bucket is None and (parts := _isolated(slice_, grain)):
        return Isolate(parts)
    if bucket is not None and reason is not Reason.NOT_DISTINCT:
        return Distinct()
    return _by_hash(slice_, target, limits)


def _of_one_row(slice_: Slice, reason: Reason, evidence: Evidence, grain: Grain) -> Isolate | GiveUp:
    if reason not in _TOO_MUCH:
        return GiveUp(
            f"{slice_} cannot be fetched: its count does not settle. Nothing of it was kept. Run again",
            dense=False,
        )
    if slice_.bucket is None and (parts := _isolated(slice_, grain)):
        return Isolate(parts)
    return GiveUp(f"{slice_} cannot be cut further: {evidence.said}. Its partition stays a gap", dense=True)


def _by_hash(slice_: Slice, target: int, limits: Limits) -> ByHash | GiveUp:
    """Choose the number of buckets: what is needed, but no more than one reply can count."""
    own = slice_.bucket.of if slice_.bucket else 1
    countable = own << max(1, (limits.rows - 1).bit_length() - 1)  # those of the slice stay below the row cap
    of = min(plan.buckets_needed(slice_, target), countable)
    if of > MOST_BUCKETS:
        return GiveUp(
            f"{slice_}: one reply cannot carry these rows, and no hash separates them."
            " Their partition stays a gap",
            dense=True,
        )
    return ByHash(of)


def _target(slice_: Slice, evidence: Evidence, limits: Limits) -> int:
    """Return the rows to cut to: what a reply carries, and at most half of the slice."""
    return max(1, min(plan.row_target(limits, evidence.width), (slice_.expected.rows + 1) // 2))


def _isolated(slice_: Slice, grain: Grain) -> tuple[Slice, ...]:
    """Split a dense tick's partition off from the other partitions that the slice touches.

    Only that partition is then at stake. Returns nothing where the slice touches no other.
    """
    if slice_.window is None or slice_.occupied is None:
        return ()
    start = slice_.occupied.start // grain.ticks * grain.ticks
    own = slice_.window.intersection(Window(start, start + grain.ticks))
    if own is None or own == slice_.window:
        return ()
    rest = [
        replace(slice_, window=part, expected=Proof(0, 0), occupied=None)
        for part in subtract(slice_.window, [own])
    ]
    return (replace(slice_, window=own), *rest)


def width_after_refusal(width: plan.Width, slice_: Slice, limits: Limits) -> plan.Width:
    """Return the width to assume after a slice was too much.

    A slice that was expected to fill more than half of the byte limit may have failed for its bytes.
    """
    rows, limit = slice_.expected.rows, limits.reply_bytes
    if limit is None or rows * width.bytes_per_row <= limit / 2:
        return width
    return width.after(rows, limit)


def halves(windows: Sequence[Window], step: int) -> tuple[Sequence[Window], Sequence[Window]] | None:
    """Split windows that are too much for one histogram, at a bin's edge; None if there is only one bin."""
    if len(windows) > 1:
        middle = len(windows) // 2
        return windows[:middle], windows[middle:]
    (window,) = windows
    edge = (window.start + window.ticks // 2) // step * step
    if not window.start < edge < window.end:
        return None
    return [Window(window.start, edge)], [Window(edge, window.end)]
