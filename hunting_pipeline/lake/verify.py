"""The comparison of archived files with the service's counts in their manifests."""

from dataclasses import dataclass
from functools import reduce
from operator import add

from hunting_pipeline.lake.inspect import Inspection, inspect
from hunting_pipeline.lake.manifest import load_all
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import Partition, Proof, TableSpec

__all__ = ["Comparison", "compare", "verify_table"]


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


def compare(inspection: Inspection) -> Comparison:
    """Compare the service's counts of a partition's segments with the partition's file."""
    manifest = inspection.manifest
    counted = reduce(add, (segment.proof for segment in manifest.segments), Proof(0, 0))
    return Comparison(manifest.partition, counted, inspection.proof)


def verify_table(store: Store, spec: TableSpec) -> list[Comparison]:
    """Read every archived partition of a table, and compare it with the service's counts.

    Raises:
        CommitRefused: a file is missing, damaged, or from another writer.
    """
    return [compare(inspect(store, manifest.partition, spec)) for manifest in load_all(store, spec.name)]
