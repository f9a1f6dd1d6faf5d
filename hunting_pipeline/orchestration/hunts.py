"""The component of people's own queries: `type: hunting_pipeline.orchestration.HuntingQueries`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.hunt_files import MANUAL, SUFFIX, HuntFile, hunt_file
from hunting_pipeline.orchestration.automation import condition_for, scheduled
from hunting_pipeline.orchestration.config import Tenanted
from hunting_pipeline.orchestration.partitions import partitions_for
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.orchestration.source import code_references
from hunting_pipeline.orchestration.tables import Event, checked_asset, materialize_table

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
    """What `dg scaffold defs` writes: a folder that loads as it is."""

    def scaffold(self, request: dg.ScaffoldRequest[BaseModel]) -> None:
        dg.scaffold_component(request, {})
        (request.target_path / "failed_logons.kql").write_text(_FIRST, "utf-8")


@dg.scaffold_with(_FirstHunt)
class HuntingQueries(dg.Component, Tenanted):
    """Every `.kql` file beside the `defs.yaml`, each as one partitioned asset over Parquet files.

    `get_asset_spec` and `execute` are meant to be overridden in a subclass, as those of `HuntingTables`.
    """

    fresh_hours: float = Field(
        48.0,
        gt=0,
        description="hours that the archive may lag before `fresh` warns; a bin counts when it ends",
    )

    def get_asset_spec(self, hunt: HuntFile) -> dg.AssetSpec:
        """How a hunt looks in Dagster. Of several tenants, the name goes before this key."""
        spec = hunt.spec
        return dg.AssetSpec(
            [_PREFIX, hunt.name],
            group_name=self.group or _PREFIX,
            description=hunt.description or None,
            owners=self.owners,
            tags=self.tags,
            kinds={"microsoft", "parquet"},
            metadata=_metadata(hunt),
            partitions_def=partitions_for(spec.grain, self.first_day),
            automation_condition=_condition(hunt),
        )

    def execute(
        self, context: dg.AssetExecutionContext, hunt: HuntFile, *, hunting: HuntingResource
    ) -> Iterator[Event]:
        """Materialize the run's partitions of a hunt, yielding events as each is committed.

        Raises:
            dg.Failure: a person must act, and the file is named; every partition that could be committed is.
            dg.RetryRequested: the quota is spent, or the service is down; finished work stays.
        """
        (key,) = context.selected_asset_keys
        try:
            yield from materialize_table(context, hunt.spec, key=key, hunting=hunting)
        except dg.Failure as failure:
            said = f"{hunt.path}: {failure.description}"
            raise dg.Failure(said, failure.metadata, allow_retries=failure.allow_retries) from failure

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """One asset a file and tenant with its checks, and the resources of each tenant.

        Raises:
            Misconfigured: a file is wrong, or two bear one name; file and line are named.
        """
        hunts = _all_hunts(Path(context.path))
        assets = [self._asset(hunt, hunting) for hunting in self.hunted for hunt in hunts]
        return dg.Definitions(assets=assets, resources=self.resources)

    def _asset(self, hunt: HuntFile, hunting: HuntingResource) -> dg.AssetsDefinition:
        return checked_asset(
            self.get_asset_spec(hunt),
            hunt.spec,
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
                f"{path}:1: {other.name} is called {hunt.name}, too: names differ by more than case"
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


def _condition(hunt: HuntFile) -> dg.AutomationCondition[Any] | None:
    if hunt.schedule is None:
        return condition_for(hunt.spec)
    return None if hunt.schedule == MANUAL else scheduled(hunt.schedule, hunt.spec)


def _metadata(hunt: HuntFile) -> dict[str, dg.MetadataValue]:
    value, read = dg.MetadataValue, hunt.hunt
    bounds = ", ".join(dict.fromkeys(bound.column for bound in read.bounds))
    whole = "\n".join(f"* {reason}" for reason in read.read_whole)
    return {
        **code_references(hunt.path, 1),
        "dagster/table_name": value.text(hunt.spec.name),
        "time column": value.text(hunt.spec.time_column or "none: a snapshot a day"),
        "file": value.path(str(hunt.path)),
        "query": value.md(f"```kusto\n{hunt.text.strip()}\n```"),
        **({"bounds": value.text(f"{len(read.bounds)} of them, on {bounds}")} if bounds else {}),
        **({"read whole in every call": value.md(whole)} if whole else {}),
    }
