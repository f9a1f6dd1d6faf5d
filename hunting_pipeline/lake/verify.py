"""The comparison of archived files with the service's counts in their manifests."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.archive import Archive
from hunting_pipeline.lake.inspect import Inspection, inspect
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import Partition, Proof, TableSpec

__all__ = ["Comparison", "Verification", "compare", "verify"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Row count and checksum of one partition, in the service and in the file.

    Attributes:
        partition: the partition.
        counted: the service's row count and checksum when the partition was fetched.
        archived: the row count and checksum of the Parquet file now.
    """

    partition: Partition
    counted: Proof
    archived: Proof

    @property
    def equal(self) -> bool:
        """Whether the file holds exactly the rows that the service counted."""
        return self.counted == self.archived


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of reading the files of an archive.

    Attributes:
        comparisons: the comparisons of the partitions that can be read.
        damaged: the other partitions that have a file, each with the error.
        foreign: as in `Archive`.
    """

    comparisons: list[Comparison]
    damaged: Mapping[Partition, CommitRefused]
    foreign: tuple[str, ...]


def compare(inspection: Inspection) -> Comparison:
    """Compare the service's counts of a partition's segments with the partition's file."""
    manifest = inspection.manifest
    counted = reduce(add, (segment.proof for segment in manifest.segments), Proof(0, 0))
    return Comparison(manifest.partition, counted, inspection.proof)


def verify(store: Store, spec: TableSpec, archive: Archive) -> Verification:
    """Read every partition of an archive, and compare it with the service's counts."""
    comparisons, damaged = [], dict(archive.damaged)
    for partition in archive.manifests:
        try:
            comparisons.append(compare(inspect(store, partition, spec)))
        except CommitRefused as error:
            damaged[partition] = error
    return Verification(comparisons, damaged, archive.foreign)
