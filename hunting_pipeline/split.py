"""The state machine that fetches a slice exactly or cuts it into smaller slices. Pure: it only decides.

A slice is accepted if one reply holds exactly the rows that the service counts in the slice: the same number
of rows and the same checksum over their times. `next_action` takes a slice, the reason for the decision and
the evidence so far. It returns the next action. The caller (`pipeline.splitter`) executes the action, and
calls `next_action` again with the result. The last action is `Accept`, `Replace`, `Isolate`, `Remainder` or
`GiveUp`.

    NEW ──────────────► Fetch, or a cut if one reply probably cannot carry the slice
    ANSWERED ─────────► Accept if the rows equal the count, else Recount
    RECOUNTED ────────► Accept if the rows equal the new count, else Fetch again; after four rounds a cut
    TRUNCATED, REFUSED► a cut
    NOT_DISTINCT ─────► ByHash
    BINS ─────────────► Replace
    BUCKETS ──────────► Replace if the buckets add up to the count, else Recount; after four rounds GiveUp

A slice is *too big* if its reply is truncated or the service refuses it. A cut is the first of these actions
that applies:

1. `ByTime`: the occupied range is longer than one tick. The bins of a histogram are packed into slices.
2. `Isolate`: one tick is too big, and the slice overlaps other partitions too. The partition of the tick
   becomes a slice. The rest of the window becomes other slices.
3. `Distinct`: a hash bucket is too big, so its rows are probably equal. Each distinct row is fetched once,
   with the number of its occurrences.
4. `ByHash`: the rows are counted by a hash over all their values. Each bucket becomes a slice.
5. `GiveUp`: one row is too big, or too many rows for one reply have the same hash.

The cuts end. A slice of `ByTime` holds at most half of the rows, or its rows lie in one bin, which is shorter
than the occupied range before. `ByHash` at least doubles the number of buckets, up to `MOST_BUCKETS`.

The cuts are exact. Bins, partitions and buckets each cover the slice that they cut, without overlap. Each new
slice is proved by its own count. A wrong count therefore costs calls, never rows.

The retention edge moves during a run. Once the edge has reached a slice, no count of the whole slice is
reliable. The slice is always replaced by `Remainder`, the part that the service still holds.

The machine treats every refusal as a slice that is too big. Code that recognizes an outage belongs here: it
needs the reason and the evidence together.
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
    "Action",
    "ByHash",
    "ByTime",
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
    "next_action",
    "remainder",
    "width_after_refusal",
]

ROUNDS = 4
"""Most fetches of a slice, and most counts of its buckets, while its count keeps changing."""

MOST_BUCKETS = 65_536
"""Most hash buckets. Rows that still share a bucket are probably equal."""

_EDGE_STEP = 600 * SECOND
"""Ticks between the retention edge and the remainder of a slice: time to count and fetch the remainder."""


class Reason(StrEnum):
    """The reason for the next decision."""

    NEW = "the slice has not been requested"
    ANSWERED = "a reply brought rows"
    RECOUNTED = "the service has counted the slice again"
    TRUNCATED = "the reply held as many rows as a reply can, so rows are missing"
    REFUSED = "the service did not answer, or answered that the slice is too big"
    NOT_DISTINCT = "the distinct rows could not be fetched, or do not add up to the count"
    BINS = "the rows of the slice were counted by time"
    BUCKETS = "the rows of the slice were counted by hash"


_TOO_BIG = frozenset({Reason.TRUNCATED, Reason.REFUSED})


@dataclass(frozen=True, slots=True)
class Evidence:
    """The facts about a slice so far.

    Attributes:
        width: the width of a row, measured in every reply of the table.
        edge: the retention edge (ticks): the service may have deleted rows before this instant.
        rounds: number of fetches; once `buckets` is set, number of counts by hash.
        received: row count and checksum of the last reply; None before the first reply.
        buckets: number of buckets in the last count by hash; 0 before the first such count.
        parts: the smaller slices that result from the last count by time or by hash.
        refusal: the service's words about its last refusal.
    """

    width: plan.Width
    edge: int
    rounds: int = 0
    received: Proof | None = None
    buckets: int = 0
    parts: tuple[Slice, ...] = ()
    refusal: str = ""

    def after_reply(self, received: Proof) -> "Evidence":
        """Add the row count and checksum of one more reply."""
        return replace(self, received=received, rounds=self.rounds + 1)

    def after_buckets(self, of: int, parts: tuple[Slice, ...]) -> "Evidence":
        """Add one more count by hash. The first count by hash sets `rounds` to 1."""
        return replace(self, buckets=of, parts=parts, rounds=self.rounds + 1 if self.buckets else 1)


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch the rows. With `persist`, send the query again after a refusal: the slice cannot be smaller."""

    persist: bool


@dataclass(frozen=True, slots=True)
class Recount:
    """Count the slice again. The next reason is `RECOUNTED`."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Accept the last reply: it holds exactly the rows of the slice."""


@dataclass(frozen=True, slots=True)
class ByTime:
    """Count `window` in bins of `step` ticks, and pack the bins to `target` rows.

    The next reason is `BINS`.
    """

    window: Window
    step: int
    target: int


@dataclass(frozen=True, slots=True)
class ByHash:
    """Count the slice in `of` hash buckets. The next reason is `BUCKETS`."""

    of: int


@dataclass(frozen=True, slots=True)
class Distinct:
    """Fetch each distinct row once, with the number of its occurrences.

    The next reason is `ANSWERED` if the rows equal the count, else `NOT_DISTINCT`.
    """


@dataclass(frozen=True, slots=True)
class Isolate:
    """Fetch `parts` instead of the slice: first the partition of the dense tick, then the rest."""

    parts: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Replace:
    """Fetch `parts` instead of the slice. Together they hold all rows of it that the service still holds."""

    parts: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Remainder:
    """Count `window` as in `ByTime`, and fetch its parts instead of the slice.

    `window` is the part of the slice that the service still holds.
    """

    window: Window
    step: int
    target: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Raise an error: with `dense`, the slice cannot be cut further; otherwise, its counts keep changing."""

    message: str
    dense: bool


Action = Fetch | Recount | Accept | ByTime | ByHash | Distinct | Isolate | Replace | Remainder | GiveUp


def next_action(slice_: Slice, reason: Reason, evidence: Evidence, *, limits: Limits, grain: Grain) -> Action:
    """Decide the next action for a slice.

    Args:
        slice_: the slice, with the service's newest count.
        reason: what happened last.
        evidence: the facts so far.
        limits: the limits of one reply.
        grain: length of the table's partitions.
    """
    return (
        remainder(slice_, evidence, limits=limits)
        or _after_counting(slice_, reason, evidence)
        or _accept_or_fetch(slice_, reason, evidence, limits)
        or _smaller(slice_, reason, evidence, limits=limits, grain=grain)
    )


def remainder(slice_: Slice, evidence: Evidence, *, limits: Limits) -> Remainder | Replace | None:
    """Return the action for a slice that the retention edge has reached; None for any other slice."""
    window = slice_.window
    if window is None or window.start >= evidence.edge:
        return None
    start = evidence.edge + _EDGE_STEP
    if start >= window.end:
        return Replace(())
    rest = Window(start, window.end)
    return Remainder(rest, plan.step_for(rest.ticks), plan.row_target(limits, evidence.width))


def _after_counting(slice_: Slice, reason: Reason, evidence: Evidence) -> Action | None:
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
        f"{slice_}: the rows of its hash buckets do not add up to its count. None of its rows were kept."
        " Run again",
        dense=False,
    )


def _accept_or_fetch(slice_: Slice, reason: Reason, evidence: Evidence, limits: Limits) -> Action | None:
    """Decide whether to accept the last reply or to fetch the slice; None if the slice must be cut."""
    answered = reason in {Reason.ANSWERED, Reason.RECOUNTED}
    if answered and evidence.received == slice_.expected:
        return Accept()
    if reason is Reason.ANSWERED:
        return Recount()
    again = reason is Reason.RECOUNTED and evidence.rounds < ROUNDS
    if again or (reason is Reason.NEW and plan.fits(slice_, limits, evidence.width)):
        return Fetch(persist=slice_.expected.rows <= 1)
    return None


def _smaller(slice_: Slice, reason: Reason, evidence: Evidence, *, limits: Limits, grain: Grain) -> Action:
    """Choose the cut, see the list in the module's docstring."""
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
    if reason not in _TOO_BIG:
        return GiveUp(
            f"{slice_} cannot be fetched: its count keeps changing. None of its rows were kept. Run again",
            dense=False,
        )
    if slice_.bucket is None and (parts := _isolated(slice_, grain)):
        return Isolate(parts)
    return GiveUp(
        f"{slice_} cannot be cut further: {evidence.refusal}. Its partition is skipped",
        dense=True,
    )


def _by_hash(slice_: Slice, target: int, limits: Limits) -> ByHash | GiveUp:
    """Choose the number of buckets: as many as needed, but at most as many as one reply can count."""
    own = slice_.bucket.of if slice_.bucket else 1
    countable = own << max(1, (limits.rows - 1).bit_length() - 1)  # one row per bucket, below the row limit
    of = min(plan.buckets_needed(slice_, target), countable)
    if of > MOST_BUCKETS:
        return GiveUp(
            f"{slice_}: these rows do not fit one reply, and hash buckets cannot separate them."
            " Their partition is skipped",
            dense=True,
        )
    return ByHash(of)


def _target(slice_: Slice, evidence: Evidence, limits: Limits) -> int:
    """Return the target number of rows of each part: what one reply carries, at most half of the slice."""
    return max(1, min(plan.row_target(limits, evidence.width), (slice_.expected.rows + 1) // 2))


def _isolated(slice_: Slice, grain: Grain) -> tuple[Slice, ...]:
    """Split a slice into the partition of its dense tick and the rest of its window.

    A failure then affects only this partition. Returns no parts if the slice overlaps one partition only.
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
    """Return the width to assume after a slice was too big.

    If the slice was expected to fill more than half of the byte limit, its bytes may be the cause.
    """
    rows, limit = slice_.expected.rows, limits.reply_bytes
    if limit is None or rows * width.bytes_per_row <= limit / 2:
        return width
    return width.after(rows, limit)


def halves(windows: Sequence[Window], step: int) -> tuple[Sequence[Window], Sequence[Window]] | None:
    """Split windows that are too big for one histogram, at a bin's edge; None if there is only one bin."""
    if len(windows) > 1:
        middle = len(windows) // 2
        return windows[:middle], windows[middle:]
    (window,) = windows
    edge = (window.start + window.ticks // 2) // step * step
    if not window.start < edge < window.end:
        return None
    return [Window(window.start, edge)], [Window(edge, window.end)]
