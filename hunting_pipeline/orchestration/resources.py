"""The tenant and the lake, as Dagster resources see them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import dagster as dg
from pydantic import Field

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import Partition, TableSpec
from hunting_pipeline.pipeline import Coverage, Pipeline, coverage, open_lake, open_pipeline
from hunting_pipeline.settings import Settings, load_settings, tenant_names

__all__ = ["RECONCILE_TAG", "TENANT_TAG", "HuntingResource", "configured_tenants", "hunting_of"]

RECONCILE_TAG = "hunting/reconcile"
"""On a run: count its archived partitions anew and fetch again what differs, instead of what is missing."""

TENANT_TAG = "hunting/tenant"
"""On assets and runs of one of several tenants: its name."""


class HuntingResource(dg.ConfigurableResource[None]):
    """Opens the pipeline that the `HUNTING_*` settings describe, when a run needs it and not before.

    So a code location loads without a tenant; only materializing then fails, and says what to set.
    """

    tenant: str = Field(default="", description="its name in the settings, where they name several")
    max_wait: float = Field(
        default=120.0,
        description="seconds a step waits for quota at a stretch; a longer wait becomes a retry of the step",
    )

    @property
    def key(self) -> str:
        """Of this resource, and of its steps' pool: a crowd of runs waits in the queue, not in steps."""
        return f"hunting_{self.tenant}" if self.tenant else "hunting"

    @property
    def lake_key(self) -> str:
        """Of the tenant's `HuntingLake`."""
        return f"{self.key}_lake"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What the keys of its assets begin with: nothing where there is but one tenant."""
        return (self.tenant,) if self.tenant else ()

    @property
    def tags(self) -> dict[str, str]:
        """Of its assets and runs."""
        return {TENANT_TAG: self.tenant} if self.tenant else {}

    def owned(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """The asset as the tenant's: its key, its tags, and where assets downstream load it from."""
        named = spec.replace_attributes(key=[*self.prefix, *spec.key.path])
        return named.merge_attributes(tags=self.tags).with_io_manager_key(self.lake_key)

    def settings(self) -> Settings:
        """The tenant's.

        Raises:
            Misconfigured: a setting is wrong.
        """
        return load_settings(self.tenant)

    @contextmanager
    def pipeline(self, *, run_id: str) -> Iterator[Pipeline]:
        """The pipeline, closed at the end; `run_id` goes into the manifests.

        Raises:
            Misconfigured: a setting is missing or wrong, or the lake is another tenant's.
        """
        with open_pipeline(self.settings(), max_wait=self.max_wait, run_id=run_id) as pipeline:
            yield pipeline

    def limits(self) -> Limits:
        """The tenant's limits, its retention among them.

        Raises:
            Misconfigured: a setting is wrong.
        """
        return self.settings().limits_profile

    def lake(self) -> Store:
        """The lake, which need not exist yet.

        Raises:
            Misconfigured: a setting is wrong.
        """
        return open_lake(self.settings())

    def coverage(self, spec: TableSpec, partitions: Sequence[Partition], *, now: int) -> Coverage:
        """What the lake holds of partitions at `now` (ticks), and what is owed. Asks nobody; needs no tenant.

        Raises:
            Misconfigured: a setting is wrong, or the table is archived in another grain.
        """
        retention = self.limits().retention_days
        return coverage(self.lake(), spec, partitions, now=now, retention_days=retention)

    @property
    def sensors(self) -> dg.DefaultSensorStatus:
        """How the tenant's sensors start out: stopped where a run would find no tenant to ask.

        Raises:
            Misconfigured: a setting is wrong.
        """
        settings = self.settings()
        try:
            settings.tenant()
        except Misconfigured:
            return dg.DefaultSensorStatus.STOPPED
        return dg.DefaultSensorStatus.RUNNING


@cache
def hunting_of(tenant: str = "") -> HuntingResource:
    """One object a tenant for all components: Dagster refuses two different ones under one key."""
    return HuntingResource(tenant=tenant)


def configured_tenants() -> tuple[HuntingResource, ...]:
    """Every tenant of the settings: each that has a name, or the one that has none.

    Raises:
        Misconfigured: a setting is wrong.
    """
    found = tuple(map(hunting_of, tenant_names() or [""]))
    for hunting in found:
        hunting.settings()
    return found
