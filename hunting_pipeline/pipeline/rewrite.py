"""The rewrite of a table with another unit of times. No request is sent."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.commit import known_schema
from hunting_pipeline.lake.manifest import Manifest, load_archive
from hunting_pipeline.lake.micros import unit_of
from hunting_pipeline.lake.rewrite import rewrite
from hunting_pipeline.lake.schema import merged
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import TableSpec
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
        known: the newest schema of the table, with the unit to write; None if no file can be read.
        damaged: the errors of the files that cannot be used.
    """

    store: Store
    spec: TableSpec
    archived: tuple[Manifest, ...]
    known: pa.Schema | None
    damaged: tuple[CommitRefused, ...]

    def __iter__(self) -> Iterator[Manifest | CommitRefused]:
        for manifest in self.archived:
            spec = null_time_spec(self.spec) if manifest.partition.null_time else self.spec
            try:
                yield rewrite(self.store, manifest, known=self.known, spec=spec)
            except CommitRefused as error:
                yield error
            release()


def rewrite_of(store: Store, spec: TableSpec) -> Rewrite:
    """Find the files of a table whose times have another unit than `spec.timestamp_unit`. Writes nothing."""
    archive = load_archive(store, spec.name)
    manifests = archive.manifests.values()
    outdated = tuple(one for one in manifests if unit_of(one.columns) not in (None, spec.timestamp_unit))
    known = known_schema(store, manifests) if outdated else None
    if known is not None:  # all files give their columns of ticks the same names
        known = merged(spec, known, ())
    return Rewrite(store, spec, outdated, known, tuple(archive.damaged.values()))
