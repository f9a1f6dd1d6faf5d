"""The component for hunts (your own queries): `type: hunting_pipeline.orchestration.HuntingQueries`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.hunt import SUFFIX
from hunting_pipeline.hunt_files import MANUAL, HuntFile, hunt_file
from hunting_pipeline.model import TableSpec, TimestampUnit
from hunting_pipeline.orchestration.automation.conditions import scheduled
from hunting_pipeline.orchestration.components.config import TIMESTAMP_UNIT, TenantComponent, scaffold_start
from hunting_pipeline.orchestration.keys import COLUMN_LINEAGE, TABLE_NAME
from hunting_pipeline.orchestration.markdown import code_block, plain
from hunting_pipeline.orchestration.partitions import partitions_for
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.orchestration.service import service_key
from hunting_pipeline.orchestration.source import code_references
from hunting_pipeline.orchestration.table_asset import checked_asset, kept_tags
from hunting_pipeline.orchestration.table_run import Event, materialize_table

__all__ = ["HuntingQueries"]

_PREFIX = "hunts"


_FIRST = """\
// description: Failed logons of each device, by the hour.
// time: Period
DeviceLogonEvents
| where ActionType == "LogonFailed"
| summarize Failed = count() by DeviceId, Period = bin(Timestamp, 1h)
"""


class _FirstHunt(dg.Scaffolder[BaseModel]):
    """The scaffold that `dg scaffold defs` writes. The folder loads without changes."""

    def scaffold(self, request: dg.ScaffoldRequest[BaseModel]) -> None:
        dg.scaffold_component(request, {"start": scaffold_start()})
        (request.target_path / "failed_logons.kql").write_text(_FIRST, "utf-8")


@dg.scaffold_with(_FirstHunt)
class HuntingQueries(dg.Component, TenantComponent):
    """Hunts: each `.kql` file in the folder of the `defs.yaml` becomes one partitioned asset.

    To change the asset spec or the execution, override `get_asset_spec` or `execute` in a subclass. For an
    example, see `HuntingTables`.
    """

    fresh_hours: float = Field(
        48.0,
        gt=0,
        description=(
            "Hours that the archive may lag behind before the check `fresh` warns. For a summary, the lag is"
            " measured from the end of the last time bin. Example: 48."
        ),
    )

    timestamp_unit: TimestampUnit | None = TIMESTAMP_UNIT

    def get_asset_spec(self, hunt: HuntFile) -> dg.AssetSpec:
        """Return the asset spec of a hunt. `build_defs` adds the tenant's name, if any, to the key."""
        spec = self._spec(hunt)
        tags, condition = _automation(hunt)
        return dg.AssetSpec(
            [_PREFIX, hunt.name],
            group_name=self.group or _PREFIX,
            description=plain(hunt.description) or None,
            owners=self.owners,
            tags={**tags, **self.automation_tags, **self.tags},
            kinds={"microsoft", "parquet"},
            metadata=_metadata(hunt),
            partitions_def=partitions_for(spec.grain, self.first_day),
            automation_condition=condition,
        )

    def execute(
        self, context: dg.AssetExecutionContext, hunt: HuntFile, *, hunting: HuntingResource
    ) -> Iterator[Event]:
        """Materialize the partitions of a run, and yield an event for each commit.

        Raises:
            dg.Failure: a person must act. The message names the file. All other partitions are committed.
            dg.RetryRequested: the quota is exhausted, or the service is down. Committed partitions stay.
        """
        (key,) = context.selected_asset_keys
        try:
            yield from materialize_table(context, self._spec(hunt), key=key, hunting=hunting)
        except dg.Failure as failure:
            message = f"{hunt.path}: {failure.description}"
            raise dg.Failure(message, failure.metadata, allow_retries=failure.allow_retries) from failure

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build an asset with checks for each file and tenant, and the resources of each tenant.

        Raises:
            Misconfigured: a file is wrong, or two hunts have the same name. The message names file and line.
        """
        hunts = _all_hunts(Path(context.path))
        assets = [self._asset(hunt, hunting) for hunting in self.tenant_resources for hunt in hunts]
        return dg.Definitions(assets=assets, resources=self.resources)

    def _spec(self, hunt: HuntFile) -> TableSpec:
        return replace(hunt.spec, timestamp_unit=self.timestamp_unit)

    def _asset(self, hunt: HuntFile, hunting: HuntingResource) -> dg.AssetsDefinition:
        return checked_asset(
            self.get_asset_spec(hunt).merge_attributes(**_lineage(hunt, hunting)),
            self._spec(hunt),
            hunting=hunting,
            start=self.first_day,
            fresh_hours=self.fresh_hours,
            execute=lambda context, hunting: self.execute(context, hunt, hunting=hunting),
        )


def _all_hunts(folder: Path) -> list[HuntFile]:
    found: dict[str, Path] = {}
    hunts = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        hunt = hunt_file(path)
        _check_schedule(hunt)
        other = found.setdefault(hunt.name.lower(), path)
        if other != path:
            raise Misconfigured(
                f"{path}:1: {other.name} has the same name {hunt.name}; names are compared without case."
                " Rename one of the two hunts."
            )
        hunts.append(hunt)
    return hunts


def _check_schedule(hunt: HuntFile) -> None:
    if hunt.schedule in (None, MANUAL):
        return
    try:
        dg.ScheduleDefinition(cron_schedule=hunt.schedule, job_name=hunt.name)
    except dg.DagsterInvalidDefinitionError:
        raise hunt.error(
            "schedule", f"schedule: {hunt.schedule!r} is neither a cron expression nor `{MANUAL}`"
        ) from None


def _automation(hunt: HuntFile) -> tuple[dict[str, str], dg.AutomationCondition[Any] | None]:
    """Return the tags and the condition by which the automation requests a hunt."""
    if hunt.schedule is None:
        return kept_tags(hunt.spec), None
    return {}, None if hunt.schedule == MANUAL else scheduled(hunt.schedule, hunt.spec)


def _lineage(hunt: HuntFile, hunting: HuntingResource) -> dict[str, Any]:
    """Return the attributes of an asset that link it to the tables that it reads in the service.

    A dependency on the archived tables would be wrong: a hunt does not read them. Dagster would also skip the
    hunt in a run with one of them, because an archived table yields no output.
    """
    service = {table: service_key(table, hunting.prefix) for table in hunt.tables}
    table, origins = hunt.unchanged
    columns = {
        column: [dg.TableColumnDep(asset_key=service[table], column_name=origin)]
        for column, origin in origins.items()
    }
    lineage = dg.MetadataValue.column_lineage(dg.TableColumnLineage(columns))
    return {"deps": list(service.values()), "metadata": {COLUMN_LINEAGE: lineage} if columns else {}}


def _metadata(hunt: HuntFile) -> dict[str, dg.MetadataValue]:
    value, read = dg.MetadataValue, hunt.hunt
    bounds = ", ".join(dict.fromkeys(bound.column for bound in read.bounds))
    whole = "; ".join(read.read_whole)
    return {
        **code_references(hunt.path, 1),
        TABLE_NAME: value.text(hunt.spec.name),
        "time column": value.text(hunt.spec.time_column or "none: one snapshot each day"),
        "file": value.path(str(hunt.path)),
        "query": code_block(hunt.text.strip(), language="kusto"),
        **({"time filters": value.text(f"{len(read.bounds)}, on {bounds}")} if bounds else {}),
        **({"read in full by every call": value.text(whole)} if whole else {}),
    }
