"""The tenant and the lake, as Dagster resources see them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.store import LocalStore
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import Partition, TableSpec
from hunting_pipeline.pipeline import Coverage, Pipeline, coverage, open_lake, open_pipeline
from hunting_pipeline.settings import load_settings

__all__ = ["HUNTING", "POOL", "RECONCILE_TAG", "HuntingResource", "tenant_configured"]

POOL = "hunting"
"""Steps that ask the tenant: with a small limit, a crowd of runs waits in the queue and not in its steps."""

RECONCILE_TAG = "hunting/reconcile"
"""On a run: count its archived partitions anew and fetch again what differs, instead of what is missing."""


class HuntingResource(dg.ConfigurableResource[None]):
    """Opens the pipeline that the `HUNTING_*` settings describe, when a run needs it and not before.

    So a code location loads without a tenant; only materializing then fails, and says what to set.
    """

    patience: float = Field(
        default=120.0,
        description="seconds a step waits for quota at a stretch; a longer wait becomes a retry of the step",
    )

    @contextmanager
    def pipeline(self, *, run_id: str) -> Iterator[Pipeline]:
        """The pipeline, closed at the end; `run_id` goes into the manifests.

        Raises:
            Misconfigured: a setting is missing or wrong, or the lake is another tenant's.
        """
        with open_pipeline(load_settings(), patience=self.patience, run_id=run_id) as pipeline:
            yield pipeline

    def limits(self) -> Limits:
        """The tenant's limits, its retention among them.

        Raises:
            Misconfigured: a setting is wrong.
        """
        return load_settings().limits_profile

    def lake(self) -> LocalStore:
        """The lake, which need not exist yet.

        Raises:
            Misconfigured: a setting is wrong.
        """
        return open_lake(load_settings())

    def coverage(self, spec: TableSpec, partitions: Sequence[Partition], *, now: int) -> Coverage:
        """What the lake holds of partitions at `now` (ticks), and what is owed. Asks nobody; needs no tenant.

        Raises:
            Misconfigured: a setting is wrong, or the table is archived in another grain.
        """
        retention = self.limits().retention_days
        return coverage(self.lake(), spec, partitions, now=now, retention_days=retention)


HUNTING = HuntingResource()
"""One object for all components: Dagster refuses two different ones under one key."""


def tenant_configured() -> bool:
    """Whether a run would find a tenant to ask."""
    try:
        load_settings().tenant()
    except Misconfigured:
        return False
    return True
