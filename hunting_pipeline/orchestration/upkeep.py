"""What keeps the tables of a code location complete by itself."""

import dagster as dg

from hunting_pipeline.orchestration.automation import automation_sensor
from hunting_pipeline.orchestration.partitions import by_partitions
from hunting_pipeline.orchestration.quota import quota_asset
from hunting_pipeline.orchestration.requesting import LAST_CALL, RECONCILE_STALE, checks_of, sensor_for
from hunting_pipeline.orchestration.resources import HuntingResource, configured_tenants
from hunting_pipeline.orchestration.source import with_source

__all__ = ["kept_up"]


def kept_up(tables: dg.Definitions) -> dg.Definitions:
    """Definitions with hunting tables among them, and for each tenant its sensors and its quota as an asset.

    The sensors of a tenant that no run could sign in to start out stopped.

    Raises:
        Misconfigured: a setting is wrong.
    """
    tenants = configured_tenants()
    sensors = [sensor for hunting in tenants for sensor in _sensors(tables, hunting)]
    quotas = with_source([quota_asset(hunting) for hunting in tenants])
    resources = {hunting.key: hunting for hunting in tenants}
    return dg.Definitions.merge(tables, dg.Definitions(assets=quotas, sensors=sensors, resources=resources))


def _sensors(tables: dg.Definitions, hunting: HuntingResource) -> list[dg.SensorDefinition]:
    requesting = [
        sensor_for(reason, checks, hunting, suffix=suffix)
        for reason in (RECONCILE_STALE, LAST_CALL)
        for suffix, checks in by_partitions(tables, checks_of(tables, reason.check, hunting)).items()
    ]
    return [automation_sensor(hunting), *requesting]
