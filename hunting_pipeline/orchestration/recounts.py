"""Does the archive still equal the tenant? The service counts again, and each bin must be as archived."""

from collections.abc import Iterable, Sequence

import dagster as dg

from hunting_pipeline.model import Partition, TableSpec, Window
from hunting_pipeline.orchestration.automation import recount_condition
from hunting_pipeline.orchestration.resources import RECONCILE_TAG
from hunting_pipeline.pipeline import Pipeline, Recount
from hunting_pipeline.window import available, available_partitions

__all__ = ["RECONCILED", "STALE", "recount", "recount_spec", "recounted"]

RECONCILED = "reconciled"
"""Name of the check."""

STALE = "stale partitions"
"""Under this name the metadata lists their keys; the sensor reads them there."""

_NAMED = 20
"""Spans that the metadata names before it says how many more there are."""


def recount_spec(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check of a table that has times."""
    return dg.AssetCheckSpec(
        RECONCILED,
        asset=key,
        description=(
            "The service, asked again, counts in every bin of what it still holds the rows that are archived"
            " and the same checksum over their times. Late rows turn it yellow; the sensor `reconcile_stale`"
            " then requests exactly the partitions that differ."
        ),
        automation_condition=recount_condition(RECONCILE_TAG),
    )


def recount(pipeline: Pipeline, spec: TableSpec, *, start: int) -> dg.AssetCheckResult:
    """Count all that is archived from `start` (ticks) on and still held: one call as a rule, and no row is
    fetched.

    Raises:
        HuntingError: the service could not count.
    """
    still = available(pipeline.now(), pipeline.limits.retention_days, spec)
    partitions = available_partitions(spec, still, start=start)
    return recounted(pipeline.recount(spec, partitions), partitions, spec)


def recounted(found: Recount, partitions: Sequence[Partition], spec: TableSpec) -> dg.AssetCheckResult:
    """What a recount means: late rows are a warning that heals itself, vanished ones are for a person."""
    stale = _touched(partitions, found.grown)
    shrunk = _touched(partitions, found.shrunk)
    value = dg.MetadataValue
    return dg.AssetCheckResult(
        check_name=RECONCILED,
        passed=found.equal,
        severity=dg.AssetCheckSeverity.ERROR if shrunk else dg.AssetCheckSeverity.WARN,
        description=_told(found, stale, shrunk, spec),
        metadata={
            "rows compared": value.int(found.rows),
            "bins compared": value.int(len(found.bins)),
            "bins that differ": value.int(len(found.grown) + len(found.shrunk)),
            "bins that shrank": value.int(len(found.shrunk)),
            STALE: value.json(stale),
            "shrunk partitions": value.json(shrunk),
            "archived by another query": value.json([partition.key for partition in found.other_query]),
            "spans": value.md(_spans([*found.grown, *found.shrunk])),
        },
    )


def _touched(partitions: Iterable[Partition], bins: Sequence[Window]) -> list[str]:
    return [p.key for p in sorted(partitions) if any(p.window.intersection(one) for one in bins)]


def _told(found: Recount, stale: Sequence[str], shrunk: Sequence[str], spec: TableSpec) -> str:
    said = [f"{found.rows:,} rows, as archived"] if found.equal else []
    if stale:
        said.append(f"late rows in {len(stale)} partitions, which are requested again")
    if shrunk:
        said.append(
            f"fewer rows than archived in {len(shrunk)} partitions, which are left as they are"
            + (f"; `hunting reconcile {found.table} --force` replaces them" if spec.plain else "")
        )
    if found.other_query:
        said.append(f"{len(found.other_query)} partitions were archived by another query, and not compared")
    return "; ".join(said)


def _spans(bins: Iterable[Window]) -> str:
    spans = sorted(bins)
    lines = [f"* {span}" for span in spans[:_NAMED]]
    more = [f"* and {len(spans) - _NAMED} more"] if len(spans) > _NAMED else []
    return "\n".join([*lines, *more]) or "none"
