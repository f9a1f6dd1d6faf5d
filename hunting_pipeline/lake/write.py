"""Staging: sort accepted replies, split them by partition, and keep the segments on disk until the commit."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.lake.layout import KUSTO_TYPE_KEY, STAGED_KEY, staging_folder, staging_path
from hunting_pipeline.lake.manifest import load
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import RESCUED, Bucket, Partition, Proof, Slice, Staged, TableSpec, Window
from hunting_pipeline.reply import Reply
from hunting_pipeline.ticks import CHECKSUM_MODULUS, DOTNET_EPOCH, ticks_of_nanoseconds

__all__ = [
    "Origin",
    "Ticks",
    "is_staged",
    "proof_of",
    "proof_of_reply",
    "rescued_values",
    "stage",
    "staged_segments",
    "ticks_in",
    "unstage",
]

Ticks = np.ndarray[Any, np.dtype[np.int64]]
"""Ticks of many rows."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a reply: the KQL of the call, and the time of the call (ticks)."""

    query: str
    fetched_at: int


def proof_of(ticks: Ticks) -> Proof:
    """Compute the row count and checksum of ticks in the same way as the service."""
    return Proof(len(ticks), int(((ticks + DOTNET_EPOCH) % CHECKSUM_MODULUS).sum()))


def ticks_in(times: pa.ChunkedArray) -> Ticks:
    """Return the ticks of a timestamp column without nulls."""
    nanoseconds: Ticks = times.cast(pa.int64()).to_numpy()
    return ticks_of_nanoseconds(nanoseconds)


def proof_of_reply(reply: Reply, spec: TableSpec) -> Proof:
    """Compute the row count and checksum of a reply, to compare them with the service's count.

    Raises:
        ReplyUnreadable: the time column is missing or holds values that are not times.
    """
    if spec.time_column is None:
        return Proof(reply.table.num_rows, 0)
    return proof_of(_ticks(reply.table, spec.time_column))


def _ticks(table: pa.Table, time_column: str) -> Ticks:
    if time_column not in table.column_names:
        raise ReplyUnreadable(f"the reply has no column {time_column!r}. Nothing was written")
    times = table[time_column]
    if times.null_count or not pa.types.is_timestamp(times.type):
        raise ReplyUnreadable(f"the reply holds rows without a valid {time_column}. Nothing was written")
    return ticks_in(times)


def stage(
    store: Store,
    reply: Reply,
    *,
    slice_: Slice,
    spec: TableSpec,
    partitions: Iterable[Partition],
    origin: Origin,
) -> tuple[Staged, ...]:
    """Write a reply's rows as one segment for each of `partitions`, empty segments included.

    `partitions` are the partitions that overlap the slice; a snapshot slice has exactly one.

    Raises:
        ReplyUnreadable: a row lies outside the slice, or the time column is missing.
    """
    table = _with_kusto_types(reply)
    width = reply.body_bytes / max(1, table.num_rows)
    if spec.time_column is None or slice_.window is None:
        (partition,) = partitions
        segment = _Segment(partition, None, Proof(table.num_rows, 0), table)
        return (
            _put(
                store, segment, bucket=slice_.bucket, query_hash=spec.query_hash, origin=origin, width=width
            ),
        )
    table, ticks = _sorted_by_time(table, spec.time_column, slice_, slice_.window)
    return tuple(
        _put(store, segment, bucket=slice_.bucket, query_hash=spec.query_hash, origin=origin, width=width)
        for segment in _split(table, ticks, slice_.window, partitions)
    )


@dataclass(frozen=True, slots=True)
class _Segment:
    partition: Partition
    span: Window | None
    proof: Proof
    rows: pa.Table


def _split(
    table: pa.Table, ticks: Ticks, window: Window, partitions: Iterable[Partition]
) -> Iterator[_Segment]:
    """Split sorted rows at the edges of partitions."""
    for partition in partitions:
        span = partition.window.intersection(window)
        if span is not None:
            low, high = np.searchsorted(ticks, [span.start, span.end])
            yield _Segment(partition, span, proof_of(ticks[low:high]), table.slice(low, high - low))


def _sorted_by_time(
    table: pa.Table, time_column: str, slice_: Slice, window: Window
) -> tuple[pa.Table, Ticks]:
    """Return the rows in ascending order of time, and their ticks."""
    ticks = _ticks(table, time_column)
    order = np.argsort(ticks, kind="stable")
    ticks = ticks[order]
    if len(ticks) and not (window.start <= ticks[0] and ticks[-1] < window.end):
        raise ReplyUnreadable(f"{slice_}: the reply holds rows outside the slice. Nothing was written")
    return table.take(pa.array(order)), ticks


def _with_kusto_types(reply: Reply) -> pa.Table:
    """Return the reply's table with the Kusto type of each column in its metadata."""
    kusto = {column.name: column.kusto_type for column in reply.columns}
    fields = [
        field.with_metadata({KUSTO_TYPE_KEY: kusto[field.name]}) if field.name in kusto else field
        for field in reply.table.schema
    ]
    return reply.table.cast(pa.schema(fields))


def _put(
    store: Store, segment: _Segment, *, bucket: Bucket | None, query_hash: str, origin: Origin, width: float
) -> Staged:
    staged = Staged(
        partition=segment.partition,
        span=segment.span,
        bucket=bucket,
        proof=segment.proof,
        path=staging_path(segment.partition, segment.span, bucket),
        query_hash=query_hash,
        query=origin.query,
        fetched_at=origin.fetched_at,
        body_bytes=round(width * segment.proof.rows),
        rescued=rescued_values(segment.rows),
    )
    table = segment.rows.replace_schema_metadata({STAGED_KEY: json.dumps(asdict(staged))})

    def write(path: Path) -> None:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(path, table.schema, options=options) as writer:
            writer.write_table(table)

    store.put_file(staged.path, write)
    return staged


def rescued_values(table: pa.Table) -> int:
    """Count the values in `_rescued_data`."""
    if RESCUED not in table.column_names:
        return 0
    return sum(len(json.loads(row)) for row in table[RESCUED].drop_null().to_pylist())


def staged_segments(store: Store, partition: Partition, query_hash: str) -> tuple[Staged, ...]:
    """Return the valid segments that an earlier run staged for a partition, in order of time.

    Removes all other segments:

    * segments that cannot be read, and segments of another query;
    * segments of a hash bucket, because a bucket's number is only valid within one run;
    * segments older than the partition's file, because the file holds their rows or newer ones;
    * segments that overlap an earlier one, because a commit would duplicate the rows in both.

    Raises:
        CommitRefused: this pipeline did not write the partition's file, or the file is damaged.
    """
    archived = load(store, partition)
    good: list[Staged] = []
    for path, segment in _read_all(store, partition):
        stale = segment is None or segment.query_hash != query_hash or segment.bucket is not None
        older = archived is not None and segment is not None and segment.fetched_at <= archived.committed_at
        if segment is None or stale or older or (good and _overlap(good[-1].span, segment.span)):
            store.delete(path)
        else:
            good.append(segment)
    return tuple(good)


def _overlap(one: Window | None, other: Window | None) -> bool:
    return one is None or other is None or one.intersection(other) is not None


def _read_all(store: Store, partition: Partition) -> list[tuple[str, Staged | None]]:
    """Read the staged segments of a partition, in order of time; None for a file that is not valid."""
    found = [
        (entry.path, _read_staged(store, entry.path, partition))
        for entry in store.list(staging_folder(partition))
    ]
    return sorted(found, key=lambda pair: pair[1].span.start if pair[1] and pair[1].span else 0)


def _read_staged(store: Store, path: str, partition: Partition) -> Staged | None:
    """Read the description in a staged file; None if it is not a complete Arrow file of this version."""
    try:
        with store.filesystem.open_input_file(path) as file:
            schema = pa.ipc.open_file(file).schema
        fields = json.loads(schema.metadata[STAGED_KEY])
        segment = Staged(**fields | {
            "partition": Partition(fields["partition"]["table"], Window(**fields["partition"]["window"])),
            "span": Window(**fields["span"]) if fields["span"] else None,
            "bucket": Bucket(**fields["bucket"]) if fields["bucket"] else None,
            "proof": Proof(**fields["proof"]),
        })  # fmt: skip
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return None
    return segment if (segment.path, segment.partition) == (path, partition) else None


def is_staged(store: Store, segment: Staged) -> bool:
    """Return whether a staged file still holds this segment, and not the segment of another call."""
    found = _read_staged(store, segment.path, segment.partition)
    return found is not None and (found.query, found.fetched_at) == (segment.query, segment.fetched_at)


def unstage(store: Store, partition: Partition) -> None:
    """Remove everything staged for a partition."""
    for entry in store.list(staging_folder(partition)):
        store.delete(entry.path)
