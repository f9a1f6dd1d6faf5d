"""The component that a `defs.yaml` names: `type: hunting_pipeline.orchestration.HuntingTables`."""

from collections.abc import Iterator

import dagster as dg
from pydantic import BaseModel, Field, field_validator

from hunting_pipeline import catalog
from hunting_pipeline.orchestration import metadata
from hunting_pipeline.orchestration.automation import condition_for
from hunting_pipeline.orchestration.config import TableConfig, Tenanted
from hunting_pipeline.orchestration.partitions import partitions_for
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.orchestration.tables import Event, checked_asset, materialize_table

__all__ = ["HuntingTables"]

_PREFIX = "defender"


class _FirstTable(dg.Scaffolder[BaseModel]):
    """What `dg scaffold defs` writes: a file that loads as it is."""

    def scaffold(self, request: dg.ScaffoldRequest[BaseModel]) -> None:
        dg.scaffold_component(request, {"tables": [{"name": "AlertInfo"}]})


@dg.scaffold_with(_FirstTable)
class HuntingTables(dg.Component, Tenanted):
    """Hunting tables of Microsoft Defender, each as one partitioned asset over Parquet files.

    `get_asset_spec` and `execute` are meant to be overridden in a subclass:

        class OurTables(HuntingTables):
            def get_asset_spec(self, table):
                return super().get_asset_spec(table).merge_attributes(tags={"tier": "gold"})
    """

    tables: list[TableConfig] = Field(description="the tables to archive")
    fresh_hours: float = Field(6.0, gt=0, description="hours that the archive may lag before `fresh` warns")

    @field_validator("tables")
    @classmethod
    def _differ(cls, tables: list[TableConfig]) -> list[TableConfig]:
        names = [table.name for table in tables]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)}: listed more than once")
        return tables

    def get_asset_spec(self, table: TableConfig) -> dg.AssetSpec:
        """How a table looks in Dagster. Of several tenants, the name goes before this key."""
        spec, entry = table.spec, catalog.entry(table.name)
        return dg.AssetSpec(
            [_PREFIX, table.name],
            group_name=table.group or self.group or _slug(entry.service),
            description=table.description or metadata.description_of(entry),
            owners=[*self.owners, *table.owners],
            tags={**self.tags, **table.tags},
            kinds={"microsoft", "parquet"},
            metadata=metadata.of_asset(spec, entry),
            partitions_def=partitions_for(table.grain, self.first_day),
            automation_condition=condition_for(spec),
        )

    def execute(
        self, context: dg.AssetExecutionContext, table: TableConfig, *, hunting: HuntingResource
    ) -> Iterator[Event]:
        """Materialize the run's partitions of a table, yielding events as each is committed.

        Raises:
            dg.Failure: a person must act; every partition that could be committed is.
            dg.RetryRequested: the quota is spent, or the service is down; finished work stays.
        """
        (key,) = context.selected_asset_keys
        yield from materialize_table(context, table.spec, key=key, hunting=hunting)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """One asset a table and tenant with its checks, and the resources of each tenant."""
        del context
        assets = [self._asset(table, hunting) for hunting in self.hunted for table in self.tables]
        return dg.Definitions(assets=assets, resources=self.resources)

    def _asset(self, table: TableConfig, hunting: HuntingResource) -> dg.AssetsDefinition:
        return checked_asset(
            self.get_asset_spec(table),
            table.spec,
            hunting=hunting,
            start=self.first_day,
            fresh_hours=self.fresh_hours,
            execute=lambda context, hunting: self.execute(context, table, hunting=hunting),
        )


def _slug(service: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in service.lower()).split()
    return "_".join(words)
