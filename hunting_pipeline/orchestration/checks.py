"""Is a partition complete? What lies in its file, counted anew, against what the service counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import dagster as dg

from hunting_pipeline.lake.manifest import load_all
from hunting_pipeline.lake.store import Store
from hunting_pipeline.model import Partition, TableSpec, Tally
from hunting_pipeline.orchestration.look import Look, look

__all__ = ["COMPLETE", "Proof", "complete_spec", "evaluation", "proof_of", "summary", "verified"]

COMPLETE = "complete"
"""Name of the check."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Rows and checksum of one partition, from both sides."""

    partition: Partition
    counted: Tally
    archived: Tally

    @property
    def holds(self) -> bool:
        """Whether not a row is missing or too many."""
        return self.counted == self.archived


def proof_of(seen: Look) -> Proof:
    """Set what the service counted, piece by piece, against what the file holds."""
    counted = reduce(add, (piece.tally for piece in seen.manifest.pieces), Tally(0, 0))
    return Proof(seen.manifest.partition, counted, seen.tally)


def verified(store: Store, spec: TableSpec) -> list[Proof]:
    """Read every archived partition of a table again.

    Raises:
        CommitRefused: a file is gone, damaged, or not ours.
    """
    partitions = [manifest.partition for manifest in load_all(store, spec.name)]
    return [proof_of(look(store, each, None if each.undated else spec.time_column)) for each in partitions]


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


def evaluation(key: dg.AssetKey, proof: Proof) -> dg.AssetCheckEvaluation:
    """The check of one partition."""
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=COMPLETE,
        passed=proof.holds,
        partition=proof.partition.key,
        metadata={
            "rows counted": dg.MetadataValue.int(proof.counted.rows),
            "rows archived": dg.MetadataValue.int(proof.archived.rows),
            "checksum counted": dg.MetadataValue.text(str(proof.counted.checksum)),
            "checksum archived": dg.MetadataValue.text(str(proof.archived.checksum)),
        },
    )


def summary(key: dg.AssetKey, proofs: Sequence[Proof]) -> dg.AssetCheckResult:
    """The check of all partitions that a run was asked for and that are archived."""
    broken = [proof.partition.key for proof in proofs if not proof.holds]
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=COMPLETE,
        passed=not broken,
        description=(
            f"{len(broken)} of {len(proofs)} partitions differ: {', '.join(broken)}"
            if broken
            else f"{len(proofs)} partitions hold every row that the service counted"
        ),
        metadata={
            "partitions": dg.MetadataValue.int(len(proofs)),
            "rows": dg.MetadataValue.int(sum(proof.archived.rows for proof in proofs)),
        },
    )
