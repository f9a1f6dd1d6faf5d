"""An example of a table that is computed from an archived table: the programs of each day."""

import dagster as dg
import pyarrow as pa
import pyarrow.dataset as ds

from hunting_pipeline.model import Grain
from hunting_pipeline.orchestration import (
    HuntingResource,
    computed_condition,
    configured_tenants,
    partitions_for,
    with_source,
)


def summarised(events: ds.Dataset) -> pa.Table:
    """Count the starts and devices of each program."""
    columns = events.to_table(columns=["FileName", "ProcessVersionInfoCompanyName", "DeviceId"])
    programs = columns.group_by(["FileName", "ProcessVersionInfoCompanyName"])
    counted = programs.aggregate([([], "count_all"), ("DeviceId", "count_distinct")])
    names = {"count_all": "Starts", "DeviceId_count_distinct": "Devices"}
    return counted.rename_columns(names).sort_by([("Starts", "descending")])


def processes_by_day(hunting: HuntingResource) -> dg.AssetsDefinition:
    """Build the asset of a tenant. A partition is computed after each commit of the day's process events."""

    @dg.asset(
        key=[*hunting.prefix, "summary", "ProcessesByDay"],
        ins={"events": dg.AssetIn([*hunting.prefix, "defender", "DeviceProcessEvents"])},
        partitions_def=partitions_for(Grain.DAY),
        automation_condition=computed_condition(),
        io_manager_key=hunting.lake_key,
        group_name="summaries",
        kinds={"parquet"},
        tags=hunting.tags,
        description="The number of starts and of devices of each program, by day.",
    )
    def _processes_by_day(events: ds.Dataset) -> pa.Table:
        return summarised(events)

    return _processes_by_day


@dg.definitions
def defs() -> dg.Definitions:
    """Build one asset for each tenant."""
    summaries = [processes_by_day(hunting) for hunting in configured_tenants()]
    return dg.Definitions(assets=with_source(summaries))
