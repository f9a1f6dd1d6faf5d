"""Is a partition complete? What lies in its file, counted anew, against what the service counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import dagster as dg

from hunting_pipeline.lake.inspect import Inspection, inspect
from hunting_pipeline.lake.manifest import load_all
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import Partition, Proof, TableSpec

__all__ = ["COMPLETE", "Comparison", "comparison_of", "complete_spec", "evaluation", "summary", "verified"]

COMPLETE = "complete"
"""Name of the check."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows and checksum of one partition, from both sides."""

    partition: Partition
    counted: Proof
    archived: Proof

    @property
    def holds(self) -> bool:
        """Whether not a row is missing or too many."""
        return self.counted == self.archived


def comparison_of(seen: Inspection) -> Comparison:
    """Set what the service counted, piece by piece, against what the file holds."""
    counted = reduce(add, (segment.proof for segment in seen.manifest.segments), Proof(0, 0))
    return Comparison(seen.manifest.partition, counted, seen.proof)


def verified(store: Store, spec: TableSpec) -> list[Comparison]:
    """Read every archived partition of a table again.

    Raises:
        CommitRefused: a file is gone, damaged, or not ours.
    """
    partitions = [manifest.partition for manifest in load_all(store, spec.name)]
    return [
        comparison_of(inspect(store, each, None if each.null_time else spec.time_column))
        for each in partitions
    ]


def complete_spec(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check of a table."""
    return dg.AssetCheckSpec(
        COMPLETE,
        asset=key,
        description=(
            "Every archived partition holds exactly the rows that the service counted:"
            " their number and a checksum over their times, read again from the Parquet file."
        ),
    )


def evaluation(key: dg.AssetKey, comparison: Comparison) -> dg.AssetCheckEvaluation:
    """The check of one partition."""
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=COMPLETE,
        passed=comparison.holds,
        partition=comparison.partition.key,
        metadata={
            "rows counted": dg.MetadataValue.int(comparison.counted.rows),
            "rows archived": dg.MetadataValue.int(comparison.archived.rows),
            "checksum counted": dg.MetadataValue.text(str(comparison.counted.checksum)),
            "checksum archived": dg.MetadataValue.text(str(comparison.archived.checksum)),
        },
    )


def summary(key: dg.AssetKey, comparisons: Sequence[Comparison]) -> dg.AssetCheckResult:
    """The check of all partitions that a run was asked for and that are archived."""
    broken = [comparison.partition.key for comparison in comparisons if not comparison.holds]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=COMPLETE,
        passed=not broken,
        description=(
            f"{len(broken)} of {len(comparisons)} partitions differ: {', '.join(broken)}"
            if broken
            else f"{len(comparisons)} partitions hold every row that the service counted"
        ),
        metadata={
            "partitions": dg.MetadataValue.int(len(comparisons)),
            "rows": dg.MetadataValue.int(sum(comparison.archived.rows for comparison in comparisons)),
        },
    )
