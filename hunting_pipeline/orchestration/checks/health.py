"""The checks `fresh`, `drift` and `deadline`. They read manifests and need no API call."""

import time
from collections.abc import Iterator

import dagster as dg

from hunting_pipeline.model import SECOND, TableSpec, iso_of
from hunting_pipeline.orchestration.automation.conditions import health_condition
from hunting_pipeline.orchestration.keys import DEADLINE, DRIFT, FRESH, NEAR_DEADLINE
from hunting_pipeline.orchestration.markdown import plain
from hunting_pipeline.orchestration.metadata import Metadata
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.pipeline import health
from hunting_pipeline.pipeline.health import Drift, Freshness, LastChance
from hunting_pipeline.window import available, available_partitions

__all__ = [
    "HEALTH_CHECKS",
    "deadline_result",
    "drift_result",
    "fresh_result",
    "health_results",
    "health_specs",
]

HEALTH_CHECKS = frozenset({FRESH, DRIFT, DEADLINE})
"""Names of the checks of this module."""


def health_specs(key: dg.AssetKey, *, fresh_hours: float) -> list[dg.AssetCheckSpec]:
    """Return the three checks of a table."""
    descriptions = {
        FRESH: f"The archive is at most {fresh_hours:g} hours behind the present.",
        DRIFT: "All archived partitions that the service still holds have the same schema.",
        DEADLINE: "No missing partition expires in the service within two days.",
    }
    return [
        dg.AssetCheckSpec(name, asset=key, description=text, automation_condition=health_condition())
        for name, text in descriptions.items()
    ]


def health_results(
    hunting: HuntingResource, spec: TableSpec, *, start: int, fresh_hours: float
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the three checks.

    Args:
        hunting: the tenant's resource, which opens the lake.
        spec: the table.
        start: the first instant (ticks) of the archive.
        fresh_hours: hours that the archive may lag behind.

    Raises:
        Misconfigured: a setting is wrong, or the table is archived in another grain.
    """
    now = round(time.time() * SECOND)
    window = available(now, hunting.limits_profile().retention_days, spec)
    found = hunting.coverage(spec, available_partitions(spec, window, start=start), now=now)
    yield fresh_result(health.freshness(found.archived, now=now, hours=fresh_hours))
    yield drift_result(health.drift(found.archived))
    yield deadline_result(health.deadline(found.backlog, edge=window.start), edge=window.start)


def fresh_result(found: Freshness) -> dg.AssetCheckResult:
    """Return the result of `fresh`."""
    if found.hours_behind is None:
        return _result(FRESH, found, {})
    return _result(FRESH, found, {"hours behind": dg.MetadataValue.float(round(found.hours_behind, 3))})


def drift_result(found: Drift) -> dg.AssetCheckResult:
    """Return the result of `drift`."""
    return _result(
        DRIFT,
        found,
        {
            "schemas": dg.MetadataValue.int(found.schemas),
            "partitions": dg.MetadataValue.int(found.partitions),
        },
    )


def deadline_result(found: LastChance, *, edge: int) -> dg.AssetCheckResult:
    """Return the result of `deadline`; `edge` (ticks) is the retention edge."""
    return _result(
        DEADLINE,
        found,
        {
            NEAR_DEADLINE: dg.MetadataValue.json(found.near),
            "retention edge": dg.MetadataValue.text(iso_of(edge)),
        },
    )


def _result(name: str, found: Freshness | Drift | LastChance, metadata: Metadata) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=found.passed,
        check_name=name,
        severity=dg.AssetCheckSeverity.WARN,
        description=plain(found.summary),
        metadata=metadata,
    )
