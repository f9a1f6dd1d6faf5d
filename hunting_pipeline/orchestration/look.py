"""One look into a committed file: what it truly holds, for the check, the picture and the preview."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake import read
from hunting_pipeline.lake.manifest import Manifest, load
from hunting_pipeline.lake.store import Store
from hunting_pipeline.lake.write import tally_of
from hunting_pipeline.model import Grain, Partition, Tally

__all__ = ["Look", "look"]

_HEAD_ROWS = 5
_HEAD_COLUMNS = 8
_BINS = {Grain.DAY.ticks: 24, Grain.HOUR.ticks: 60}


@dataclass(frozen=True, slots=True)
class Look:
    """What lies in one partition's file.

    Attributes:
        manifest: what it is said to hold.
        tally: rows and checksum, counted anew from the file.
        bins: rows by hour of a day, or by minute of an hour; empty for a snapshot.
        head: the first rows, of the first columns.
    """

    manifest: Manifest
    tally: Tally
    bins: tuple[int, ...]
    head: pa.Table


def look(store: Store, partition: Partition, time_column: str | None) -> Look:
    """Read the time column and a few rows of an archived partition.

    Raises:
        CommitRefused: the file is gone, or is not ours.
    """
    manifest = load(store, partition)
    if manifest is None:
        raise CommitRefused(f"{partition}: its file is gone; somebody else writes into this lake")
    dataset = read.dataset(store, partition.table, [partition])
    columns = [name for name in dataset.schema.names if name not in ("date", "hour")][:_HEAD_COLUMNS]
    head = dataset.head(_HEAD_ROWS, columns=columns)
    if time_column is None:
        return Look(manifest, Tally(dataset.count_rows(), 0), (), head)
    times = dataset.to_table(columns=[time_column])[time_column]
    ticks = times.cast(pa.int64()).to_numpy() // 100
    count = _BINS[partition.window.ticks]
    places = (ticks - partition.window.start) // (partition.window.ticks // count)
    return Look(manifest, tally_of(ticks), tuple(np.bincount(places, minlength=count).tolist()), head)
