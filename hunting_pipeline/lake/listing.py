"""The listing of a table's files. It costs what the requested days cost, not what the whole archive costs."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hunting_pipeline.lake.layout import (
    data_path,
    manifest_folder,
    manifest_path,
    null_time_path,
    partition_from_path,
)
from hunting_pipeline.lake.stores import Entry, Store
from hunting_pipeline.model import DAY, NULL_TIME, Partition, iso_of

__all__ = ["Listing", "archived_partitions", "list_files", "list_manifests", "partitions_by_day"]


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a table, or of some of its days.

    Attributes:
        files: the file of each partition, oldest first, the null-time partition last.
        foreign: paths of the files that are not at the path of any partition. Readers of the folder read
            their rows too.
    """

    files: Mapping[Partition, Entry]
    foreign: tuple[str, ...]

    def stands_in_the_way(self, partition: Partition) -> bool:
        """Return whether a foreign file is in the place of the partition's folder."""
        return any(data_path(partition).startswith(f"{path}/") for path in self.foreign)


def list_files(store: Store, table: str, partitions: Collection[Partition] | None) -> Listing:
    """List the files of the days of some partitions, and the null-time file. This takes a list a month.

    Args:
        store: the lake's store.
        table: name of the table.
        partitions: the partitions; None for the whole table.
    """
    found = store.list(table) if partitions is None else [*_files_of_days(store, table, partitions)]
    if (null_time := store.stat(null_time_path(table))) is not None:
        found = [*found, null_time]
    listed = {entry.path: partition_from_path(table, entry.path) for entry in found}
    files = {one: entry for entry in found if (one := listed[entry.path]) is not None}
    return Listing(
        {one: files[one] for one in sorted(files, key=lambda one: (one.null_time, one))},
        tuple(path for path, partition in listed.items() if partition is None and not _is_skipped(path)),
    )


def list_manifests(store: Store, table: str, partitions: Collection[Partition] | None) -> Mapping[str, Entry]:
    """List the manifests of some partitions, by path. This takes a list a month.

    The result may also hold manifests of other partitions of the same months.

    Args:
        store: the lake's store.
        table: name of the table.
        partitions: the partitions; None for the whole table.
    """
    folder = manifest_folder(table)
    if partitions is None:
        return {entry.path: entry for entry in store.list(folder)}
    found = [
        entry
        for month, first, end in _months(partitions)
        for entry in store.list(
            f"{folder}/{month}", start=f"{folder}/{month}/{first}", end=f"{folder}/{month}/{end}"
        )
    ]
    null_time = Partition(table, NULL_TIME)
    if null_time in partitions and (entry := store.stat(manifest_path(null_time))) is not None:
        found.append(entry)
    return {entry.path: entry for entry in found}


def archived_partitions(
    store: Store, table: str, partitions: Collection[Partition] | None = None
) -> Sequence[Partition]:
    """Return the partitions that have a file, oldest first, the null-time partition last.

    Args:
        store: the lake's store.
        table: name of the table.
        partitions: the partitions to look for; None for all.
    """
    asked = None if partitions is None else frozenset(partitions)
    files = list_files(store, table, asked).files
    return [one for one in files if asked is None or one in asked]


def partitions_by_day(store: Store, table: str, days: Iterable[str]) -> Iterator[Partition]:
    """Iterate over the partitions in some folders of days, each folder's newest first.

    A folder is listed when its first partition is needed.
    """
    for day in days:
        found = (partition_from_path(table, entry.path) for entry in store.list(f"{table}/{day}"))
        yield from sorted((partition for partition in found if partition is not None), reverse=True)


def _files_of_days(store: Store, table: str, partitions: Collection[Partition]) -> Iterator[Entry]:
    prefix = f"{table}/date="
    days = {f"{prefix}{one.key[:10]}" for one in partitions if not one.null_time}
    length = len(prefix) + len("2026-11-20")
    for _, first, end in _months(partitions):
        for entry in store.list(table, start=f"{prefix}{first}", end=f"{prefix}{end}"):
            if entry.path[:length] in days:
                yield entry


def _months(partitions: Iterable[Partition]) -> Iterator[tuple[str, str, str]]:
    """Yield each month, with the first of its days and the day after the last of its days."""
    months: dict[str, list[int]] = defaultdict(list)
    for partition in partitions:
        if not partition.null_time:
            months[partition.key[:7]].append(partition.window.start // DAY)
    for month, days in sorted(months.items()):
        yield month, iso_of(min(days) * DAY)[:10], iso_of((max(days) + 1) * DAY)[:10]


def _is_skipped(path: str) -> bool:
    """Return whether readers skip this file: one of its names is like `_x` or `.x`."""
    return any(name.startswith(("_", ".")) for name in path.split("/"))
