"""The inspection of a committed file: its row count and checksum, a histogram and a preview."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.lake.manifest import Manifest, load
from hunting_pipeline.lake.micros import exact_column
from hunting_pipeline.lake.parquet import opened
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.lake.write import proof_of, ticks_in
from hunting_pipeline.model import Grain, Partition, Proof, TableSpec

__all__ = ["Inspection", "inspect"]

_HEAD_ROWS = 5
_HEAD_COLUMNS = 8
_BINS = {Grain.DAY.ticks: 24, Grain.HOUR.ticks: 60}


@dataclass(frozen=True, slots=True)
class Inspection:
    """The content of one partition's file.

    Attributes:
        manifest: the manifest of the file.
        proof: row count and checksum, counted in the file.
        bins: rows by hour of a day, or by minute of an hour; empty if the rows have no time.
        head: the first rows, of the first columns.
    """

    manifest: Manifest
    proof: Proof
    bins: tuple[int, ...]
    head: pa.Table


def inspect(store: Store, partition: Partition, spec: TableSpec) -> Inspection:
    """Read the time column and a few rows of an archived partition of a table.

    Raises:
        CommitRefused: the file is missing or damaged, or this pipeline did not write it.
    """
    manifest = load(store, partition)
    if manifest is None:
        raise CommitRefused(
            f"{partition}: the file is missing. Another program has changed this lake."
            " Pull the partition again"
        )
    with opened(store, data_path(partition)) as file:
        parquet = pq.ParquetFile(file)
        shown = pa.schema(list(parquet.schema_arrow)[:_HEAD_COLUMNS])
        batches = parquet.iter_batches(_HEAD_ROWS, columns=shown.names)
        head = pa.Table.from_batches(islice(batches, 1), shown)
        if spec.time_column is None or partition.null_time:
            return Inspection(manifest, Proof(parquet.metadata.num_rows, 0), (), head)
        exact = exact_column(parquet.schema_arrow, spec.time_column)
        ticks = ticks_in(parquet.read(columns=[exact])[exact])
    count, window = _BINS[partition.window.ticks], partition.window
    inside = ticks[(ticks >= window.start) & (ticks < window.end)]
    places = (inside - window.start) // (window.ticks // count)
    return Inspection(manifest, proof_of(ticks), tuple(np.bincount(places, minlength=count).tolist()), head)
