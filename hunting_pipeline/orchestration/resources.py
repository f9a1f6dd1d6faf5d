"""The tenant and the lake, as Dagster resources see them."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.pipeline import Pipeline, open_pipeline
from hunting_pipeline.settings import load_settings

__all__ = ["HUNTING", "HuntingResource", "tenant_configured"]


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


HUNTING = HuntingResource()
"""One object for all components: Dagster refuses two different ones under one key."""


def tenant_configured() -> bool:
    """Whether a run would find a tenant to ask."""
    try:
        load_settings().tenant()
    except Misconfigured:
        return False
    return True
