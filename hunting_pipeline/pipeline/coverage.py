"""The coverage of a table: the archived partitions and the backlog. Sends no request and takes no lock.

Coverage costs what the requested partitions cost, see `lake.archive`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hunting_pipeline import plan, window
from hunting_pipeline.errors import CommitRefused, Misconfigured, setting
from hunting_pipeline.lake.archive import Archive, load_archive, newest_archived
from hunting_pipeline.lake.layout import schema_path
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.lake.micros import refuse_two_units
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import Grain, Partition, TableSpec, Window
from hunting_pipeline.pipeline.health import list_some

__all__ = [
    "Coverage",
    "archive_of",
    "archived_by_other_query",
    "backlog_of",
    "coverage",
    "everything_available",
    "problems_of",
    "refuse_other_query",
    "width_of",
]

_RECENT_PARTITIONS = 5
"""Number of newest requested partitions from which the width of a row is estimated."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The archived and the missing partitions among the requested partitions of a table.

    Attributes:
        spec: the table.
        partitions: the requested partitions.
        archived: the manifests of the archived partitions among them, oldest first.
        backlog: the spans that a pull would fetch.
        damaged: the damaged partitions in the days of the requested partitions.
        foreign: paths of the files in the folders of these days that are not files of partitions.
    """

    spec: TableSpec
    partitions: tuple[Partition, ...]
    archived: tuple[Manifest, ...]
    backlog: window.Backlog
    damaged: Mapping[Partition, CommitRefused]
    foreign: tuple[str, ...]

    @property
    def problems(self) -> list[CommitRefused]:
        """The errors of damaged partitions and foreign files."""
        return problems_of(self.spec, self.damaged, self.foreign)


def coverage(
    store: Store, spec: TableSpec, partitions: Sequence[Partition] | None, *, now: int, retention_days: int
) -> Coverage:
    """Return the archived partitions of a table and its backlog.

    Args:
        store: the lake.
        spec: the table.
        partitions: the requested partitions. None for all from the first archived one on: this reads every
            manifest of the table.
        now: the current time (ticks).
        retention_days: the retention of the service.

    Raises:
        Misconfigured: the table is archived with another grain or another unit of times than `spec`.
    """
    archive = archive_of(store, spec, partitions)
    if partitions is None:
        partitions = _since_the_first(spec, archive, window.available(now, retention_days, spec), now)
    backlog = backlog_of(spec, partitions, archive, now=now, retention_days=retention_days)
    archived = tuple(archive.manifests[p] for p in partitions if p in archive.manifests)
    return Coverage(spec, tuple(partitions), archived, backlog, archive.damaged, archive.foreign)


def problems_of(
    spec: TableSpec, damaged: Mapping[Partition, CommitRefused], foreign: Sequence[str]
) -> list[CommitRefused]:
    """Return the errors of damaged partitions, and one error for all foreign files of a table."""
    if not foreign:
        return list(damaged.values())
    return [
        *damaged.values(),
        CommitRefused(
            f"{spec.name}: these files are not at the path of a partition: {list_some(foreign)}."
            " Programs that read the folder read their rows too, perhaps twice. No file was changed."
            " Move these files out of the lake"
        ),
    ]


def _since_the_first(spec: TableSpec, archive: Archive, available: Window, now: int) -> tuple[Partition, ...]:
    """Return the partitions from the first one on that is archived or available."""
    archived = [one.window.start for one in (*archive.manifests, *archive.damaged) if not one.null_time]
    return window.partitions_in(spec, Window(min([*archived, available.start]), now))


def archive_of(store: Store, spec: TableSpec, partitions: Collection[Partition] | None) -> Archive:
    """Return the archive of some partitions of a table; None for all, see `load_archive`.

    Raises:
        Misconfigured: the table is archived with another grain or another unit of times than `spec`.
    """
    archive = load_archive(store, spec.name, partitions)
    grain = Grain.DAY if spec.time_column is None else spec.grain
    if archive.schema is not None and archive.schema.grain != grain:
        raise Misconfigured(
            f"{spec.name} is archived with another grain than {spec.grain.value!r} (see"
            f" {schema_path(spec.name)}). The archive is unchanged. Change `grain` back, or set"
            f" {setting('lake')} to another lake",
            everything=False,
        )
    _refuse_other_unit(spec, archive)
    return archive


def _refuse_other_unit(spec: TableSpec, archive: Archive) -> None:
    schema = archive.schema.columns if archive.schema else ()
    unit = refuse_two_units(spec.name, archive.manifests.values(), schema)
    if None not in (unit, spec.timestamp_unit) and unit != spec.timestamp_unit:
        raise Misconfigured(
            f"{spec.name} is archived with the unit of times {unit}, and {setting('timestamp_unit')} (or the"
            f" attribute in `defs.yaml`) is {spec.timestamp_unit}. No request was sent, and the archive is"
            " unchanged. Change it back, or run"
            f" `hunting rewrite {spec.name} --timestamp-unit {spec.timestamp_unit}`",
            everything=False,
        )


def backlog_of(
    spec: TableSpec,
    partitions: Sequence[Partition],
    archive: Archive,
    *,
    now: int,
    retention_days: int,
    renew: bool = False,
) -> window.Backlog:
    """Sort `partitions` into the lists of a `Backlog`. Leave out those that a damaged file blocks.

    With `renew`, a partition that another query archived counts as missing, if all its archived spans are
    still available.
    """
    blocked = archive.blocked(partitions)
    partitions = [partition for partition in partitions if partition not in blocked]
    if spec.time_column is None:
        return window.snapshot_backlog(partitions, archive.manifests, now=now)
    available = window.available(now, retention_days, spec)
    covered = {partition: manifest.covered for partition, manifest in archive.manifests.items()}
    for partition in archived_by_other_query(spec, partitions, archive.manifests) if renew else ():
        whole = all(available.contains(span) for span in covered[partition])
        covered[partition] = () if whole else (partition.window,)
    return window.backlog_of(partitions, covered, available=available)


def archived_by_other_query(
    spec: TableSpec, partitions: Iterable[Partition], archive: Mapping[Partition, Manifest]
) -> list[Partition]:
    """Return the partitions that were archived with other columns, another filter or another hunt text."""
    return [p for p in sorted(partitions) if p in archive and archive[p].query_hash != spec.query_hash]


def refuse_other_query(
    store: Store, spec: TableSpec, partitions: Iterable[Partition], archive: Archive, *, now: int
) -> None:
    """Check that the archive of a table does not mix the results of two queries.

    Raises:
        CommitRefused: another query archived some of `partitions`, or the table's newest partition.
    """
    asked = sorted(partitions)
    manifests = {one: archive.manifests[one] for one in asked if one in archive.manifests}
    if not _reaches_the_newest(asked, manifests, now) and (
        newest := newest_archived(store, spec.name, archive)
    ):
        manifests[newest.partition] = newest
    if other_query := archived_by_other_query(spec, manifests, manifests):
        raise CommitRefused(
            f"{spec.name}: {other_query[-1].key} was archived by another query: with other `columns`, another"
            " `where` or another hunt text. No request was sent and the archive is unchanged. Pull the table"
            " with its old query, for example in Dagster. Or replace the partition with --force"
        )


def _reaches_the_newest(asked: Sequence[Partition], archived: Collection[Partition], now: int) -> bool:
    """Return whether no partition outside of `asked` can be newer than all in `archived`."""
    later = now
    for partition in reversed(asked):
        if partition.window.end < later:
            return False
        if partition in archived:
            return True
        later = min(later, partition.window.start)
    return False


def everything_available(archived: Sequence[Manifest], available: Window) -> list[tuple[Partition, Window]]:
    """Return the archived spans that are still available, each with its partition."""
    return [
        (manifest.partition, part)
        for manifest in archived
        for span in manifest.covered
        if (part := span.intersection(available))
    ]


def width_of(spec: TableSpec, archive: Mapping[Partition, Manifest]) -> plan.Width:
    """Estimate the width of a row from the newest archived partitions among the requested ones.

    If none of them is archived, the catalogue has an estimate.
    """
    width = plan.Width(spec.bytes_per_row)
    for manifest in sorted(archive.values(), key=lambda manifest: manifest.committed_at)[
        -_RECENT_PARTITIONS:
    ]:
        width = width.after(manifest.proof.rows, manifest.body_bytes)
    return width
