"""The I/O manager: assets downstream of a table ask for its partitions by their annotation."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from pydantic import Field

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake import derived, read
from hunting_pipeline.lake.commit import claim
from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import Partition, partition_from_key
from hunting_pipeline.orchestration import metadata
from hunting_pipeline.orchestration.outcomes import told_to_dagster
from hunting_pipeline.orchestration.resources import hunting_of
from hunting_pipeline.pipeline import open_lake

__all__ = ["HuntingLake", "lake_io"]

_NAMED = 10
"""Partitions that a message names before it says how many more there are."""


_FORMS: Mapping[type, Callable[[ds.Dataset], Any]] = MappingProxyType(
    {
        ds.Dataset: lambda dataset: dataset,
        pa.Table: lambda dataset: dataset.to_table(),
        pd.DataFrame: read.frame_of,
    }
)
"""By the annotation of the input."""


class HuntingLake(dg.ConfigurableIOManager):
    """Loads tables from the lake, and keeps tables that are computed from them beside them.

    What is loaded are the partitions that Dagster maps to those being materialized, or everything archived
    where the asset that asks has no partitions. They come as `pandas.DataFrame` (Arrow-backed),
    `pyarrow.Table` or `pyarrow.dataset.Dataset`, whichever the input is annotated with; of a `Dataset`
    nothing is read before its columns and rows are chosen.

    What is stored is a `pyarrow.Table` or a `pandas.DataFrame`, one partition at a time, under the last part
    of its asset's key.
    """

    tenant: str = Field(default="", description="its name in the settings, where they name several")

    def load_input(self, context: dg.InputContext) -> Any:
        """The partitions asked for.

        Raises:
            dg.Failure: a partition is not in the lake, the lake is another tenant's, or the annotation is
                none of the three.
        """
        with told_to_dagster(context.log):
            form, table = _form_of(context), _table_of(context)
            partitions = _asked(context, table)
            amount = "everything archived" if partitions is None else f"{len(partitions)} partitions"
            context.log.info("%s: %s", table, amount)
            return form(_loaded(self._store(), table, partitions))

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Replace one partition of a computed table.

        Raises:
            dg.Failure: it is no table, or not of one partition, or would replace archived rows.
        """
        with told_to_dagster(context.log):
            table, rows = context.asset_key.path[-1], _rows(obj)
            keys = context.asset_partition_keys if context.has_asset_partitions else ()
            if len(keys) != 1:
                raise Misconfigured(
                    f"{table}: an output is one partition, a day or an hour, and not {len(keys)}:"
                    " give the asset such partitions, and leave its backfill policy at one partition a run"
                )
            store, partition = self._store(), partition_from_key(table, keys[0])
            size = derived.write(store, partition, rows)
            told = metadata.of_computed(rows, size, uri=store.uri(data_path(partition)))
            context.add_output_metadata(told)

    def _store(self) -> Store:
        settings = hunting_of(self.tenant).settings()
        store = open_lake(settings)
        if settings.tenant_id is not None:  # reading needs no credentials
            claim(store, settings.tenant_id, write=False)
        return store


@cache
def lake_io(tenant: str = "") -> HuntingLake:
    """One object a tenant: Dagster refuses two different ones under one key."""
    return HuntingLake(tenant=tenant)


def _form_of(context: dg.InputContext) -> Callable[[ds.Dataset], Any]:
    wanted = context.dagster_type.typing_type
    if wanted not in _FORMS:
        raise Misconfigured(
            f"annotate the input {context.name!r} with one of pyarrow.dataset.Dataset, pyarrow.Table,"
            f" pandas.DataFrame; it says {wanted}"
        )
    return _FORMS[wanted]


def _table_of(context: dg.InputContext) -> str:
    """An asset may be called otherwise than its table; where Dagster knows only the key, its last part."""
    upstream = context.upstream_output
    told = (upstream.definition_metadata or {}).get("dagster/table_name") if upstream else None
    return str(getattr(told, "value", told) or context.asset_key.path[-1])


def _asked(context: dg.InputContext, table: str) -> list[Partition] | None:
    """The partitions meant, oldest first; None if the asset that asks has none itself."""
    if not context.step_context.has_partitions:
        return None
    if not context.has_asset_partitions:
        raise Misconfigured(
            f"Dagster knows no partitions of {context.asset_key.to_user_string()}, so not which are meant:"
            " declare them, `AssetSpec(..., partitions_def=partitions_for(...))`"
        )
    return sorted(partition_from_key(table, key) for key in context.asset_partition_keys)


def _loaded(store: Store, table: str, partitions: Sequence[Partition] | None) -> ds.Dataset:
    """
    Raises:
        Misconfigured: a partition is not there.
    """
    missing = [p.key for p in partitions or () if store.stat(data_path(p)) is None]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise Misconfigured(
            f"{table}: {', '.join(missing[:_NAMED])}{more} not in the lake {store.uri()}:"
            " materialize them first"
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
        f"a computed table is a pyarrow.Table or a pandas.DataFrame, not a {type(obj).__name__}"
    )
