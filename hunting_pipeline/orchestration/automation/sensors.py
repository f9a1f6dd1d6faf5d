"""The sensors of a tenant that evaluate conditions or read checks.

`run_when_due` evaluates the automation conditions. `reconcile_stale` and `last_call` request the partitions
that the latest evaluation of a check lists. They use each evaluation once. `keeping` has `keep_complete`.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import dagster as dg

from hunting_pipeline.model import HOUR, SECOND, partition_from_key
from hunting_pipeline.orchestration.automation.admission import Admitted, admission
from hunting_pipeline.orchestration.automation.due import adjacent
from hunting_pipeline.orchestration.dagster_internals import latest_evaluation
from hunting_pipeline.orchestration.keys import (
    AUTOMATION_TAG,
    COMPLETE,
    DEADLINE,
    GAPS_PRIORITY,
    KEPT_TAG,
    NEAR_DEADLINE,
    PRIORITY_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    RECONCILE_TAG,
    RECONCILED,
    REFRESH_PRIORITY,
    STALE_PARTITIONS,
)
from hunting_pipeline.orchestration.resources import HuntingResource

__all__ = [
    "LAST_CALL",
    "RECONCILE_STALE",
    "LastRequest",
    "Trigger",
    "automation_sensor",
    "checks_of",
    "is_due",
    "run_requests",
    "sensor_for",
]

_PAUSE = 6 * HOUR // SECOND
"""Shortest time in seconds between two requests for one table. Late rows arrive all day, and each request
costs API calls."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A check, and the sensor that requests the partitions that the check lists.

    Attributes:
        sensor: the name of the sensor.
        description: the description of the sensor in the UI.
        check: the name of the check that the sensor reads.
        metadata_key: the metadata key under which the check lists partitions.
        warning: the text about the partitions in the log of a tick.
        tags: tags of the requested runs.
    """

    sensor: str
    description: str
    check: str
    metadata_key: str
    warning: str
    tags: Mapping[str, str]


RECONCILE_STALE = Trigger(
    "reconcile_stale",
    "Requests the archived partitions that differ from the service in the latest recount.",
    check=RECONCILED,
    metadata_key=STALE_PARTITIONS,
    warning="late rows",
    tags=MappingProxyType({RECONCILE_TAG: "true", PRIORITY_TAG: GAPS_PRIORITY}),
)

LAST_CALL = Trigger(
    "last_call",
    "Warns of missing partitions that expire in the service within two days, and requests them before other"
    " gaps. A partition is requested even if its last run failed.",
    check=DEADLINE,
    metadata_key=NEAR_DEADLINE,
    warning="missing, and will soon expire in the service",
    tags=MappingProxyType({PRIORITY_TAG: REFRESH_PRIORITY}),
)


@dataclass(frozen=True, slots=True)
class LastRequest:
    """The last request of a sensor for a table.

    Attributes:
        evaluation: the id of the evaluation that listed the partitions.
        at: the time of the request (Unix seconds).
    """

    evaluation: int
    at: float


def automation_sensor(
    assets: Sequence[dg.AssetKey], hunting: HuntingResource, *, suffix: str, status: dg.DefaultSensorStatus
) -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that evaluates the conditions of a tenant's assets and checks.

    Its runs hold the assets of one tenant only.
    """
    name = "_".join(("run_when_due", *hunting.prefix)) + suffix
    return dg.AutomationConditionSensorDefinition(
        name,
        target=dg.AssetSelection.assets(*assets),
        run_tags={AUTOMATION_TAG: name, PRIORITY_TAG: REFRESH_PRIORITY, **hunting.tags},
        default_status=status,
        description="Requests checks, hunts with a schedule and computed tables when they are due.",
    )


def run_requests(
    check: dg.AssetCheckKey, evaluation: int, keys: Sequence[str], *, tags: Mapping[str, str]
) -> Iterator[dg.RunRequest]:
    """Yield one run for each range of adjacent partitions.

    Args:
        check: the check that listed the partitions.
        evaluation: the id of the evaluation. The run key contains the id, so Dagster starts each run once.
        keys: keys of the partitions.
        tags: tags of the runs.
    """
    table = check.asset_key.path[-1]
    for first, last in adjacent(partition_from_key(table, key) for key in keys):
        yield dg.RunRequest(
            run_key=f"{check.to_user_string()}:{evaluation}:{first}",
            asset_selection=[check.asset_key],
            asset_check_keys=[dg.AssetCheckKey(check.asset_key, COMPLETE)],
            tags={**tags, RANGE_START_TAG: first, RANGE_END_TAG: last},
        )


def checks_of(
    definitions: dg.Definitions, name: str, assets: Collection[dg.AssetKey]
) -> list[dg.AssetCheckKey]:
    """Return the checks with this name on some assets. Skip assets that only a person requests."""
    present = (each for each in definitions.assets or () if isinstance(each, dg.AssetsDefinition))
    found = (
        key
        for asset in present
        for key in asset.check_keys
        if key.name == name
        and key.asset_key in assets
        and (
            asset.automation_conditions_by_key.get(key.asset_key)
            or KEPT_TAG in asset.specs_by_key[key.asset_key].tags
        )
    )
    return sorted(found)


def sensor_for(
    trigger: Trigger,
    checks: Sequence[dg.AssetCheckKey],
    hunting: HuntingResource,
    *,
    suffix: str,
    status: dg.DefaultSensorStatus,
) -> dg.SensorDefinition:
    """Return the sensor that requests the partitions listed by the latest evaluation of each check.

    The sensor requests partitions of a table at most once in six hours.

    Args:
        trigger: the kind of check and the attributes of the sensor.
        checks: the checks to read. Their assets must have the same partitions.
        hunting: the tenant's resource.
        suffix: end of the sensor's name. Sensors of assets with other partitions have another suffix.
        status: whether the sensor runs by default.
    """
    name = "_".join((trigger.sensor, *hunting.prefix)) + suffix

    @dg.sensor(
        name=name,
        target=dg.AssetSelection.assets(*(check.asset_key for check in checks)),
        minimum_interval_seconds=60,
        default_status=status,
        description=trigger.description,
    )
    def _sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        answer = admission(hunting, tried=("", 0.0))
        if answer.admitted is not Admitted.ALL:
            return dg.SensorResult(skip_reason=answer.reason, cursor=context.cursor)
        last = {name: LastRequest(*stored) for name, stored in json.loads(context.cursor or "{}").items()}
        requests: list[dg.RunRequest] = []
        tags = {AUTOMATION_TAG: name, **trigger.tags, **hunting.tags}
        for check in checks:
            table = check.asset_key.to_user_string()
            now = time.time()
            found = _listed(context.instance, check, trigger.metadata_key)
            if found is not None and is_due(found[0], last.get(table), now=now):
                last[table] = LastRequest(found[0], now)
                context.log.warning("%s: %s: %s", table, trigger.warning, ", ".join(found[1]))
                requests += run_requests(check, *found, tags=tags)
        cursor = json.dumps({table: [each.evaluation, each.at] for table, each in last.items()})
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return _sensor


def is_due(evaluation: int, last: LastRequest | None, *, now: float) -> bool:
    """Decide whether a sensor requests the partitions of an evaluation at `now` (Unix seconds)."""
    return last is None or (evaluation != last.evaluation and now >= last.at + _PAUSE)


def _listed(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, metadata_key: str
) -> tuple[int, list[str]] | None:
    """Return the id of the latest evaluation and its partitions, or None if it lists no partition.

    Another version of this package may have written the evaluation, without this metadata key.
    """
    latest = latest_evaluation(instance, check)
    if latest is None or metadata_key not in latest.evaluation.metadata:
        return None
    keys = latest.evaluation.metadata[metadata_key].value
    return (latest.id, [str(key) for key in keys]) if isinstance(keys, list) and keys else None
