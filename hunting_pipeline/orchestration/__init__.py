"""The Dagster edge: tables of `defs.yaml` become partitioned, checked, self-healing assets."""

from hunting_pipeline.orchestration.components import HuntingTables
from hunting_pipeline.orchestration.config import TableConfig
from hunting_pipeline.orchestration.ranges import materialize_range
from hunting_pipeline.orchestration.resources import HuntingResource

__all__ = ["HuntingResource", "HuntingTables", "TableConfig", "materialize_range"]
