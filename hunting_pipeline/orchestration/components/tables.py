"""The component for tables: `type: hunting_pipeline.orchestration.HuntingTables`."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
from pydantic import (
    BaseModel,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
    field_validator,
)

from hunting_pipeline import catalog
from hunting_pipeline.orchestration import metadata
from hunting_pipeline.orchestration.components.config import TableConfig, TenantComponent, scaffold_start
from hunting_pipeline.orchestration.components.located import TEMPLATE, ItemRefused
from hunting_pipeline.orchestration.partitions import partitions_for
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.orchestration.table_asset import checked_asset, kept_tags
from hunting_pipeline.orchestration.table_run import Event, materialize_table

__all__ = ["HuntingTables"]

_PREFIX = "defender"


class _FirstTable(dg.Scaffolder[BaseModel]):
    """The scaffold that `dg scaffold defs` writes. The `defs.yaml` loads without changes."""

    def scaffold(self, request: dg.ScaffoldRequest[BaseModel]) -> None:
        dg.scaffold_component(request, {"start": scaffold_start(), "tables": [{"name": "AlertInfo"}]})


def _unless_template(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    if not isinstance(value, str):
        return read(value)
    if "{{" not in value:
        raise ValueError("`tables` must be a list, such as `- name: AlertInfo`")
    return value


def _in_place(schema: dict[str, Any]) -> None:
    """Replace parts of the JSON schema of `tables`, so `dg check yaml` names the wrong value in a table."""
    tables = next(option for option in schema["anyOf"] if option.get("type") == "array")
    schema["anyOf"] = [tables, {"type": "array"}, TEMPLATE]  # `dg` documents the first option
    schema["items"] = tables["items"]


@cache
def _with_tables_in_place(derived: type[BaseModel]) -> type[BaseModel]:
    """Return the model with one type for `tables`, a list, instead of two: a list or a template.

    If a field may have two types, pydantic does not report which value in a table is wrong.
    """
    tables = tuple[TableConfig.model(), ...]  # type: ignore[misc, valid-type] # made at run time
    given = WrapValidator(_unless_template, json_schema_input_type=tables | str)
    field = derived.model_fields["tables"]
    kept: Any = (Annotated[tables, given], field)
    return create_model(derived.__name__, __base__=derived, tables=kept)


@dg.scaffold_with(_FirstTable)
class HuntingTables(dg.Component, TenantComponent):
    """Hunting tables of Microsoft Defender. Each table becomes one partitioned asset, stored as Parquet.

    To change the asset spec or the execution, override `get_asset_spec` or `execute` in a subclass:

        class OurTables(HuntingTables):
            def get_asset_spec(self, table):
                return super().get_asset_spec(table).merge_attributes(tags={"tier": "gold"})
    """

    tables: list[TableConfig] = Field(
        description="Tables to archive. Example: `- name: AlertInfo`.", json_schema_extra=_in_place
    )
    fresh_hours: float = Field(
        6.0,
        gt=0,
        description="Hours that the archive may lag behind before the check `fresh` warns. Example: 6.",
    )

    @field_validator("tables")
    @classmethod
    def _differ(cls, tables: list[TableConfig]) -> list[TableConfig]:
        names = [table.name for table in tables]
        for item, name in enumerate(names):
            if name in names[:item]:
                raise ItemRefused(item, f"{name} is listed more than once: remove one of the entries")
        return tables

    @classmethod
    def model(cls) -> type[BaseModel]:
        """Return the model of a `defs.yaml`. A mistake in a table is reported at its line."""
        return _with_tables_in_place(super().model())

    def get_asset_spec(self, table: TableConfig) -> dg.AssetSpec:
        """Return the asset spec of a table. `build_defs` adds the tenant's name, if any, to the key."""
        spec, entry = table.spec, catalog.entry(table.name)
        return dg.AssetSpec(
            [_PREFIX, table.name],
            group_name=table.group or self.group or _slug(entry.service),
            description=table.description or metadata.description_of(entry),
            owners=[*self.owners, *table.owners],
            tags={**kept_tags(spec), **self.automation_tags, **self.tags, **table.tags},
            kinds={"microsoft", "parquet"},
            metadata={**metadata.of_asset(spec, entry), **table.source},
            partitions_def=partitions_for(table.grain, self.first_day),
        )

    def execute(
        self, context: dg.AssetExecutionContext, table: TableConfig, *, hunting: HuntingResource
    ) -> Iterator[Event]:
        """Materialize the partitions of a run, and yield an event for each commit.

        Raises:
            dg.Failure: a person must act. All other partitions are committed.
            dg.RetryRequested: the quota is exhausted, or the service is down. Committed partitions stay.
        """
        (key,) = context.selected_asset_keys
        yield from materialize_table(context, table.spec, key=key, hunting=hunting)

    @classmethod
    def get_code_references_for_yaml(
        cls, yaml_path: Path, source_position: Any, context: dg.ComponentLoadContext
    ) -> Sequence[dg.LocalFileCodeReference]:
        """Return no code references, because the asset of each table links to its own line."""
        del yaml_path, source_position, context
        return []

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build an asset with checks for each table and tenant, and the resources of each tenant."""
        del context
        assets = [asset for hunting in self.tenant_resources for asset in self.build_assets(hunting)]
        return dg.Definitions(assets=assets, resources=self.resources)

    def build_assets(self, hunting: HuntingResource) -> list[dg.AssetsDefinition]:
        """Build an asset with checks for each table of one tenant. Your code defines the resources."""
        return [self._asset(table, hunting) for table in self.tables]

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
