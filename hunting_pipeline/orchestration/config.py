"""What a `defs.yaml` may say of a table. Everything is checked when the code location loads."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Literal, Self, TypeVar

import dagster as dg
from pydantic import BaseModel, Field, PrivateAttr, ValidationError, ValidationInfo, field_validator

from hunting_pipeline import catalog
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.kql import literals
from hunting_pipeline.kql.hunts import check_steady
from hunting_pipeline.model import Grain, TableSpec
from hunting_pipeline.orchestration.lake_io import lake_io
from hunting_pipeline.orchestration.partitions import DEFAULT_START
from hunting_pipeline.orchestration.resources import HuntingResource, configured_tenants, hunting_of
from hunting_pipeline.orchestration.source import code_references

__all__ = ["Described", "Located", "TableConfig", "Tenanted", "accepted"]

Value = TypeVar("Value")


class Located(dg.Model, dg.Resolvable):
    """A piece of YAML whose own rules, too, are reported with file and line."""

    _source: dict[str, dg.CodeReferencesMetadataValue] = PrivateAttr(default_factory=dict)

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Self:
        """Read one piece of YAML.

        Raises:
            ResolutionException: a value breaks a rule; the message shows the line and says what is wrong.
        """
        try:
            resolved: Self = super().resolve_from_model(context, model)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            cause = problem.get("ctx", {}).get("error")
            at = [*problem["loc"], *([cause.item] if isinstance(cause, ItemRefused) else [])]
            for part in at:
                context = context.at_path(part)
            message = problem["msg"].removeprefix("Value error, ")
            field = ".".join(map(str, at)) or cls.__name__
            raise context.build_resolve_fn_exc([message], field_name=field, model=model) from None
        if context.source_position_tree:
            written, _ = context.source_position_tree.lookup_closest_and_path(context.path, None)
            resolved._source = code_references(written.filename, written.start.line)
        return resolved

    @property
    def source(self) -> Mapping[str, dg.CodeReferencesMetadataValue]:
        """Metadata that lead to where it is written; empty for what was not read from a file."""
        return self._source


class ItemRefused(ValueError):
    """An item of a list is wrong; `Located` then shows its line."""

    def __init__(self, item: int, why: str) -> None:
        super().__init__(why)
        self.item = item


def all_accepted(values: list[Value], check: Callable[[Value], object]) -> list[Value]:
    """`values`, if `check` refuses none.

    Raises:
        ItemRefused: it refuses one.
    """
    for item, value in enumerate(values):
        try:
            accepted(value, check)
        except ValueError as error:
            raise ItemRefused(item, str(error)) from None
    return values


def accepted(value: Value, check: Callable[[Value], object]) -> Value:
    """`value`, if `check` does not refuse it.

    Raises:
        ValueError: it does; pydantic then knows the field, and so the line.
    """
    try:
        check(value)
    except (Misconfigured, dg.DagsterInvalidDefinitionError) as error:
        raise ValueError(str(error)) from None
    return value


class Described(Located):
    """What Dagster shows of an asset, or of several, beside what the catalogue knows."""

    group: str | None = Field(None, description="Dagster group; of a component, its service's name if absent")
    owners: list[str] = Field(
        [], description="e-mail addresses or `team:name`; a table's besides its component's"
    )
    tags: dict[str, str] = Field({}, description="Dagster tags; a table's over its component's")

    @field_validator("group")
    @classmethod
    def _is_a_group(cls, group: str | None) -> str | None:
        return accepted(group, lambda group: dg.AssetSpec("asset", group_name=group))

    @field_validator("owners")
    @classmethod
    def _are_owners(cls, owners: list[str]) -> list[str]:
        return all_accepted(owners, lambda owner: dg.AssetSpec("asset", owners=[owner]))

    @field_validator("tags")
    @classmethod
    def _are_tags(cls, tags: dict[str, str]) -> dict[str, str]:
        return accepted(tags, lambda tags: dg.AssetSpec("asset", tags=tags))


class Tenanted(Described):
    """A component whose assets every tenant archives."""

    start: str = Field(
        str(DEFAULT_START),
        description="first day of the archive (YYYY-MM-DD); a later one hides what is archived before it",
    )
    tenants: list[str] | None = Field(
        None,
        min_length=1,
        description="names of tenants, where the settings name several: those that have these; all if absent",
    )

    @field_validator("start")
    @classmethod
    def _is_a_day(cls, start: str) -> str:
        date.fromisoformat(start)
        return start

    @field_validator("tenants")
    @classmethod
    def _are_tenants(cls, tenants: list[str] | None) -> list[str] | None:
        return tenants and all_accepted(tenants, lambda name: hunting_of(name).settings())

    @property
    def first_day(self) -> date:
        """Of the archive."""
        return date.fromisoformat(self.start)

    def resource(self, tenant: str) -> HuntingResource:
        """What opens the pipeline of a tenant ("" is the only one); reads the settings when a run starts."""
        return hunting_of(tenant)

    @property
    def hunted(self) -> list[HuntingResource]:
        """One resource a tenant.

        Raises:
            Misconfigured: a setting is wrong.
        """
        names = self.tenants or [hunting.tenant for hunting in configured_tenants()]
        return [self.resource(name) for name in dict.fromkeys(names)]

    @property
    def resources(self) -> dict[str, object]:
        """What the assets of these tenants need."""
        lakes = {hunting.lake_key: lake_io(hunting.tenant) for hunting in self.hunted}
        return {**lakes, **{hunting.key: hunting for hunting in self.hunted}}


class TableConfig(Described):
    """One hunting table to archive."""

    name: str = Field(description="the table's name in the service, such as DeviceProcessEvents")
    grain: Grain = Field(
        Grain.DAY, description="length of a partition: `day`, or `hour` for the few tables that need it"
    )
    columns: list[str] = Field([], description="columns to ask for, the time column besides; all if empty")
    where: str = Field("", description="a KQL predicate that every row must fulfil; all rows if empty")
    policy: Literal["evolve", "freeze"] = Field(
        "evolve", description="whether new columns are taken in, or stop the partition"
    )
    description: str | None = Field(None, description="Markdown, instead of one made from the catalogue")

    @property
    def spec(self) -> TableSpec:
        """What the pipeline is told of the table."""
        return catalog.spec(
            self.name,
            grain=self.grain,
            columns=tuple(self.columns),
            where=self.where,
            evolve=self.policy == "evolve",
        )

    @field_validator("name")
    @classmethod
    def _is_a_table(cls, name: str) -> str:
        return accepted(name, catalog.entry)

    @field_validator("grain")
    @classmethod
    def _suits_the_table(cls, grain: Grain, info: ValidationInfo) -> Grain:
        name = info.data.get("name")
        return accepted(grain, lambda grain: name and catalog.spec(name, grain=grain))

    @field_validator("columns")
    @classmethod
    def _are_columns(cls, columns: list[str], info: ValidationInfo) -> list[str]:
        name = info.data.get("name")
        all_accepted(columns, literals.name)
        return all_accepted(columns, catalog.entry(name).check_column) if name else columns

    @field_validator("where")
    @classmethod
    def _is_a_predicate(cls, where: str, info: ValidationInfo) -> str:
        if not where:
            return where
        accepted(where, literals.predicate)
        if name := info.data.get("name"):
            accepted(where, lambda where: check_steady(where, catalog.entry(name).time_column))
        return where
