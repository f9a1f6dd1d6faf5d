"""The check `complete`: every archived partition holds exactly the rows that the service counted."""

from collections.abc import Sequence

import dagster as dg

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.verify import Comparison
from hunting_pipeline.orchestration.keys import COMPLETE
from hunting_pipeline.orchestration.markdown import plain

__all__ = ["complete_result", "complete_spec", "partition_evaluation"]


def complete_spec(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """Return the check of a table."""
    return dg.AssetCheckSpec(
        COMPLETE,
        asset=key,
        description=(
            "Every archived partition holds exactly the rows that the service counted. The check reads the"
            " Parquet files and compares the number of rows and a checksum over their times. It also names"
            " damaged files, and other files in the table's folder."
        ),
    )


def partition_evaluation(key: dg.AssetKey, comparison: Comparison) -> dg.AssetCheckEvaluation:
    """Return the result for one partition."""
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=COMPLETE,
        passed=comparison.equal,
        partition=comparison.partition.key,
        metadata={
            "rows counted": dg.MetadataValue.int(comparison.counted.rows),
            "rows archived": dg.MetadataValue.int(comparison.archived.rows),
            "checksum counted": dg.MetadataValue.text(str(comparison.counted.checksum)),
            "checksum archived": dg.MetadataValue.text(str(comparison.archived.checksum)),
        },
    )


def complete_result(
    key: dg.AssetKey, comparisons: Sequence[Comparison], *, problems: Sequence[CommitRefused] = ()
) -> dg.AssetCheckResult:
    """Return the result for all partitions that were compared in a run.

    Args:
        key: the asset.
        comparisons: the partitions that were read.
        problems: the errors of partitions that cannot be read, and of files that are not partitions.
    """
    different = [comparison.partition.key for comparison in comparisons if not comparison.equal]
    said = f"{len(comparisons)} partitions hold every row that the service counted"
    if different:
        said = (
            f"{len(different)} of {len(comparisons)} partitions differ from the counts of the service:"
            f" {', '.join(different)}"
        )
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=COMPLETE,
        passed=not different and not problems,
        description="\n\n".join(plain(str(each)) for each in [*problems, said]),
        metadata={
            "partitions": dg.MetadataValue.int(len(comparisons)),
            "rows": dg.MetadataValue.int(sum(comparison.archived.rows for comparison in comparisons)),
        },
    )
