"""Dagster resources: a tenant with its lake and its quota."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from typing import Any

import dagster as dg
from pydantic import Field

from hunting_pipeline.api import Hunting
from hunting_pipeline.errors import HuntingError, Misconfigured, Refused
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import Partition, TableSpec
from hunting_pipeline.orchestration.io.lake import HuntingLake, lake_io
from hunting_pipeline.orchestration.keys import TENANT_TAG
from hunting_pipeline.orchestration.outcomes import errors_as_outcomes
from hunting_pipeline.orchestration.stated import StatedSettings
from hunting_pipeline.pipeline import Coverage, Pipeline, coverage, open_lake, open_pipeline, open_quota
from hunting_pipeline.quota import Ledger
from hunting_pipeline.settings import naming, tenant_names

__all__ = ["HuntingResource", "configured_tenants", "hunting_of"]


_refused: dict[tuple[str, str], HuntingError] = {}
"""The error that ended a step of the present run, and that would end all its other steps of the same tenant.
The key is the run's id and the key of the tenant's resource."""


class HuntingResource(StatedSettings, dg.ConfigurableResource[None]):
    """A tenant. The resource opens the tenant's pipeline only when a run needs it.

    Therefore a code location loads without credentials. A run without credentials fails, and its message
    names the missing settings. Fields that are not set come from the variables and from `hunting.toml`.
    """

    max_wait: float = Field(
        default=120.0,
        description=(
            "Seconds that a step waits for quota. If the wait is longer, the step ends and Dagster retries it"
            " later. Example: 120."
        ),
    )

    @property
    def key(self) -> str:
        """The key of this resource. It is also the name of the Dagster pool of the tenant's steps.

        The pool limits how many steps run at once. Other runs wait in Dagster's queue.
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

    @property
    def resources(self) -> dict[str, Any]:
        """This resource and the tenant's I/O manager, by their keys, for `dg.Definitions`."""
        lake = HuntingLake(tenant=self.tenant, **self.stated) if self.stated else lake_io(self.tenant)
        return {self.key: self, self.lake_key: lake}

    def asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """Return a copy of `spec` for the tenant, with the tenant's key prefix, tags and I/O manager."""
        named = spec.replace_attributes(key=[*self.prefix, *spec.key.path])
        return named.merge_attributes(tags=self.tags).with_io_manager_key(self.lake_key)

    @contextmanager
    def connect(self) -> Generator[Hunting]:
        """Connect to the tenant, for queries, pulls and reads in your own assets and ops.

        All calls go through the tenant's quota ledger. In a step, an error becomes a result of the step: if
        the quota is exhausted or the service is down, Dagster retries the step later.

        Raises:
            dg.Failure: a person must act.
            dg.RetryRequested: the quota is exhausted, or the service is down.
        """
        with (
            errors_as_outcomes(dg.get_dagster_logger()),
            Hunting(self.settings(), max_wait=self.max_wait) as hunting,
        ):
            yield hunting

    @contextmanager
    def pipeline(self, *, run_id: str, background: bool = False) -> Iterator[Pipeline]:
        """Open the tenant's pipeline, and close it at the end of the `with` block. Manifests record `run_id`.

        With `background`, the calls of people go first. If the tenant refused an earlier step of the run, the
        error is raised again, without a sign-in.

        Raises:
            Misconfigured: a setting is missing or wrong, or the lake belongs to another tenant.
            Refused: the tenant refused an earlier step of the run.
        """
        step = run_id, self.key
        if step in _refused:
            raise _refused[step]
        settings = self.settings()
        try:
            with open_pipeline(
                settings, max_wait=self.max_wait, run_id=run_id, background=background
            ) as pipeline:
                yield pipeline
        except (Misconfigured, Refused) as error:
            if error.everything:
                for earlier in [one for one in _refused if one[0] != run_id]:
                    del _refused[earlier]
                _refused[step] = error
            raise

    def open_ledger(self) -> AbstractContextManager[Ledger]:
        """Open the tenant's quota ledger, and close it at the end of the `with` block.

        Raises:
            Misconfigured: a setting is missing or wrong, or the ledger cannot be opened.
            ServiceFailed: the database server does not answer.
        """
        return closing(open_quota(self.settings()))

    def limits_profile(self) -> Limits:
        """Return the tenant's limits, such as its retention.

        Raises:
            Misconfigured: a setting is wrong.
        """
        return self.settings().limits_profile

    def open_lake(self) -> Store:
        """Open the tenant's lake. The folder need not exist yet.

        Raises:
            Misconfigured: a setting is wrong.
        """
        return open_lake(self.settings())

    def coverage(self, spec: TableSpec, partitions: Sequence[Partition], *, now: int) -> Coverage:
        """Find which partitions are archived, and which spans are missing at `now` (ticks).

        This method sends no API call and needs no credentials.

        Raises:
            Misconfigured: a setting is wrong, or the table is archived in another grain or unit of times.
        """
        settings, retention = self.settings(), self.limits_profile().retention_days
        with naming(settings):
            spec = settings.completed(spec)
            return coverage(self.open_lake(), spec, partitions, now=now, retention_days=retention)


@cache
def hunting_of(tenant: str = "") -> HuntingResource:
    """Return the resource of a tenant. Each call for the same tenant returns the same object.

    Dagster refuses two different objects under one resource key.
    """
    return HuntingResource(tenant=tenant)


def configured_tenants() -> tuple[HuntingResource, ...]:
    """Return the resource of each tenant in the settings. If no tenant has a name, return one resource.

    Raises:
        Misconfigured: a setting is wrong.
    """
    found = tuple(map(hunting_of, tenant_names() or [""]))
    for hunting in found:
        hunting.settings()
    return found
