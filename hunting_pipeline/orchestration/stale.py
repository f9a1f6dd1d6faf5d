"""Requests again exactly the partitions that a recount found stale, and each finding once."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from hunting_pipeline.lake.layout import partition_from_key
from hunting_pipeline.model import HOUR, SECOND, Partition
from hunting_pipeline.orchestration.checks import COMPLETE
from hunting_pipeline.orchestration.recounts import RECONCILED, STALE
from hunting_pipeline.orchestration.resources import RECONCILE_TAG

__all__ = ["Asked", "is_due", "reconciled_checks", "requests_for", "stale_sensor"]

_PAUSE = 6 * HOUR // SECOND
"""Seconds between two requests for one table: late rows come all the time, and each round costs calls."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the sensor remembers of a table: the evaluation it acted upon, and when (Unix seconds)."""

    evaluation: int
    at: float


def requests_for(check: dg.AssetCheckKey, evaluation: int, stale: Sequence[str]) -> Iterator[dg.RunRequest]:
    """A run for each unbroken stretch of stale partitions. The run key makes each unique for ever."""
    table = check.asset_key.path[-1]
    stretches: list[list[Partition]] = []
    for partition in sorted(partition_from_key(table, key) for key in stale):
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
                RECONCILE_TAG: "true",
                "dagster/asset_partition_range_start": stretch[0].key,
                "dagster/asset_partition_range_end": stretch[-1].key,
            },
        )


def reconciled_checks(definitions: dg.Definitions) -> list[dg.AssetCheckKey]:
    """The `reconciled` of every table among `definitions`."""
    tables = (each for each in definitions.assets or () if isinstance(each, dg.AssetsDefinition))
    return sorted(key for table in tables for key in table.check_keys if key.name == RECONCILED)


def stale_sensor(checks: Sequence[dg.AssetCheckKey], *, running: bool) -> dg.SensorDefinition:
    """Requests the partitions that the latest `reconciled` of each table found stale, once.

    An evaluation that comes within hours of the last request waits until they are over.
    """

    @dg.sensor(
        name="reconcile_stale",
        target=dg.AssetSelection.assets(*(check.asset_key for check in checks)),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description="Requests again exactly the partitions whose recount differs from the archive.",
    )
    def _stale(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        memory = {name: Asked(*asked) for name, asked in json.loads(context.cursor or "{}").items()}
        requests: list[dg.RunRequest] = []
        for check in checks:
            name = check.asset_key.to_user_string()
            now = time.time()
            found = _latest_red(context.instance, check)
            if found is not None and is_due(found[0], memory.get(name), now=now):
                memory[name] = Asked(found[0], now)
                requests += requests_for(check, *found)
        cursor = json.dumps({name: [asked.evaluation, asked.at] for name, asked in memory.items()})
        return dg.SensorResult(run_requests=requests, cursor=cursor)

    return _stale


def is_due(evaluation: int, asked: Asked | None, *, now: float) -> bool:
    """Whether to act upon an evaluation now."""
    return asked is None or (evaluation != asked.evaluation and now >= asked.at + _PAUSE)


def _latest_red(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> tuple[int, list[str]] | None:
    """Id and stale partitions of the latest evaluation, if there are any; a run that ended early is none."""
    ended = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
    records = instance.event_log_storage.get_asset_check_execution_history(check, limit=1, status=ended)
    if not records or records[0].evaluation is None:
        return None
    stale = records[0].evaluation.metadata[STALE].value
    return (records[0].id, [str(key) for key in stale]) if isinstance(stale, list) and stale else None
