"""Accepted replies become staged pieces: sorted, dealt to their partitions, kept until the commit."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.lake.layout import RESCUED, staging_folder, staging_path
from hunting_pipeline.lake.manifest import load
from hunting_pipeline.lake.store import Store
from hunting_pipeline.model import (
    Bucket,
    Partition,
    Proof,
    Slice,
    Staged,
    TableSpec,
    Window,
)
from hunting_pipeline.reply import Reply

__all__ = [
    "Origin",
    "Ticks",
    "proof_of",
    "proof_of_reply",
    "rescued_values",
    "stage",
    "staged_segments",
    "unstage",
]

_DOTNET_EPOCH = 621_355_968_000_000_000
"""Ticks from 0001-01-01, where Kusto's `tolong(datetime)` counts from, to 1970-01-01."""

_MODULUS = 1_000_000_007
"""The prime of the checksum, as in the histogram query; a sum over 9e9 rows still fits 64 bits."""

_METADATA = b"hunting.staged"

Ticks = np.ndarray[Any, np.dtype[np.int64]]
"""Instants as 100-ns units since 1970, one for each row."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a reply came from: its KQL, and when it was fetched (ticks)."""

    query: str
    fetched_at: int


def proof_of(ticks: Ticks) -> Proof:
    """Rows and checksum of an array of Unix ticks, as the service computes them."""
    return Proof(len(ticks), int(((ticks + _DOTNET_EPOCH) % _MODULUS).sum()))


def proof_of_reply(reply: Reply, spec: TableSpec) -> Proof:
    """What a reply brought, in the terms of the service's own count.

    Raises:
        ReplyUnreadable: the time column is missing or holds no readable times.
    """
    if spec.time_column is None:
        return Proof(reply.table.num_rows, 0)
    return proof_of(_ticks(reply.table, spec.time_column))


def _ticks(table: pa.Table, time_column: str) -> Ticks:
    if time_column not in table.column_names:
        raise ReplyUnreadable(f"the reply has no column {time_column!r}")
    times = table[time_column]
    if times.null_count or not pa.types.is_timestamp(times.type):
        raise ReplyUnreadable(f"the reply holds rows without a readable {time_column} in a slice of time")
    ticks: Ticks = times.cast(pa.int64()).to_numpy() // 100
    return ticks


def stage(
    store: Store,
    reply: Reply,
    *,
    slice_: Slice,
    spec: TableSpec,
    partitions: Iterable[Partition],
    origin: Origin,
) -> tuple[Staged, ...]:
    """Write a reply's rows as one piece for each of `partitions`, empty pieces included.

    `partitions` are those that the slice touches; a snapshot slice has exactly one.

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
        for segment in _dealt(table, ticks, slice_.window, partitions)
    )


@dataclass(frozen=True, slots=True)
class _Segment:
    partition: Partition
    span: Window | None
    proof: Proof
    rows: pa.Table


def _dealt(
    table: pa.Table, ticks: Ticks, window: Window, partitions: Iterable[Partition]
) -> Iterator[_Segment]:
    """Cut sorted rows at the edges of partitions."""
    for partition in partitions:
        span = partition.window.intersection(window)
        if span is not None:
            low, high = np.searchsorted(ticks, [span.start, span.end])
            yield _Segment(partition, span, proof_of(ticks[low:high]), table.slice(low, high - low))


def _sorted_by_time(
    table: pa.Table, time_column: str, slice_: Slice, window: Window
) -> tuple[pa.Table, Ticks]:
    """The rows in ascending time, and their ticks."""
    ticks = _ticks(table, time_column)
    order = np.argsort(ticks, kind="stable")
    ticks = ticks[order]
    if len(ticks) and not (window.start <= ticks[0] and ticks[-1] < window.end):
        raise ReplyUnreadable(f"{slice_}: the reply holds rows outside the slice")
    return table.take(pa.array(order)), ticks


def _with_kusto_types(reply: Reply) -> pa.Table:
    """The reply's table with each column's Kusto type beside its Arrow type."""
    kusto = {column.name: column.kusto_type for column in reply.columns}
    fields = [
        field.with_metadata({"kusto": kusto[field.name]}) if field.name in kusto else field
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
    table = segment.rows.replace_schema_metadata({_METADATA: json.dumps(asdict(staged))})
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with store.put_file(staged.path) as path, pa.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table)
    return staged


def rescued_values(table: pa.Table) -> int:
    """Values that `_rescued_data` keeps."""
    if RESCUED not in table.column_names:
        return 0
    return sum(len(json.loads(row)) for row in table[RESCUED].drop_null().to_pylist())


def staged_segments(store: Store, partition: Partition, query_hash: str) -> tuple[Staged, ...]:
    """The pieces that an earlier run left behind and that are still good, in order of time.

    Sweeps the others away: unreadable ones; those asked for in another shape; bucket pieces, whose numbers
    are only good within one run; pieces older than the partition's file, which holds them or what replaced
    them; and pieces that overlap one before them, since their rows would be doubled.

    Raises:
        CommitRefused: the partition's file is not this pipeline's.
    """
    archived = load(store, partition)
    good: list[Staged] = []
    for path, segment in _read_all(store, partition):
        stale = segment is None or segment.query_hash != query_hash or segment.bucket is not None
        buried = archived is not None and segment is not None and segment.fetched_at <= archived.committed_at
        if segment is None or stale or buried or (good and _overlap(good[-1].span, segment.span)):
            store.delete(path)
        else:
            good.append(segment)
    return tuple(good)


def _overlap(one: Window | None, other: Window | None) -> bool:
    return one is None or other is None or one.intersection(other) is not None


def _read_all(store: Store, partition: Partition) -> list[tuple[str, Staged | None]]:
    """What lies staged for a partition, in order of time; None for what is no piece of it."""
    found = [(path, _read_staged(store, path, partition)) for path in store.list(staging_folder(partition))]
    return sorted(found, key=lambda pair: pair[1].span.start if pair[1] and pair[1].span else 0)


def _read_staged(store: Store, path: str, partition: Partition) -> Staged | None:
    """What a staged file says of itself; None if it is no whole Arrow file of this version."""
    try:
        with store.filesystem.open_input_file(path) as file:
            schema = pa.ipc.open_file(file).schema
        fields = json.loads(schema.metadata[_METADATA])
        segment = Staged(**fields | {
            "partition": Partition(fields["partition"]["table"], Window(**fields["partition"]["window"])),
            "span": Window(**fields["span"]) if fields["span"] else None,
            "bucket": Bucket(**fields["bucket"]) if fields["bucket"] else None,
            "proof": Proof(**fields["proof"]),
        })  # fmt: skip
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
        return None
    return segment if (segment.path, segment.partition) == (path, partition) else None


def unstage(store: Store, partition: Partition) -> None:
    """Remove everything staged for a partition: it was committed, or is to be fetched anew."""
    for path in store.list(staging_folder(partition)):
        store.delete(path)
