"""What the lake holds of a table, and what is missing. Asks nothing of the service and takes no lock."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hunting_pipeline import window
from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake.manifest import Manifest, load_all
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import Partition, TableSpec, Window

__all__ = [
    "Coverage",
    "archive_of",
    "archived_by_other_query",
    "backlog_of",
    "coverage",
    "everything_available",
    "refuse_other_query",
]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the lake holds of one table, against what was asked for.

    Attributes:
        spec: the table.
        partitions: the partitions asked for.
        archived: the manifests among them, oldest first.
        backlog: what a pull would fetch.
    """

    spec: TableSpec
    partitions: tuple[Partition, ...]
    archived: tuple[Manifest, ...]
    backlog: window.Backlog


def coverage(
    store: Store, spec: TableSpec, partitions: Sequence[Partition], *, now: int, retention_days: int
) -> Coverage:
    """Return what the lake holds of a table, and what is missing.

    Raises:
        Misconfigured: the table is archived by another grain than `spec` names.
    """
    archive = archive_of(store, spec)
    backlog = backlog_of(spec, partitions, archive, now=now, retention_days=retention_days)
    return Coverage(spec, tuple(partitions), tuple(archive[p] for p in partitions if p in archive), backlog)


def archive_of(store: Store, spec: TableSpec) -> dict[Partition, Manifest]:
    """Return the manifests of a table.

    Raises:
        Misconfigured: the table is archived by another grain than `spec` names.
    """
    archive = {manifest.partition: manifest for manifest in load_all(store, spec.name)}
    for partition in archive:
        if not partition.null_time and window.partition_of(spec, partition.window.start) != partition:
            raise Misconfigured(
                f"{spec.name} is archived by another grain than {spec.grain.value!r} (see {partition.key})."
                " Another grain would orphan that archive. Change `grain` back, or choose another lake"
            )
    return archive


def backlog_of(
    spec: TableSpec,
    partitions: Sequence[Partition],
    archive: Mapping[Partition, Manifest],
    *,
    now: int,
    retention_days: int,
    renew: bool = False,
) -> window.Backlog:
    """Sort `partitions` by what is missing of them.

    With `renew`, a partition that another query has archived is missing, if it is still available as a whole.
    """
    if spec.time_column is None:
        return window.snapshot_backlog(partitions, archive, now=now)
    available = window.available(now, retention_days, spec)
    covered = {partition: manifest.covered for partition, manifest in archive.items()}
    for partition in archived_by_other_query(spec, partitions, archive) if renew else ():
        whole = all(available.contains(span) for span in covered[partition])
        covered[partition] = () if whole else (partition.window,)
    return window.backlog_of(partitions, covered, available=available)


def archived_by_other_query(
    spec: TableSpec, partitions: Iterable[Partition], archive: Mapping[Partition, Manifest]
) -> list[Partition]:
    """Return the partitions that were archived by other columns, another filter or another text of a hunt."""
    return [p for p in sorted(partitions) if p in archive and archive[p].query_hash != spec.query_hash]


def refuse_other_query(
    spec: TableSpec, partitions: Iterable[Partition], archive: Mapping[Partition, Manifest]
) -> None:
    """Refuse to archive a table by two queries in turn.

    Raises:
        CommitRefused: another query has archived some of `partitions`, or the table's newest partition.
    """
    newest = sorted(p for p in archive if not p.null_time)[-1:]
    if other_query := archived_by_other_query(spec, {*partitions, *newest}, archive):
        raise CommitRefused(
            f"{spec.name}: {other_query[-1].key} was archived by another query: by other `columns`, another"
            " `where` or another text of a hunt. Nothing was asked, the archive is untouched. Pull the table"
            " where that query stands, in Dagster, or replace the partition with --force"
        )


def everything_available(archived: Sequence[Manifest], available: Window) -> list[tuple[Partition, Window]]:
    """Return the archived spans that can still be asked for, by partition."""
    return [
        (manifest.partition, part)
        for manifest in archived
        for span in manifest.covered
        if (part := span.intersection(available))
    ]
