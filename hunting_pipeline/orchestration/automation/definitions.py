"""Add sensors and the quota asset to definitions with hunting tables."""

from collections.abc import Iterator, Mapping
from itertools import chain

import dagster as dg

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.model import Grain, TableSpec, ticks_of
from hunting_pipeline.orchestration.automation.due import Kept
from hunting_pipeline.orchestration.automation.keeping import Asset, keeping_sensor
from hunting_pipeline.orchestration.automation.sensors import (
    LAST_CALL,
    RECONCILE_STALE,
    automation_sensor,
    checks_of,
    sensor_for,
)
from hunting_pipeline.orchestration.keys import AUTOMATED_TAG, KEPT_TAG
from hunting_pipeline.orchestration.partitions import by_partitions
from hunting_pipeline.orchestration.quota_asset import quota_asset
from hunting_pipeline.orchestration.resources import HuntingResource, configured_tenants
from hunting_pipeline.orchestration.service import service_assets
from hunting_pipeline.orchestration.source import place_of, with_source

__all__ = ["with_automation"]

_OTHERS = "_others"
"""End of the names of the sensors for the assets that only a person starts, if others run by default."""


def with_automation(tables: dg.Definitions) -> dg.Definitions:
    """Return the definitions with the sensors and the quota asset of each tenant, and the sources of hunts.

    The sensors are stopped by default: nothing is requested that nobody asked for. The setting `automation`
    and the attribute `automation` of a component start them.

    Args:
        tables: definitions with hunting tables or hunts among their assets.

    Raises:
        Misconfigured: a setting is wrong, or two assets have one key. The message names both places.
    """
    _refuse_duplicates(tables)
    defined = tables.resources or {}
    tenants = [_defined(hunting, defined) for hunting in configured_tenants()]
    quotas = with_source([quota_asset(hunting) for hunting in tenants])
    whole = dg.Definitions.merge(tables, dg.Definitions(assets=[*quotas, *service_assets(_specs(tables))]))
    sensors = [sensor for hunting in tenants for sensor in _sensors(whole, hunting)]
    needed = {key: resource for hunting in tenants for key, resource in hunting.resources.items()}
    resources = {key: resource for key, resource in needed.items() if key not in defined}
    return dg.Definitions.merge(whole, dg.Definitions(sensors=sensors, resources=resources))


def _defined(hunting: HuntingResource, defined: Mapping[str, object]) -> HuntingResource:
    """Return the resource that the definitions have under the tenant's key, or else the tenant's resource."""
    own = defined.get(hunting.key)
    return own if isinstance(own, HuntingResource) else hunting


def _specs(definitions: dg.Definitions) -> Iterator[dg.AssetSpec]:
    assets = (asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition))
    return chain.from_iterable(asset.specs for asset in assets)


def _refuse_duplicates(definitions: dg.Definitions) -> None:
    first: dict[dg.AssetKey, dg.AssetSpec] = {}
    for spec in _specs(definitions):
        other = first.setdefault(spec.key, spec)
        if other is not spec:
            name = spec.key.to_user_string()
            raise Misconfigured(
                f"{name} is defined twice: {place_of(other)} and {place_of(spec)}. Remove one of them"
            )


def _sensors(definitions: dg.Definitions, hunting: HuntingResource) -> Iterator[dg.SensorDefinition]:
    """Yield the sensors of a tenant: those that run by default, and those that a person starts."""
    default = hunting.settings().automation
    own = [
        spec for spec in _specs(definitions) if tuple(spec.key.path[: len(hunting.prefix)]) == hunting.prefix
    ]
    automated = {spec.key: spec for spec in own if spec.tags.get(AUTOMATED_TAG, default) == "on"}
    others = {spec.key: spec for spec in own if spec.key not in automated}
    running, stopped = dg.DefaultSensorStatus.RUNNING, dg.DefaultSensorStatus.STOPPED
    if automated:
        yield from _sensors_of(definitions, automated, hunting, end="", status=running)
    if others:
        end = _OTHERS if automated else ""
        yield from _sensors_of(definitions, others, hunting, end=end, status=stopped)


def _sensors_of(
    definitions: dg.Definitions,
    specs: Mapping[dg.AssetKey, dg.AssetSpec],
    hunting: HuntingResource,
    *,
    end: str,
    status: dg.DefaultSensorStatus,
) -> Iterator[dg.SensorDefinition]:
    yield automation_sensor(list(specs), hunting, suffix=end, status=status)
    kept = by_partitions(specs.values(), [key for key, spec in specs.items() if KEPT_TAG in spec.tags])
    for suffix, keys in kept.items():
        assets = [_asset(specs[key]) for key in keys]
        yield keeping_sensor(assets, hunting, suffix=suffix + end, status=status)
    for trigger in (RECONCILE_STALE, LAST_CALL):
        checks = {check.asset_key: check for check in checks_of(definitions, trigger.check, specs.keys())}
        for suffix, keys in by_partitions(specs.values(), checks).items():
            found = [checks[key] for key in keys]
            yield sensor_for(trigger, found, hunting, suffix=suffix + end, status=status)


def _asset(spec: dg.AssetSpec) -> Asset:
    """Return what `keep_complete` knows about an asset without its history."""
    partitions = spec.partitions_def
    assert isinstance(partitions, dg.TimeWindowPartitionsDefinition)  # noqa: S101 - made by `partitions_for`
    hourly = isinstance(partitions, dg.HourlyPartitionsDefinition)
    table = TableSpec(
        spec.key.path[-1],
        time_column=None if spec.tags[KEPT_TAG] == "snapshot" else "",
        grain=Grain.HOUR if hourly else Grain.DAY,
    )
    return Asset(spec.key, Kept(table, start=ticks_of(partitions.start)))
