"""The archive of a table: the manifests of requested partitions, and the files that cannot be used.

Other programs and people can change a lake. A file that they damage, replace or add concerns its own
partition only: `load_archive` returns the other partitions, and names the file.

What a load costs depends on the requested partitions and not on the age of the archive: two lists a month,
one manifest a partition, and in every case the table's schema and the null-time file.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.lake.listing import list_files, list_manifests, partitions_by_day
from hunting_pipeline.lake.manifest import Manifest, load, load_listed, unusable
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.lake.table_schema import TableSchema, load_schema
from hunting_pipeline.model import Partition

__all__ = ["Archive", "load_all", "load_archive", "newest_archived"]


@dataclass(frozen=True, slots=True)
class Archive:
    """The files of a table, in the days of the requested partitions.

    Attributes:
        manifests: the manifests of the archived partitions among the requested ones, oldest first. The
            null-time partition is always included, as the last one.
        damaged: the partitions whose file cannot be used, each with the error that says why and what to do.
        foreign: paths of the files that are not at the path of any partition. Readers of the folder read
            their rows too.
        schema: the schema of the whole table; None if nothing is archived.
    """

    manifests: Mapping[Partition, Manifest]
    damaged: Mapping[Partition, CommitRefused]
    foreign: tuple[str, ...]
    schema: TableSchema | None

    def blocked(self, partitions: Iterable[Partition]) -> dict[Partition, CommitRefused]:
        """Return the partitions that overlap the span of a damaged file, each with the file's error."""
        return {
            partition: error
            for partition in partitions
            for damaged, error in self.damaged.items()
            if partition.window.intersection(damaged.window)
        }


def load_archive(store: Store, table: str, partitions: Collection[Partition] | None) -> Archive:
    """Load the manifests of some partitions of a table, and list the files that cannot be used.

    The files are listed, not only the manifests: a file whose manifest was never written is archived too.

    Args:
        store: the lake's store.
        table: name of the table.
        partitions: the requested partitions. None for all: this reads every manifest of the table.
    """
    schema = load_schema(store, table)
    asked = None if partitions is None else frozenset(partitions)
    listing = list_files(store, table, asked)
    damaged = {
        one: _other_grain(one)
        for one in listing.files
        if schema and not one.null_time and one.window.ticks != schema.grain.ticks
    }
    wanted = {
        one: entry
        for one, entry in listing.files.items()
        if one not in damaged and (asked is None or one in asked or one.null_time)
    }
    known = list_manifests(store, table, None if asked is None else wanted.keys())
    manifests, unreadable = load_listed(store, wanted, known)
    damaged |= unreadable
    for one in asked or ():
        if listing.stands_in_the_way(one):
            damaged[one] = unusable(one, "a file is in the place of its folder")
    in_order = sorted(damaged, key=lambda one: (one.null_time, one))
    return Archive(manifests, {one: damaged[one] for one in in_order}, listing.foreign, schema)


def load_all(store: Store, table: str) -> Iterator[Manifest]:
    """Load the manifest of every archived partition of a table, oldest first, for a reader of all rows.

    Raises:
        CommitRefused: a file is damaged, so its rows would be left out.
    """
    archive = load_archive(store, table, None)
    for error in archive.damaged.values():
        raise error
    yield from archive.manifests.values()


def newest_archived(store: Store, table: str, loaded: Archive) -> Manifest | None:
    """Return the manifest of a table's newest partition that can be read; None if there is none.

    A manifest that is already loaded is not read again.
    """
    days = (name for name in reversed(store.folders(table)) if name.startswith("date="))
    for partition in partitions_by_day(store, table, days):
        with suppress(CommitRefused):
            if (manifest := loaded.manifests.get(partition) or load(store, partition)) is not None:
                return manifest
    return None


def _other_grain(partition: Partition) -> CommitRefused:
    return CommitRefused(
        f"{partition}: {data_path(partition)} has another grain than the other files of this table."
        " The file was not changed. Move the file out of the lake"
    )
