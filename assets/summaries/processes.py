"""A table computed from an archived one: each day's processes by what they are, a worked example to copy."""

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
    """Starts and devices of each program."""
    columns = events.to_table(columns=["FileName", "ProcessVersionInfoCompanyName", "DeviceId"])
    programs = columns.group_by(["FileName", "ProcessVersionInfoCompanyName"])
    counted = programs.aggregate([([], "count_all"), ("DeviceId", "count_distinct")])
    names = {"count_all": "Starts", "DeviceId_count_distinct": "Devices"}
    return counted.rename_columns(names).sort_by([("Starts", "descending")])


def processes_by_day(hunting: HuntingResource) -> dg.AssetsDefinition:
    """The asset of a tenant: a partition follows whenever that of `DeviceProcessEvents` is committed anew."""

    @dg.asset(
        key=[*hunting.prefix, "summary", "ProcessesByDay"],
        ins={"events": dg.AssetIn([*hunting.prefix, "defender", "DeviceProcessEvents"])},
        partitions_def=partitions_for(Grain.DAY),
        automation_condition=computed_condition(),
        io_manager_key=hunting.lake_key,
        group_name="summaries",
        kinds={"parquet"},
        tags=hunting.tags,
        description="Starts of each program by day, and on how many devices.",
    )
    def _processes_by_day(events: ds.Dataset) -> pa.Table:
        return summarised(events)

    return _processes_by_day


@dg.definitions
def defs() -> dg.Definitions:
    """One asset a tenant."""
    summaries = [processes_by_day(hunting) for hunting in configured_tenants()]
    return dg.Definitions(assets=with_source(summaries))
