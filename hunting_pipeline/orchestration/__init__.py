"""The Dagster integration: tables in a `defs.yaml` become partitioned assets with checks and sensors.

The names below are the public API. `dg` also finds the components here.
"""

from hunting_pipeline.orchestration.automation.conditions import computed_condition
from hunting_pipeline.orchestration.automation.definitions import with_automation
from hunting_pipeline.orchestration.components.config import TableConfig
from hunting_pipeline.orchestration.components.hunts import HuntingQueries
from hunting_pipeline.orchestration.components.tables import HuntingTables
from hunting_pipeline.orchestration.io.lake import HuntingLake
from hunting_pipeline.orchestration.partitions import partitions_for
from hunting_pipeline.orchestration.ranges import materialize_range
from hunting_pipeline.orchestration.resources import HuntingResource, configured_tenants
from hunting_pipeline.orchestration.source import with_source

__all__ = [
    "HuntingLake",
    "HuntingQueries",
    "HuntingResource",
    "HuntingTables",
    "TableConfig",
    "computed_condition",
    "configured_tenants",
    "materialize_range",
    "partitions_for",
    "with_automation",
    "with_source",
]
