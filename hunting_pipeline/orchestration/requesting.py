"""Sensors that request exactly the partitions which a check's latest evaluation names, each finding once."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from hunting_pipeline.model import HOUR, SECOND, Partition, partition_from_key
from hunting_pipeline.orchestration.checks import COMPLETE
from hunting_pipeline.orchestration.recounts import RECONCILED, STALE
from hunting_pipeline.orchestration.resources import RECONCILE_TAG, HuntingResource
from hunting_pipeline.orchestration.watch import DEADLINE, NEAR

__all__ = [
    "LAST_CALL",
    "RECONCILE_STALE",
    "Asked",
    "Reason",
    "checks_of",
    "is_due",
    "requests_for",
    "sensor_for",
]

_PAUSE = 6 * HOUR // SECOND
"""Seconds between two requests for one table: late rows come all the time, and each round costs calls."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a sensor requests partitions.

    Attributes:
        sensor: its name, and its description.
        check: whose latest evaluation lists partitions, under the metadata `listed`.
        warning: what the tick's log says of them.
        tags: of the runs.
    """

    sensor: str
    description: str
    check: str
    listed: str
    warning: str
    tags: Mapping[str, str]


RECONCILE_STALE = Reason(
    "reconcile_stale",
    "Requests again exactly the partitions whose recount differs from the archive.",
    check=RECONCILED,
    listed=STALE,
    warning="late rows",
    tags=MappingProxyType({RECONCILE_TAG: "true"}),
)

LAST_CALL = Reason(
    "last_call",
    "Warns of gaps that come within two days of being forgotten by the service, and requests them before all"
    " else, those too whose run has failed.",
    check=DEADLINE,
    listed=NEAR,
    warning="about to be lost",
    tags=MappingProxyType({"dagster/priority": "10"}),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the sensor remembers of a table: the evaluation it acted upon, and when (Unix seconds)."""

    evaluation: int
    at: float


def requests_for(
    check: dg.AssetCheckKey, evaluation: int, keys: Sequence[str], *, tags: Mapping[str, str]
) -> Iterator[dg.RunRequest]:
    """A run for each unbroken stretch of partitions. The run key makes each unique for ever."""
    table = check.asset_key.path[-1]
    stretches: list[list[Partition]] = []
    for partition in sorted(partition_from_key(table, key) for key in keys):
        if stretches and stretches[-1][-1].window.end == partition.window.start:
            stretches[-1].append(partition)
        else:
            stretches.append([partition])
    for stretch in stretches:
        yield dg.RunRequest(
            run_key=f"{check.to_user_string()}:{evaluation}:{stretch[0].key}",
            asset_selection=[check.asset_key],
            asset_check_keys=[dg.AssetCheckKey(check.asset_key, COMPLETE)],
            tags={
                **tags,
                "dagster/asset_partition_range_start": stretch[0].key,
                "dagster/asset_partition_range_end": stretch[-1].key,
            },
        )


def checks_of(definitions: dg.Definitions, name: str, hunting: HuntingResource) -> list[dg.AssetCheckKey]:
    """The checks of this name among a tenant's assets, but for those that nobody but a person requests."""
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
    """Requests the partitions that the latest evaluation of each check lists, once.

    The checks' assets must have the same partitions; `suffix` sets the sensor apart from those of others.
    An evaluation that comes within hours of the last request waits until they are over.
    """

    @dg.sensor(
        name="_".join((reason.sensor, *hunting.prefix)) + suffix,
        target=dg.AssetSelection.assets(*(check.asset_key for check in checks)),
        minimum_interval_seconds=60,
        default_status=hunting.sensors,
        description=reason.description,
    )
    def _requesting(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        memory = {name: Asked(*asked) for name, asked in json.loads(context.cursor or "{}").items()}
        requests: list[dg.RunRequest] = []
        for check in checks:
            name = check.asset_key.to_user_string()
            now = time.time()
            found = _latest(context.instance, check, reason.listed)
            if found is not None and is_due(found[0], memory.get(name), now=now):
                memory[name] = Asked(found[0], now)
                context.log.warning("%s: %s: %s", name, reason.warning, ", ".join(found[1]))
                requests += requests_for(check, *found, tags={**reason.tags, **hunting.tags})
        cursor = json.dumps({name: [asked.evaluation, asked.at] for name, asked in memory.items()})
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return _requesting


def is_due(evaluation: int, asked: Asked | None, *, now: float) -> bool:
    """Whether to act upon an evaluation now."""
    return asked is None or (evaluation != asked.evaluation and now >= asked.at + _PAUSE)


def _latest(
    instance: dg.DagsterInstance, check: dg.AssetCheckKey, listed: str
) -> tuple[int, list[str]] | None:
    """Id and partitions of the latest evaluation, if it lists any; a run that ended early is none."""
    ended = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
    records = instance.event_log_storage.get_asset_check_execution_history(check, limit=1, status=ended)
    if not records or records[0].evaluation is None:
        return None
    keys = records[0].evaluation.metadata[listed].value
    return (records[0].id, [str(key) for key in keys]) if isinstance(keys, list) and keys else None
