"""The Dagster edge: tables of `defs.yaml` become partitioned, checked, self-healing assets."""

from hunting_pipeline.orchestration.automation import computed_condition
from hunting_pipeline.orchestration.components import HuntingTables
from hunting_pipeline.orchestration.config import TableConfig
from hunting_pipeline.orchestration.hunts import HuntingQueries
from hunting_pipeline.orchestration.lake_io import HuntingLake
from hunting_pipeline.orchestration.partitions import partitions_for
from hunting_pipeline.orchestration.ranges import materialize_range
from hunting_pipeline.orchestration.resources import HuntingResource, configured_tenants
from hunting_pipeline.orchestration.source import with_source
from hunting_pipeline.orchestration.upkeep import kept_up

__all__ = [
    "HuntingLake",
    "HuntingQueries",
    "HuntingResource",
    "HuntingTables",
    "TableConfig",
    "computed_condition",
    "configured_tenants",
    "kept_up",
    "materialize_range",
    "partitions_for",
    "with_source",
]
