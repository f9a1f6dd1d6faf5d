"""The rewrite of a table with another unit of times. No request is sent."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.archive import load_archive
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.lake.micros import unit_of
from hunting_pipeline.lake.rewrite import rewrite
from hunting_pipeline.lake.schema import merged
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.lake.table_schema import register_schema
from hunting_pipeline.model import NULL_TIME, Partition, TableSpec
from hunting_pipeline.pipeline.memory import release
from hunting_pipeline.window import null_time_spec

__all__ = ["Rewrite", "rewrite_of"]


@dataclass(frozen=True)
class Rewrite:
    """The rewrite of one table. Iterate it to write the files; each yields its new manifest, or its error.

    Attributes:
        store: the lake.
        spec: the table, with the unit to write.
        archived: the manifests of the files that have another unit, oldest first.
        damaged: the errors of the files that cannot be used.
        needed: whether a file, or the table's schema, has another unit.
    """

    store: Store
    spec: TableSpec
    archived: tuple[Manifest, ...]
    damaged: tuple[CommitRefused, ...]
    needed: bool

    def __iter__(self) -> Iterator[Manifest | CommitRefused]:
        known = self._register() if self.needed else None
        for manifest in self.archived:
            spec = null_time_spec(self.spec) if manifest.partition.null_time else self.spec
            try:
                yield rewrite(self.store, manifest, known=known, spec=spec)
            except CommitRefused as error:
                yield error
            release()

    def _register(self) -> pa.Schema:
        """Return the table's schema with the unit to write, after it was registered for all new files."""
        return register_schema(
            self.store,
            Partition(self.spec.name, NULL_TIME),
            self.spec,
            first=None,
            merge=partial(_merged, self.spec),
        )


def _merged(spec: TableSpec, known: pa.Schema | None) -> pa.Schema:
    return merged(spec, known, ())


def rewrite_of(store: Store, spec: TableSpec) -> Rewrite:
    """Find the files of a table whose times have another unit than `spec.timestamp_unit`. Writes nothing."""
    archive = load_archive(store, spec.name, None)
    manifests = archive.manifests.values()
    outdated = tuple(one for one in manifests if unit_of(one.columns) not in (None, spec.timestamp_unit))
    registered = unit_of(archive.schema.columns) if archive.schema else None
    needed = bool(outdated) or registered not in (None, spec.timestamp_unit)
    return Rewrite(store, spec, outdated, tuple(archive.damaged.values()), needed)
