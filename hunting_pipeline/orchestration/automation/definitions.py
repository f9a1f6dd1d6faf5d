"""Add sensors and the quota asset to definitions with hunting tables."""

from itertools import chain

import dagster as dg

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.orchestration.automation.sensors import (
    LAST_CALL,
    RECONCILE_STALE,
    automation_sensor,
    checks_of,
    sensor_for,
)
from hunting_pipeline.orchestration.partitions import by_partitions
from hunting_pipeline.orchestration.quota_asset import quota_asset
from hunting_pipeline.orchestration.resources import HuntingResource, configured_tenants
from hunting_pipeline.orchestration.source import place_of, with_source

__all__ = ["with_automation"]


def with_automation(tables: dg.Definitions) -> dg.Definitions:
    """Return the definitions with the sensors and the quota asset of each tenant.

    The default status of a tenant's sensors is STOPPED if a setting for the sign-in is missing.

    Args:
        tables: definitions with hunting tables or hunts among their assets.

    Raises:
        Misconfigured: a setting is wrong, or two assets have one key. The message names both places.
    """
    _refuse_duplicates(tables)
    tenants = configured_tenants()
    sensors = [sensor for hunting in tenants for sensor in _sensors(tables, hunting)]
    quotas = with_source([quota_asset(hunting) for hunting in tenants])
    resources = {hunting.key: hunting for hunting in tenants}
    return dg.Definitions.merge(tables, dg.Definitions(assets=quotas, sensors=sensors, resources=resources))


def _refuse_duplicates(definitions: dg.Definitions) -> None:
    assets = [asset for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
    first: dict[dg.AssetKey, dg.AssetSpec] = {}
    for spec in chain.from_iterable(asset.specs for asset in assets):
        other = first.setdefault(spec.key, spec)
        if other is not spec:
            name = spec.key.to_user_string()
            raise Misconfigured(
                f"{name} is defined twice: {place_of(other)} and {place_of(spec)}. Remove one of them"
            )


def _sensors(tables: dg.Definitions, hunting: HuntingResource) -> list[dg.SensorDefinition]:
    from_checks = [
        sensor_for(trigger, checks, hunting, suffix=suffix)
        for trigger in (RECONCILE_STALE, LAST_CALL)
        for suffix, checks in by_partitions(tables, checks_of(tables, trigger.check, hunting)).items()
    ]
    return [automation_sensor(hunting), *from_checks]
