"""Dagster resources: a tenant with its lake and its quota."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import dagster as dg
from pydantic import Field

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.store import LocalStore
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import Partition, TableSpec
from hunting_pipeline.orchestration.keys import TENANT_TAG
from hunting_pipeline.pipeline import Coverage, Pipeline, coverage, open_lake, open_pipeline
from hunting_pipeline.settings import Settings, load_settings, naming, tenant_names

__all__ = ["HuntingResource", "configured_tenants", "hunting_of"]


class HuntingResource(dg.ConfigurableResource[None]):
    """A tenant, as the settings describe it. The pipeline is opened when a run needs it.

    A code location therefore loads without a tenant. A run then fails and says which settings are missing.
    """

    tenant: str = Field(
        default="",
        description=(
            "Name of the tenant in the settings, such as `contoso`. Empty if the settings name no tenants."
        ),
    )
    max_wait: float = Field(
        default=120.0,
        description=(
            "Seconds that a step waits for quota. If the wait is longer, the step ends and Dagster retries it"
            " later. Example: 120."
        ),
    )

    @property
    def key(self) -> str:
        """The key of this resource, and the name of the pool of its steps.

        The pool limits the runs at work. Other runs wait in Dagster's queue.
        """
        return f"hunting_{self.tenant}" if self.tenant else "hunting"

    @property
    def lake_key(self) -> str:
        """The key of the tenant's I/O manager, a `HuntingLake`."""
        return f"{self.key}_lake"

    @property
    def prefix(self) -> tuple[str, ...]:
        """The first part of the tenant's asset keys; empty if the settings name no tenants."""
        return (self.tenant,) if self.tenant else ()

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the tenant's assets and runs."""
        return {TENANT_TAG: self.tenant} if self.tenant else {}

    def owned(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """Return the asset as the tenant's: with its key, its tags and its I/O manager."""
        named = spec.replace_attributes(key=[*self.prefix, *spec.key.path])
        return named.merge_attributes(tags=self.tags).with_io_manager_key(self.lake_key)

    def settings(self) -> Settings:
        """Load the tenant's settings.

        Raises:
            Misconfigured: a setting is wrong.
        """
        return load_settings(self.tenant)

    @contextmanager
    def pipeline(self, *, run_id: str) -> Iterator[Pipeline]:
        """Open the tenant's pipeline, and close it at the end. Manifests record `run_id`.

        Raises:
            Misconfigured: a setting is missing or wrong, or the lake belongs to another tenant.
        """
        with open_pipeline(self.settings(), max_wait=self.max_wait, run_id=run_id) as pipeline:
            yield pipeline

    def limits(self) -> Limits:
        """Return the tenant's limits, such as its retention.

        Raises:
            Misconfigured: a setting is wrong.
        """
        return self.settings().limits_profile

    def lake(self) -> LocalStore:
        """Open the tenant's lake, which need not exist yet.

        Raises:
            Misconfigured: a setting is wrong.
        """
        return open_lake(self.settings())

    def coverage(self, spec: TableSpec, partitions: Sequence[Partition], *, now: int) -> Coverage:
        """Compare partitions with the lake: which are archived, and which spans are missing at `now` (ticks).

        Sends no call and needs no credentials.

        Raises:
            Misconfigured: a setting is wrong, or the table is archived in another grain.
        """
        retention = self.limits().retention_days
        with naming(self.settings()):
            return coverage(self.lake(), spec, partitions, now=now, retention_days=retention)

    @property
    def sensors(self) -> dg.DefaultSensorStatus:
        """The first status of the tenant's sensors: stopped if the settings are not enough to sign in.

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
    """Return the resource of a tenant, always the same object.

    Dagster refuses two different objects under one resource key.
    """
    return HuntingResource(tenant=tenant)


def configured_tenants() -> tuple[HuntingResource, ...]:
    """Return the resource of each tenant in the settings; one without a name if the settings name none.

    Raises:
        Misconfigured: a setting is wrong.
    """
    found = tuple(map(hunting_of, tenant_names() or [""]))
    for hunting in found:
        hunting.settings()
    return found
