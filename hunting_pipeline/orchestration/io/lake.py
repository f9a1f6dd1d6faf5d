"""The I/O manager: downstream assets load partitions of tables, and store computed tables."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake import derived, read
from hunting_pipeline.lake.commit import claim
from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.lake.listing import archived_partitions
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import Partition, partition_from_key
from hunting_pipeline.orchestration import metadata
from hunting_pipeline.orchestration.keys import TABLE_NAME
from hunting_pipeline.orchestration.outcomes import errors_as_outcomes
from hunting_pipeline.orchestration.stated import StatedSettings
from hunting_pipeline.pipeline import open_lake
from hunting_pipeline.pipeline.health import list_some
from hunting_pipeline.settings import naming

__all__ = ["HuntingLake", "lake_io"]

_LOADERS: Mapping[type, Callable[[ds.Dataset], Any]] = MappingProxyType(
    {
        ds.Dataset: lambda dataset: dataset,
        pa.Table: lambda dataset: dataset.to_table(),
        pd.DataFrame: read.frame_of,
    }
)
"""The function that converts a dataset to the type of the input's annotation."""


class HuntingLake(StatedSettings, dg.ConfigurableIOManager):
    """An I/O manager that loads tables from the lake and stores computed tables in the lake.

    An input gets the upstream partitions of the partitions that the run materializes. If the downstream asset
    has no partitions, the input gets the whole archive. The annotation of the input decides the type:
    `pandas.DataFrame` (backed by Arrow), `pyarrow.Table` or `pyarrow.dataset.Dataset`. A `Dataset` reads
    only the columns and rows that the asset selects.

    An output is a `pyarrow.Table` or a `pandas.DataFrame` with the rows of one partition. The last part of
    the asset key is the name of the table.
    """

    def load_input(self, context: dg.InputContext) -> Any:
        """Load the partitions of an input.

        Raises:
            dg.Failure: a partition is not in the lake, the lake belongs to another tenant, or the annotation
                is not one of the three types.
        """
        with errors_as_outcomes(context.log):
            load, table = _loader_of(context), _table_of(context)
            partitions = _requested(context, table)
            amount = "the whole archive" if partitions is None else f"{len(partitions)} partitions"
            context.log.info("%s: loading %s", table, amount)
            return load(_dataset(self._store(), table, partitions))

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Replace one partition of a computed table.

        Raises:
            dg.Failure: the output is not a table, is not exactly one partition, or would replace rows of an
                archived table.
        """
        with errors_as_outcomes(context.log):
            table, rows = context.asset_key.path[-1], _rows(obj)
            keys = context.asset_partition_keys if context.has_asset_partitions else ()
            if len(keys) != 1:
                raise Misconfigured(
                    f"{table}: an output must be exactly one partition, but this run has {len(keys)}."
                    " Nothing was written. Give the asset daily or hourly partitions,"
                    " and a backfill policy with one partition in each run."
                )
            store, partition = self._store(), partition_from_key(table, keys[0])
            size = derived.write(store, partition, rows)
            described = metadata.of_computed(rows, size, uri=store.uri(data_path(partition)))
            context.add_output_metadata(described)

    def _store(self) -> Store:
        settings = self.settings()
        store = open_lake(settings)
        if settings.tenant_id is not None:  # reading needs no credentials
            with naming(settings):
                claim(store, settings.tenant_id, write=False)
        return store


@cache
def lake_io(tenant: str = "") -> HuntingLake:
    """Return the I/O manager of a tenant. Each call for the same tenant returns the same object.

    Dagster refuses two different objects under one resource key.
    """
    return HuntingLake(tenant=tenant)


def _loader_of(context: dg.InputContext) -> Callable[[ds.Dataset], Any]:
    wanted = context.dagster_type.typing_type
    if wanted not in _LOADERS:
        raise Misconfigured(
            f"the input {context.name!r} is annotated with {wanted}. Annotate it with one of"
            " pyarrow.dataset.Dataset, pyarrow.Table, pandas.DataFrame."
        )
    return _LOADERS[wanted]


def _table_of(context: dg.InputContext) -> str:
    """Return the name of the upstream table, from its metadata or else from the last part of its key."""
    upstream = context.upstream_output
    named = (upstream.definition_metadata or {}).get(TABLE_NAME) if upstream else None
    return str(getattr(named, "value", named) or context.asset_key.path[-1])


def _requested(context: dg.InputContext, table: str) -> list[Partition] | None:
    """Return the partitions to load, oldest first; None if the downstream asset has no partitions."""
    if not context.step_context.has_partitions:
        return None
    if not context.has_asset_partitions:
        raise Misconfigured(
            f"{context.asset_key.to_user_string()} has no partitions in this code location."
            " Declare them: `AssetSpec(..., partitions_def=partitions_for(...))`."
        )
    return sorted(partition_from_key(table, key) for key in context.asset_partition_keys)


def _dataset(store: Store, table: str, partitions: Sequence[Partition] | None) -> ds.Dataset:
    """Open the partitions as a dataset.

    Raises:
        Misconfigured: a partition is not in the lake.
    """
    present = set(archived_partitions(store, table, partitions)) if partitions else ()
    missing = [partition.key for partition in partitions or () if partition not in present]
    if missing:
        raise Misconfigured(
            f"{table}: these partitions are not in the lake {store.uri()}:"
            f" {list_some(missing)}. Materialize them first."
        )
    if derived.is_archived(store, table):
        return read.dataset(store, table, partitions)
    return derived.dataset(store, table, partitions)


def _rows(obj: Any) -> pa.Table:
    if isinstance(obj, pd.DataFrame):
        return pa.Table.from_pandas(obj, preserve_index=False)
    if isinstance(obj, pa.Table):
        return obj
    raise Misconfigured(
        f"a computed table must be a pyarrow.Table or a pandas.DataFrame, not a {type(obj).__name__}"
    )
