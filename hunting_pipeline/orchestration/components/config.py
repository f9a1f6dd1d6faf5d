"""The attributes of a `defs.yaml`. All values are checked when the code location loads."""

import time
from datetime import date
from typing import Any, Literal

import dagster as dg
from pydantic import BaseModel, Field, ValidationInfo, field_validator

from hunting_pipeline import catalog
from hunting_pipeline.kql import literals
from hunting_pipeline.kql.hunts import check_steady
from hunting_pipeline.limits import GRAPH
from hunting_pipeline.model import SECOND, Grain, TableSpec, TimestampUnit
from hunting_pipeline.orchestration.components.located import Located, check_all, checked, matching, one_of
from hunting_pipeline.orchestration.keys import AUTOMATED_TAG
from hunting_pipeline.orchestration.partitions import DEFAULT_START
from hunting_pipeline.orchestration.resources import HuntingResource, configured_tenants, hunting_of
from hunting_pipeline.window import first_day

__all__ = ["TIMESTAMP_UNIT", "Described", "TableConfig", "TenantComponent", "scaffold_start"]


TIMESTAMP_UNIT = Field(
    None,
    description=(
        "Unit of times in the files: `ns`, or `us` with columns of exact ticks beside the times. The default"
        " is the setting `timestamp_unit`. Example: `us`."
    ),
    json_schema_extra=one_of([*TimestampUnit, None]),
)


class Described(Located):
    """Attributes that Dagster shows for one asset or for all assets of a component."""

    group: str | None = Field(
        None,
        description=(
            "Dagster group. The default for a table is the group of its component, or else the name of its"
            " service. Example: `email`."
        ),
        json_schema_extra=matching("[A-Za-z0-9_]+"),
    )
    owners: list[str] = Field(
        [],
        description=(
            "Owners: e-mail addresses or `team:name`. The owners of a table are added to those of its"
            " component. Example: `[team:soc]`."
        ),
        json_schema_extra={"items": matching(r"team:.+|.+@.+")},
    )
    tags: dict[str, str] = Field(
        {},
        description=(
            "Dagster tags. A tag of a table replaces a tag of its component that has the same key."
            " Example: `{tier: gold}`."
        ),
    )

    @field_validator("group")
    @classmethod
    def _is_a_group(cls, group: str | None) -> str | None:
        return checked(group, lambda group: dg.AssetSpec("asset", group_name=group))

    @field_validator("owners")
    @classmethod
    def _are_owners(cls, owners: list[str]) -> list[str]:
        return check_all(owners, lambda owner: dg.AssetSpec("asset", owners=[owner]))

    @field_validator("tags")
    @classmethod
    def _are_tags(cls, tags: dict[str, str]) -> dict[str, str]:
        return checked(tags, lambda tags: dg.AssetSpec("asset", tags=tags))


class TenantComponent(Described):
    """The attributes of a component that builds its assets for each tenant."""

    start: str = Field(
        str(DEFAULT_START),
        description=(
            "First day of the archive (YYYY-MM-DD). Dagster has no partitions before that day."
            " Example: `2026-01-01`."
        ),
        json_schema_extra=matching(r"\d{4}-\d\d-\d\d"),
    )
    tenants: list[str] | None = Field(
        None,
        min_length=1,
        description=(
            "Tenants to build the assets for, by their names in the settings. The default is all tenants."
            " Example: `[contoso]`."
        ),
    )

    automation: bool | None = Field(
        None,
        description=(
            "Whether Dagster requests the partitions and checks of these assets by itself. The default is the"
            " setting `automation`, which is off. Example: `true`."
        ),
    )

    own_resources: bool = Field(
        False,
        description=(
            "Whether your project itself defines the resources `hunting` and `hunting_lake` of these assets."
            " The component then defines none. Example: `true`."
        ),
    )

    @field_validator("start")
    @classmethod
    def _is_a_day(cls, start: str) -> str:
        date.fromisoformat(start)
        return start

    @field_validator("tenants")
    @classmethod
    def _are_tenants(cls, tenants: list[str] | None) -> list[str] | None:
        return tenants and check_all(tenants, lambda name: hunting_of(name).settings())

    @property
    def first_day(self) -> date:
        """The first day of the archive."""
        return date.fromisoformat(self.start)

    def resource(self, tenant: str) -> HuntingResource:
        """Return the resource that opens a tenant's pipeline. The resource reads the settings in each run.

        Args:
            tenant: the name of the tenant; "" if the settings name no tenants.
        """
        return hunting_of(tenant)

    @property
    def automation_tags(self) -> dict[str, str]:
        """The tag that says whether the sensors of these assets run by default; none for the setting."""
        return {} if self.automation is None else {AUTOMATED_TAG: "on" if self.automation else "off"}

    @property
    def tenant_resources(self) -> list[HuntingResource]:
        """One resource for each tenant of this component.

        Raises:
            Misconfigured: a setting is wrong.
        """
        names = self.tenants or [hunting.tenant for hunting in configured_tenants()]
        return [self.resource(name) for name in dict.fromkeys(names)]

    @property
    def resources(self) -> dict[str, object]:
        """The resources that the assets of these tenants need; none with `own_resources`."""
        tenants = [] if self.own_resources else self.tenant_resources
        return {key: resource for hunting in tenants for key, resource in hunting.resources.items()}


class TableConfig(Described):
    """A hunting table to archive."""

    name: str = Field(
        description="Name of the table in the service. Example: `DeviceProcessEvents`.",
        json_schema_extra=one_of(list(catalog.catalog())),
    )
    grain: Grain = Field(
        Grain.DAY,
        description="Length of a partition: `day`, or `hour` for very large tables. Example: `hour`.",
        json_schema_extra=one_of(list(Grain)),
    )
    columns: list[str] = Field(
        [],
        description=(
            "Columns to archive. The time column is always archived. Empty means all columns."
            " Example: `[Subject, SenderFromAddress]`."
        ),
        json_schema_extra={"items": matching(literals.NAME)},
    )
    where: str = Field(
        "",
        description=(
            "KQL predicate that selects the rows to archive. Empty means all rows."
            " Example: `ActionType == 'LogonFailed'`."
        ),
    )
    policy: Literal["evolve", "freeze"] = Field(
        "evolve",
        description=(
            "Policy for new columns of the service: `evolve` archives a new column, `freeze` refuses a"
            " partition with a new column. Example: `freeze`."
        ),
        json_schema_extra=one_of(["evolve", "freeze"]),
    )
    timestamp_unit: TimestampUnit | None = TIMESTAMP_UNIT
    description: str | None = Field(
        None,
        description=(
            "Description of the asset in Markdown. The default comes from the catalogue of tables."
            " Example: `Mail that was delivered.`"
        ),
    )

    @classmethod
    def model(cls) -> type[BaseModel]:
        """Return the model of a table. Its JSON schema refuses an hourly snapshot."""
        model = super().model()
        snapshots = [known.name for known in catalog.catalog().values() if known.time_column is None]
        hourly = {"name": {"enum": snapshots}, "grain": {"const": "hour"}}
        only_daily = {"properties": {"grain": {"enum": ["day"]}}}
        rule: dict[str, Any] = {"if": {"properties": hourly, "required": list(hourly)}, "then": only_daily}
        model.model_config["json_schema_extra"] = {**_extra_of(model), **rule}
        return model

    @property
    def spec(self) -> TableSpec:
        """The table in the form that the pipeline uses."""
        return catalog.spec(
            self.name,
            grain=self.grain,
            columns=tuple(self.columns),
            where=self.where,
            evolve=self.policy == "evolve",
            timestamp_unit=self.timestamp_unit,
        )

    @field_validator("name")
    @classmethod
    def _is_a_table(cls, name: str) -> str:
        return checked(name, catalog.entry)

    @field_validator("grain")
    @classmethod
    def _suits_the_table(cls, grain: Grain, info: ValidationInfo) -> Grain:
        name = info.data.get("name")
        return checked(grain, lambda grain: name and catalog.spec(name, grain=grain))

    @field_validator("columns")
    @classmethod
    def _are_columns(cls, columns: list[str], info: ValidationInfo) -> list[str]:
        name = info.data.get("name")
        check_all(columns, literals.name)
        return check_all(columns, catalog.entry(name).check_column) if name else columns

    @field_validator("where")
    @classmethod
    def _is_a_predicate(cls, where: str, info: ValidationInfo) -> str:
        if not where:
            return where
        checked(where, literals.predicate)
        if name := info.data.get("name"):
            checked(where, lambda where: check_steady(where, catalog.entry(name).time_column))
        return where


def _extra_of(model: type[BaseModel]) -> dict[str, Any]:
    extra = model.model_config.get("json_schema_extra")
    return dict(extra) if isinstance(extra, dict) else {}


def scaffold_start() -> str:
    """Return the `start` of a new `defs.yaml`. All partitions since that day can still be fetched today."""
    return str(first_day(round(time.time() * SECOND), GRAPH.retention_days))
