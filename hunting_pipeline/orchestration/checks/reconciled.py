"""The check `reconciled`: the archive still equals the service, which counts its rows again in time bins."""

from collections.abc import Iterable, Sequence

import dagster as dg

from hunting_pipeline.model import Partition, TableSpec, Window
from hunting_pipeline.orchestration.automation.conditions import recount_condition
from hunting_pipeline.orchestration.keys import RECONCILE_TAG, RECONCILED, STALE_PARTITIONS
from hunting_pipeline.orchestration.markdown import plain
from hunting_pipeline.pipeline import Pipeline, Recount
from hunting_pipeline.pipeline.health import judge_recount, list_some
from hunting_pipeline.window import available, available_partitions

__all__ = ["reconciled_result", "reconciled_spec", "recount"]

_SHOWN = 20
"""Largest number of spans in the metadata. The metadata then gives the number of other spans."""


def reconciled_spec(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """Return the check of a table that has a time column."""
    return dg.AssetCheckSpec(
        RECONCILED,
        asset=key,
        description=(
            "The archive equals the service. The service counts its rows again. For each time bin, the check"
            " compares the number of rows and a checksum over their times with the archive. Late rows give a"
            " warning. The sensor `reconcile_stale` then requests the partitions that differ."
        ),
        automation_condition=recount_condition(RECONCILE_TAG),
    )


def recount(pipeline: Pipeline, spec: TableSpec, *, start: int) -> dg.AssetCheckResult:
    """Count again every archived partition that the service still holds.

    The recount fetches no rows. It usually takes one API call.

    Args:
        pipeline: the tenant's pipeline.
        spec: the table.
        start: the first instant (ticks) of the archive; earlier partitions are not compared.

    Raises:
        HuntingError: the service could not count.
    """
    window = available(pipeline.now(), pipeline.limits.retention_days, spec)
    partitions = available_partitions(spec, window, start=start)
    return reconciled_result(pipeline.recount(spec, partitions), partitions, spec)


def reconciled_result(
    found: Recount, partitions: Sequence[Partition], spec: TableSpec
) -> dg.AssetCheckResult:
    """Return the result. Late rows are a warning. Fewer rows than archived are an error."""
    difference = judge_recount(found, partitions, spec)
    value = dg.MetadataValue
    return dg.AssetCheckResult(
        check_name=RECONCILED,
        passed=difference.passed,
        severity=dg.AssetCheckSeverity.ERROR if difference.shrunk else dg.AssetCheckSeverity.WARN,
        description=plain(difference.summary),
        metadata={
            "rows compared": value.int(found.rows),
            "bins compared": value.int(len(found.bins)),
            "bins that differ": value.int(len(found.grown) + len(found.shrunk)),
            "bins with fewer rows": value.int(len(found.shrunk)),
            STALE_PARTITIONS: value.json(difference.stale),
            "partitions with fewer rows": value.json(difference.shrunk),
            "archived by another query": value.json([partition.key for partition in found.other_query]),
            "damaged partitions": value.json([partition.key for partition in found.damaged]),
            "spans that differ": value.text(_list_of([*found.grown, *found.shrunk])),
        },
    )


def _list_of(bins: Iterable[Window]) -> str:
    return list_some([str(span) for span in sorted(bins)], shown=_SHOWN) or "none"
