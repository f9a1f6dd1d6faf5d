"""The state machine that fetches a slice exactly or cuts it into smaller slices. Pure: it only decides.

A slice is accepted if one reply holds exactly the rows that the service counts in the slice: the same number
of rows and the same checksum over their times. `next_action` takes a slice, the reason for the decision and
the evidence so far. It returns the next action. The caller (`pipeline.splitter`) executes the action, and
calls `next_action` again with the result. The last action is `Accept`, `Replace`, `Isolate`, `Remainder` or
`GiveUp`.

    NEW ──────────────► Fetch, or a cut if one reply probably cannot carry the slice
    ANSWERED ─────────► Accept if the rows equal the count, else Recount
    RECOUNTED ────────► Accept if the rows equal the new count, else Fetch again; after four rounds, or two
                        rounds with the same count, the slice is *disputed*
    TRUNCATED, REFUSED► a cut
    UNANSWERED ───────► a cut if the service has just sent other rows of the table, else Probe
    UNREADABLE ───────► Fetch again, then Probe, then a cut
    PROBED ───────────► a cut: the service sends rows, so the slice is the cause
    NOT_DISTINCT ─────► ByHash
    BINS ─────────────► Replace
    BUCKETS ──────────► Replace if the buckets add up to the count, else Recount; after four rounds GiveUp

A slice is *too big* if its reply is truncated or the service refuses it. No answer is ambiguous: either the
slice is too big, or the service is down. `Probe` asks for one row of the table. During an outage the probe
fails too, and the caller raises an error; so an outage never cuts a slice.

A disputed slice over several partitions is replaced by two halves, so the dispute costs one partition. A
disputed slice within one partition is given up if its count stays the same. If its count changes, late rows
may be the cause, and the slice is cut by time, three times at most.

A cut is the first of these actions that applies:

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

"""

from collections.abc import Sequence
from dataclasses import replace

from hunting_pipeline import plan
from hunting_pipeline.actions import (
    Accept,
    Action,
    Blame,
    ByHash,
    ByTime,
    Distinct,
    Evidence,
    Fetch,
    GiveUp,
    Isolate,
    Probe,
    Reason,
    Recount,
    Remainder,
    Replace,
)
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import SECOND, Grain, Proof, Slice, Window, subtract

__all__ = [
    "MOST_BUCKETS",
    "ROUNDS",
    "halves",
    "next_action",
    "remainder",
    "width_after_refusal",
]

ROUNDS = 4
"""Most fetches of a slice, and most counts of its buckets, while its count keeps changing."""

STEADY_ROUNDS = 2
"""Most fetches of a slice while its count stays the same and its rows differ from the count."""

MOST_DISPUTES = 3
"""Most cuts of a slice, one inside the other, while its count keeps changing."""

MOST_UNREADABLE = 24
"""Most unreadable replies in a row. A cut to one unreadable row of 100,000 rows needs 17."""

MOST_BUCKETS = 65_536
"""Most hash buckets. Rows that still share a bucket are probably equal."""

_EDGE_STEP = 600 * SECOND
"""Ticks between the retention edge and the remainder of a slice: time to count and fetch the remainder."""


def next_action(slice_: Slice, reason: Reason, evidence: Evidence, *, limits: Limits, grain: Grain) -> Action:
    """Decide the next action for a slice.

    Args:
        slice_: the slice, with the service's newest count.
        reason: what happened last.
        evidence: the facts so far.
        limits: the limits of one reply.
        grain: length of the table's partitions.
    """
    if rest := remainder(slice_, evidence, limits=limits):
        return rest
    if reason is Reason.RECOUNTED and evidence.failed and evidence.steady:  # the count was right
        return _smaller(slice_, evidence.failed, evidence, limits=limits, grain=grain)
    return (
        _after_counting(slice_, reason, evidence)
        or _after_failure(slice_, reason, evidence)
        or _accept_or_fetch(slice_, reason, evidence, limits)
        or (_disputed(slice_, evidence, grain) if reason is Reason.RECOUNTED else None)
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
            disputes = slice_.disputes + (evidence.rounds >= ROUNDS)
            return Replace(tuple(replace(part, disputes=disputes) for part in evidence.parts))
        case Reason.BUCKETS:
            return _after_buckets(slice_, evidence)
        case Reason.RECOUNTED if evidence.buckets:
            return ByHash(evidence.buckets)
    return None


def _after_buckets(slice_: Slice, evidence: Evidence) -> Replace | Recount | GiveUp:
    if sum(part.expected.rows for part in evidence.parts) == slice_.expected.rows:
        return Replace(evidence.parts)
    if evidence.bucket_rounds < ROUNDS:
        return Recount()
    return GiveUp(
        f"{slice_}: its hash buckets hold {sum(part.expected.rows for part in evidence.parts)} rows."
        " Its partition is skipped. Run again",
        Blame.UNREADABLE,
    )


def _after_failure(slice_: Slice, reason: Reason, evidence: Evidence) -> Fetch | Probe | GiveUp | None:
    """Decide after a query without an answer or with an unreadable reply; None if the slice must be cut."""
    match reason:
        case Reason.UNANSWERED if not evidence.served:
            return Probe()
        case Reason.UNREADABLE if evidence.unreadable >= MOST_UNREADABLE:
            return GiveUp(
                f"{slice_}: the last {evidence.unreadable} replies were unreadable: {evidence.refusal}."
                " Finished work is kept. Run again",
                Blame.FAILED,
            )
        case Reason.UNREADABLE if slice_.expected.rows > 1 and evidence.unreadable == 1:
            return Fetch(persist=False)
        case Reason.UNREADABLE if evidence.unreadable == 2 and not evidence.served:
            return Probe()
    return None


def _accept_or_fetch(slice_: Slice, reason: Reason, evidence: Evidence, limits: Limits) -> Action | None:
    """Decide whether to accept the last reply or to fetch the slice; None if the slice must be cut."""
    answered = reason in {Reason.ANSWERED, Reason.RECOUNTED}
    if answered and evidence.received == slice_.expected:
        return Accept()
    if reason is Reason.ANSWERED:
        return Recount()
    again = reason is Reason.RECOUNTED and evidence.rounds < ROUNDS and evidence.steady < STEADY_ROUNDS
    if (again or reason is Reason.NEW) and plan.fits(slice_, limits, evidence.width):
        return Fetch(persist=slice_.expected.rows <= 1)
    return None


def _disputed(slice_: Slice, evidence: Evidence, grain: Grain) -> Replace | GiveUp | None:
    """Decide about a slice whose count and rows differ again and again; None if it must be cut by time."""
    if evidence.rounds < ROUNDS and evidence.steady < STEADY_ROUNDS:
        return None
    if parts := _halved(slice_, grain):
        return Replace(parts)
    changing = evidence.steady < STEADY_ROUNDS
    if changing and slice_.expected.rows > 1 and slice_.disputes < MOST_DISPUTES:
        return None
    sent = evidence.received.rows if evidence.received else 0
    other = " with other times" if sent == slice_.expected.rows else ""
    return GiveUp(
        f"{slice_}: the service counts {slice_.expected.rows} rows and sends {sent} rows{other}."
        " Its partition is skipped. Run again",
        Blame.UNREADABLE,
    )


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
    return _by_hash(slice_, reason, target, limits)


def _of_one_row(
    slice_: Slice, reason: Reason, evidence: Evidence, grain: Grain
) -> Recount | Isolate | GiveUp:
    """Count the slice again, because late rows may have made it too big. Then isolate it or give it up."""
    if not evidence.recounts:
        return Recount()
    if slice_.bucket is None and (parts := _isolated(slice_, grain)):
        return Isolate(parts)
    return GiveUp(
        f"{slice_} cannot be cut further: {evidence.refusal}. Its partition is skipped", _blame(reason)
    )


def _blame(reason: Reason) -> Blame:
    return Blame.UNREADABLE if reason is Reason.UNREADABLE else Blame.DENSE


def _by_hash(slice_: Slice, reason: Reason, target: int, limits: Limits) -> ByHash | GiveUp:
    """Choose the number of buckets: as many as needed, but at most as many as one reply can count."""
    own = slice_.bucket.of if slice_.bucket else 1
    countable = own << max(1, (limits.rows - 1).bit_length() - 1)  # one row per bucket, below the row limit
    of = min(plan.buckets_needed(slice_, target), countable, MOST_BUCKETS)
    if of <= own:
        return GiveUp(
            f"{slice_}: these rows do not fit one reply, and hash buckets cannot separate them."
            " Their partition is skipped",
            _blame(reason),
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


def _halved(slice_: Slice, grain: Grain) -> tuple[Slice, ...]:
    """Split a slice in two at the edge of a partition. Returns no parts if it overlaps one partition only."""
    if slice_.window is None or slice_.bucket is not None:
        return ()
    first, last = slice_.window.start // grain.ticks, (slice_.window.end - 1) // grain.ticks
    if first == last:
        return ()
    middle = (first + last + 1) // 2 * grain.ticks
    windows = Window(slice_.window.start, middle), Window(middle, slice_.window.end)
    return tuple(replace(slice_, window=part, expected=Proof(0, 0), occupied=None) for part in windows)


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
