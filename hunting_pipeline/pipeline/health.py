"""Findings about an archive: its freshness, changes of its schema, gaps near the retention edge, differences.

Every function takes values and returns a finding with a summary for people. No function sends a request.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.model import DAY, HOUR, Partition, TableSpec, Window, iso_of
from hunting_pipeline.pipeline.recount import Recount
from hunting_pipeline.window import Backlog

__all__ = [
    "Difference",
    "Drift",
    "Freshness",
    "LastChance",
    "deadline",
    "drift",
    "freshness",
    "judge_recount",
    "list_some",
]

_NOTICE = 2 * DAY
"""Ticks. A gap that is closer to the retention edge causes a warning."""

_SHOWN = 10
"""Most items that a message names."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """The lag of the archive behind the current time.

    Attributes:
        passed: whether the lag is within the limit.
        summary: the finding as text.
        hours_behind: the lag in hours; None if nothing is archived.
    """

    passed: bool
    summary: str
    hours_behind: float | None


@dataclass(frozen=True, slots=True)
class Drift:
    """The changes of schema between archived partitions.

    Attributes:
        passed: whether the schema is the same in all partitions.
        summary: the finding as text.
        schemas: the number of different schemas.
        partitions: the number of partitions that were compared.
    """

    passed: bool
    summary: str
    schemas: int
    partitions: int


@dataclass(frozen=True, slots=True)
class LastChance:
    """The gaps near the retention edge: the service soon deletes their rows.

    Attributes:
        passed: whether no gap is near the retention edge.
        summary: the finding as text.
        near: keys of the partitions whose gaps are near the edge, oldest first.
    """

    passed: bool
    summary: str
    near: list[str]


@dataclass(frozen=True, slots=True)
class Difference:
    """The partitions that differ in a recount.

    Attributes:
        passed: whether the archive equals the service, and every file could be compared.
        summary: the finding as text.
        stale: keys of partitions with late rows, which can be fetched again.
        shrunk: keys of partitions with fewer rows in the service than in the archive. A person must decide.
    """

    passed: bool
    summary: str
    stale: list[str]
    shrunk: list[str]


def freshness(archived: Sequence[Manifest], *, now: int, hours: float) -> Freshness:
    """Check whether the newest archived span ends at most `hours` before `now` (ticks)."""
    end = max((span.end for manifest in archived for span in manifest.covered), default=None)
    if end is None:
        return Freshness(False, "No partition within the service's retention is archived", None)
    behind = max(0, now - end) / HOUR
    return Freshness(behind <= hours, f"Archived up to {iso_of(end)}, {behind:.1f} hours ago", behind)


def drift(archived: Iterable[Manifest]) -> Drift:
    """Check whether the schema changes from one archived partition to the next."""
    manifests = [manifest for manifest in archived if not manifest.partition.null_time]
    changes = [
        f"{new.partition.key}: {_changes_of(old, new)}"
        for old, new in pairwise(manifests)
        if old.fingerprint != new.fingerprint
    ]
    summary = f"Schema changes ({len(changes)}): {list_some(changes)}" if changes else "One schema"
    return Drift(not changes, summary, len({one.fingerprint for one in manifests}), len(manifests))


def _changes_of(old: Manifest, new: Manifest) -> str:
    before, after = ({c.name: c.kusto_type for c in one.columns} for one in (old, new))
    changes = [f"+{name}" for name in after if name not in before]
    changes += [f"-{name}" for name in before if name not in after]
    changes += [f"{n} {before[n]} → {after[n]}" for n in after if n in before and before[n] != after[n]]
    return ", ".join(changes) or "order of columns"


def deadline(backlog: Backlog, *, edge: int) -> LastChance:
    """Check whether a gap begins less than two days after `edge`.

    Args:
        backlog: the missing spans.
        edge: the oldest instant (ticks) that the service can still return.
    """
    near = sorted({partition for partition, span in backlog.missing if span.start < edge + _NOTICE})
    keys = [partition.key for partition in near]
    summary = (
        f"The service soon deletes the rows of these partitions. Pull them now: {list_some(keys)}"
        if keys
        else "No gap is near the retention edge"
    )
    return LastChance(not keys, summary, keys)


def judge_recount(found: Recount, partitions: Iterable[Partition], spec: TableSpec) -> Difference:
    """Sort the differences of a recount by partition, and describe what happens next."""
    compared = sorted(partitions)
    stale, shrunk = (_keys_within(compared, bins) for bins in (found.grown, found.shrunk))
    said = [f"{found.rows:,} rows, equal to the archive"] if found.equal else []
    if stale:
        said.append(f"late rows in {len(stale)} partitions, which are requested again")
    if shrunk:
        force = f": `hunting reconcile {found.table} --force` replaces them" if spec.plain else ""
        said.append(f"fewer rows than archived in {len(shrunk)} partitions, which stay unchanged{force}")
    if found.damaged:
        said.append(f"damaged and not compared: {list_some([each.key for each in found.damaged])}")
    if found.other_query:
        said.append(f"{len(found.other_query)} partitions were archived by another query and not compared")
    return Difference(found.equal and not found.damaged, "; ".join(said), stale, shrunk)


def _keys_within(partitions: Iterable[Partition], bins: Sequence[Window]) -> list[str]:
    return [each.key for each in partitions if any(each.window.intersection(one) for one in bins)]


def list_some(items: Sequence[str], *, shown: int = _SHOWN) -> str:
    """Return the first items as text, and the number of the other items."""
    more = f" and {len(items) - shown} more" if len(items) > shown else ""
    return ", ".join(items[:shown]) + more
