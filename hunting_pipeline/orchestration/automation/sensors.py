"""The sensors of a tenant.

`keep_complete` evaluates the automation conditions. `reconcile_stale` and `last_call` request exactly the
partitions that the latest evaluation of a check lists, and act on each evaluation once.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import dagster as dg

from hunting_pipeline.model import HOUR, SECOND, Partition, partition_from_key
from hunting_pipeline.orchestration.dagster_internals import latest_evaluation
from hunting_pipeline.orchestration.keys import (
    COMPLETE,
    DEADLINE,
    NEAR_DEADLINE,
    PRIORITY_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    RECONCILE_TAG,
    RECONCILED,
    STALE_PARTITIONS,
)
from hunting_pipeline.orchestration.resources import HuntingResource

__all__ = [
    "LAST_CALL",
    "RECONCILE_STALE",
    "LastRequest",
    "Reason",
    "automation_sensor",
    "checks_of",
    "is_due",
    "run_requests",
    "sensor_for",
]

_PAUSE = 6 * HOUR // SECOND
"""Seconds between two requests for one table: late rows arrive all the time, and each request costs calls."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a sensor requests partitions.

    Attributes:
        sensor: the name of the sensor.
        description: the description of the sensor in the UI.
        check: the name of the check that the sensor reads.
        listed: the metadata key under which the check lists partitions.
        warning: what the log of a tick says about the partitions.
        tags: tags of the requested runs.
    """

    sensor: str
    description: str
    check: str
    listed: str
    warning: str
    tags: Mapping[str, str]


RECONCILE_STALE = Reason(
    "reconcile_stale",
    "Requests exactly the partitions that differ from the archive in the latest recount.",
    check=RECONCILED,
    listed=STALE_PARTITIONS,
    warning="late rows",
    tags=MappingProxyType({RECONCILE_TAG: "true"}),
)

LAST_CALL = Reason(
    "last_call",
    "Warns of gaps that the service forgets within two days, and requests them with priority. A gap is"
    " requested even if its last run failed.",
    check=DEADLINE,
    listed=NEAR_DEADLINE,
    warning="soon forgotten by the service",
    tags=MappingProxyType({PRIORITY_TAG: "10"}),
)


@dataclass(frozen=True, slots=True)
class LastRequest:
    """What a sensor remembers of a table.

    Attributes:
        evaluation: the id of the evaluation that the sensor acted on.
        at: when it acted (Unix seconds).
    """

    evaluation: int
    at: float


def automation_sensor(hunting: HuntingResource) -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the conditions of a tenant's assets.

    Its runs hold the assets of one tenant only.
    """
    everything = dg.AssetSelection.key_prefixes(list(hunting.prefix)) if hunting.tenant else None
    return dg.AutomationConditionSensorDefinition(
        "_".join(("keep_complete", *hunting.prefix)),
        target=everything or dg.AssetSelection.all(),
        run_tags=hunting.tags,
        default_status=hunting.sensors,
        description="Requests new partitions, and gaps that the service can still fill.",
    )


def run_requests(
    check: dg.AssetCheckKey, evaluation: int, keys: Sequence[str], *, tags: Mapping[str, str]
) -> Iterator[dg.RunRequest]:
    """Yield one run for each unbroken range of partitions.

    Args:
        check: the check that listed the partitions.
        evaluation: the id of its evaluation. The run key contains the id, so Dagster starts each run once.
        keys: keys of the partitions.
        tags: tags of the runs.
    """
    table = check.asset_key.path[-1]
    ranges: list[list[Partition]] = []
    for partition in sorted(partition_from_key(table, key) for key in keys):
        if ranges and ranges[-1][-1].window.end == partition.window.start:
            ranges[-1].append(partition)
        else:
            ranges.append([partition])
    for one in ranges:
        yield dg.RunRequest(
            run_key=f"{check.to_user_string()}:{evaluation}:{one[0].key}",
            asset_selection=[check.asset_key],
            asset_check_keys=[dg.AssetCheckKey(check.asset_key, COMPLETE)],
            tags={**tags, RANGE_START_TAG: one[0].key, RANGE_END_TAG: one[-1].key},
        )


def checks_of(definitions: dg.Definitions, name: str, hunting: HuntingResource) -> list[dg.AssetCheckKey]:
    """Return the checks with this name on a tenant's assets, except on assets that only people start."""
    assets = (each for each in definitions.assets or () if isinstance(each, dg.AssetsDefinition))
    found = (
        key
        for asset in assets
        for key in asset.check_keys
        if key.name == name and asset.automation_conditions_by_key.get(key.asset_key)
    )
    return sorted(key for key in found if tuple(key.asset_key.path[: len(hunting.prefix)]) == hunting.prefix)


def sensor_for(
    reason: Reason, checks: Sequence[dg.AssetCheckKey], hunting: HuntingResource, *, suffix: str = ""
) -> dg.SensorDefinition:
    """Return the sensor that requests the partitions which the latest evaluation of each check lists.

    After a request for a table, a newer evaluation of the table waits for six hours.

    Args:
        reason: what the sensor reads and requests.
        checks: the checks to read. Their assets must have the same partitions.
        hunting: the tenant's resource.
        suffix: end of the sensor's name, which tells it apart from sensors of assets with other partitions.
    """

    @dg.sensor(
        name="_".join((reason.sensor, *hunting.prefix)) + suffix,
        target=dg.AssetSelection.assets(*(check.asset_key for check in checks)),
        minimum_interval_seconds=60,
        default_status=hunting.sensors,
        description=reason.description,
    )
    def _sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        last = {name: LastRequest(*stored) for name, stored in json.loads(context.cursor or "{}").items()}
        requests: list[dg.RunRequest] = []
        for check in checks:
            name = check.asset_key.to_user_string()
            now = time.time()
            found = _listed(context.instance, check, reason.listed)
            if found is not None and is_due(found[0], last.get(name), now=now):
                last[name] = LastRequest(found[0], now)
                context.log.warning("%s: %s: %s", name, reason.warning, ", ".join(found[1]))
                requests += run_requests(check, *found, tags={**reason.tags, **hunting.tags})
        cursor = json.dumps({name: [each.evaluation, each.at] for name, each in last.items()})
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return _sensor


def is_due(evaluation: int, last: LastRequest | None, *, now: float) -> bool:
    """Decide whether a sensor acts on an evaluation at `now` (Unix seconds)."""
    return last is None or (evaluation != last.evaluation and now >= last.at + _PAUSE)


def _listed(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, listed: str
) -> tuple[int, list[str]] | None:
    """Return the id of the latest evaluation and its partitions, or None if it lists no partition.

    Another version of this package may have written the evaluation, without this metadata key.
    """
    latest = latest_evaluation(instance, check)
    if latest is None or listed not in latest.evaluation.metadata:
        return None
    keys = latest.evaluation.metadata[listed].value
    return (latest.id, [str(key) for key in keys]) if isinstance(keys, list) and keys else None
