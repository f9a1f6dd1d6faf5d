"""The sensor `keep_complete`: it requests new partitions, and those that are missing in the archive."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from hunting_pipeline.model import SECOND, Partition
from hunting_pipeline.orchestration.automation import due
from hunting_pipeline.orchestration.automation.admission import Admission, Admitted, admission
from hunting_pipeline.orchestration.automation.due import Kept, Request
from hunting_pipeline.orchestration.keys import (
    AUTOMATION_TAG,
    COMPLETE,
    GAPS_PRIORITY,
    PRIORITY_TAG,
    RANGE_END_TAG,
    RANGE_START_TAG,
    REFRESH_PRIORITY,
)
from hunting_pipeline.orchestration.resources import HuntingResource

__all__ = ["Asset", "keeping_sensor"]

_ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_PARTITION_TAG = "dagster/partition"
_CALLS_PER_TABLE = 2
"""Fewest calls that a request costs for each table: one counts the rows, and one fetches them."""


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset that the automation keeps complete: its key, and its table without a history."""

    key: dg.AssetKey
    kept: Kept


@dataclass
class _Cursor:
    """What the sensor remembers between two ticks.

    Attributes:
        tried: the digest of the settings and the time of the last trial.
        asked: the requests of each asset: first key, last key and time (ticks).
    """

    tried: tuple[str, float] = ("", 0.0)
    asked: dict[str, list[tuple[str, str, int]]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> "_Cursor":
        stored = json.loads(text or "{}")
        identity, at = stored.get("tried", ("", 0.0))
        asked = {name: [tuple(one) for one in ranges] for name, ranges in stored.get("asked", {}).items()}
        return cls((identity, at), asked)

    def text(self, *, since: int) -> str:
        """Return the cursor as text, without the requests before `since` (ticks)."""
        asked = {name: [one for one in ranges if one[2] >= since] for name, ranges in self.asked.items()}
        return json.dumps({"tried": self.tried, "asked": {name: one for name, one in asked.items() if one}})

    def asked_of(self, asset: "Asset", *, since: int) -> dict[str, int]:
        """Return the time of the latest request of each partition, without requests before `since` (ticks).

        Before the tenant accepted the settings, no run could succeed, so these requests do not count.
        """
        asked: dict[str, int] = {}
        for first, last, at in self.asked.get(asset.key.to_user_string(), ()):
            if at >= since:
                asked |= dict.fromkeys(asset.kept.keys(first, last), at)
        return asked

    def add(self, request: Request, *, now: int) -> None:
        for name in request.tables:
            self.asked.setdefault(name, []).append((request.first, request.last, now))


def keeping_sensor(
    assets: Sequence[Asset], hunting: HuntingResource, *, suffix: str, status: dg.DefaultSensorStatus
) -> dg.SensorDefinition:
    """Return the sensor that requests the partitions of a tenant's tables.

    Args:
        assets: the assets. They have the same partitions.
        hunting: the tenant's resource.
        suffix: end of the sensor's name.
        status: whether the sensor runs by default.
    """
    name = "_".join(("keep_complete", *hunting.prefix)) + suffix

    @dg.sensor(
        name=name,
        target=dg.AssetSelection.assets(*(asset.key for asset in assets)),
        minimum_interval_seconds=30,
        default_status=status,
        description=(
            "Requests new partitions, and missing partitions that the service still holds, the oldest first."
        ),
    )
    def _sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = _Cursor.read(context.cursor)
        answer = admission(hunting, tried=cursor.tried)
        now = round(time.time() * SECOND)
        if answer.admitted is Admitted.NONE:
            return dg.SensorResult(skip_reason=answer.reason, cursor=cursor.text(since=0))
        runs = context.instance.get_runs(dg.RunsFilter(statuses=_ACTIVE))
        days = hunting.limits_profile().retention_days
        histories = {
            asset.key.to_user_string(): replace(
                _history(context.instance, asset, now=now, retention_days=days),
                asked=cursor.asked_of(asset, since=round(answer.since * SECOND)),
                active={key for run in runs for key in _keys_of(run, asset)},
            )
            for asset in assets
        }
        own = [run for run in runs if run.tags.get(AUTOMATION_TAG) == name]
        found = _Found.of(histories, now=now, retention_days=days)
        chosen = found.chosen(answer, filling=any(_fills_gaps(run) for run in own), busy=bool(own))
        if chosen and answer.admitted is Admitted.ONE:
            cursor.tried = (answer.identity, time.time())
            context.log.info("The tenant has not accepted these settings yet: a single run tries them.")
        found.log(context.log, chosen)
        for request, _ in chosen:
            cursor.add(request, now=now)
        tags = {AUTOMATION_TAG: name, **hunting.tags}
        run_requests = [
            _run_request(
                request, assets, tags={**tags, PRIORITY_TAG: priority}, key=f"{name}:{now}:{priority}"
            )
            for request, priority in chosen
        ]
        return dg.SensorResult(run_requests=run_requests, cursor=cursor.text(since=now - due.GAP_PAUSE))

    return _sensor


@dataclass(frozen=True, slots=True)
class _Found:
    """The partitions that are due, by asset."""

    gaps: Mapping[str, Sequence[Partition]]
    refreshes: Mapping[str, Sequence[Partition]]

    @classmethod
    def of(cls, histories: Mapping[str, Kept], *, now: int, retention_days: int) -> "_Found":
        return cls(
            {name: due.gaps(one, now=now, retention_days=retention_days) for name, one in histories.items()},
            {name: due.refreshes(one, now=now) for name, one in histories.items()},
        )

    def chosen(self, answer: Admission, *, filling: bool, busy: bool) -> list[tuple[Request, str]]:
        """Return the requests of this tick with their priorities. One run at a time fills gaps."""
        filled = [] if filling else due.requests(due.oldest_chunk(self.gaps))
        found = [(one, GAPS_PRIORITY) for one in filled]
        found += [(one, REFRESH_PRIORITY) for one in due.requests(self.refreshes)]
        if answer.admitted is Admitted.ALL:
            return found
        first = [] if busy else found[:1]
        return [(replace(request, tables=request.tables[:1]), priority) for request, priority in first]

    def log(self, log: Any, chosen: Sequence[tuple[Request, str]]) -> None:
        """Log what is missing and what the requests cost at least."""
        missing = sum(map(len, self.gaps.values()))
        tables = sum(map(bool, self.gaps.values()))
        if not chosen or not missing:
            return
        asked = sum(len(request.tables) for request, _ in chosen)
        log.info(
            "%d partitions of %d tables are missing, and the service still holds them. This tick requests %d"
            " tables, from %s to %s. That takes %d calls or more. `hunting plan` counts the exact number.",
            *(missing, tables, asked),
            *(min(one.first for one, _ in chosen), max(one.last for one, _ in chosen)),
            _CALLS_PER_TABLE * asked,
        )


def _history(instance: dg.DagsterInstance, asset: Asset, *, now: int, retention_days: int) -> Kept:
    """Return what Dagster knows about the available partitions of an asset, whatever else it archived."""
    kept = asset.kept
    wanted = due.available(kept.spec, kept.start, now=now, retention_days=retention_days)
    archived = instance.get_latest_storage_id_by_partition(
        asset.key, dg.DagsterEventType.ASSET_MATERIALIZATION, {one.key for one in wanted}
    )
    latest = _latest(instance, asset.key, due.newest(kept.spec, now))
    return replace(kept, archived=set(archived), latest=dict(latest))


def _latest(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Iterable[Partition]
) -> Iterator[tuple[str, int]]:
    for partition in partitions:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition.key]), limit=1
        ).records
        for record in records:
            yield partition.key, round(record.timestamp * SECOND)


def _keys_of(run: dg.DagsterRun, asset: Asset) -> list[str]:
    """Return the partitions of an asset that a run fetches."""
    if asset.key not in (run.asset_selection or ()):
        return []
    first = run.tags.get(RANGE_START_TAG) or run.tags.get(_PARTITION_TAG)
    last = run.tags.get(RANGE_END_TAG) or first
    return asset.kept.keys(first, last) if first and last else []


def _fills_gaps(run: dg.DagsterRun) -> bool:
    return run.tags.get(PRIORITY_TAG) == GAPS_PRIORITY


def _run_request(
    request: Request, assets: Sequence[Asset], *, tags: Mapping[str, str], key: str
) -> dg.RunRequest:
    keys = [asset.key for asset in assets if asset.key.to_user_string() in request.tables]
    return dg.RunRequest(
        run_key=f"{key}:{request.first}:{request.last}",
        asset_selection=keys,
        asset_check_keys=[dg.AssetCheckKey(one, COMPLETE) for one in keys],
        tags={**tags, RANGE_START_TAG: request.first, RANGE_END_TAG: request.last},
    )
