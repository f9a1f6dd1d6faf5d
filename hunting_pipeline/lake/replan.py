"""The new plan of a commit whose archive another run has changed: the staged segments that it still needs.

The archive now has segments that the plan did not have. If they overlap a staged span, the newer fetch wins:

* The staged rows are newer than all of them: the span stays staged, and its rows replace the archived rows.
* Otherwise, if the new segments cover the whole span, the archived rows stay and the span is dropped.
* Otherwise, the commit is refused. The next run fetches what is missing then.
"""

from collections.abc import Sequence

from hunting_pipeline.lake.manifest import Manifest, Segment
from hunting_pipeline.lake.stores import Conflict
from hunting_pipeline.model import Staged, TableSpec, Window, merge_windows

__all__ = ["still_needed"]


def still_needed(
    staged: Sequence[Staged], spec: TableSpec, *, planned: Manifest | None, present: Manifest | None
) -> tuple[Staged, ...]:
    """Return the staged segments that are still to be committed.

    Args:
        staged: the staged segments of one partition.
        spec: the table.
        planned: the manifest for which the commit was planned.
        present: the manifest now.

    Raises:
        Conflict: the other run used another query, or covers a part of a staged span only.
    """
    if present is None:
        return tuple(staged)
    if present.query_hash != spec.query_hash:
        raise Conflict(
            f"{present.partition}: another run archived the partition by another query in the meantime."
            " Its rows stay. Run again"
        )
    changed = [segment for segment in present.segments if not _is_planned(segment, planned)]
    return tuple(segment for segment in staged if _is_needed(segment, staged, changed))


def _is_planned(segment: Segment, planned: Manifest | None) -> bool:
    """Return whether the rows were in the planned archive: its segment may have been cut since."""
    return planned is not None and any(
        (old.query, old.fetched_at) == (segment.query, segment.fetched_at) and _contains([old], segment.span)
        for old in planned.segments
    )


def _is_needed(segment: Staged, staged: Sequence[Staged], changed: Sequence[Segment]) -> bool:
    others = [other for other in changed if _overlap(other.span, segment.span)]
    # the buckets of one span are needed or dropped together
    fetched_at = min(bucket.fetched_at for bucket in staged if bucket.span == segment.span)
    if all(other.fetched_at < fetched_at for other in others):
        return True
    if _contains(others, segment.span):
        return False
    raise Conflict(
        f"{segment.partition}: another run archived a part of {segment.span} in the meantime. Its rows stay."
        " Run again"
    )


def _overlap(one: Window | None, other: Window | None) -> bool:
    """Return whether two spans overlap. A snapshot has no span and overlaps everything."""
    return one is None or other is None or one.intersection(other) is not None


def _contains(segments: Sequence[Segment], span: Window | None) -> bool:
    spans = [segment.span for segment in segments if segment.span is not None]
    if span is None or len(spans) < len(segments):
        return True
    return any(window.contains(span) for window in merge_windows(spans))
