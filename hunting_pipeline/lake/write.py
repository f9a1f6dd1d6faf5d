"""Staging: sort accepted replies, split them by partition, and keep the segments on disk until the commit.

A staged segment is an Arrow file, followed by a digest of its bytes. Arrow does not check the bytes that it
reads: a flipped bit can change rows or end the process. So Arrow reads a segment only if the digest is right.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.lake.layout import (
    KUSTO_TYPE_KEY,
    STAGED_KEY,
    staging_folder,
    staging_folder_of_table,
    staging_path,
)
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.lake.schema import columns_of
from hunting_pipeline.lake.stores import Entry, Store
from hunting_pipeline.model import RESCUED, Bucket, Column, Partition, Proof, Slice, Staged, TableSpec, Window
from hunting_pipeline.reply import Reply
from hunting_pipeline.ticks import CHECKSUM_MODULUS, DOTNET_EPOCH, ticks_of_nanoseconds

__all__ = [
    "Origin",
    "Ticks",
    "is_staged",
    "open_segment",
    "proof_of",
    "proof_of_reply",
    "rescued_values",
    "schema_of_reply",
    "segment_columns",
    "stage",
    "staged_segments",
    "ticks_in",
    "unstage",
]

Ticks = np.ndarray[Any, np.dtype[np.int64]]
"""Ticks of many rows."""

_FORMAT = b"hunting.staged 2"
"""The version of staged files. The digest depends on it, so files of all other versions are invalid."""
_DIGEST_BYTES = sha256().digest_size


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a reply: the KQL of the call, and the time of the call (ticks)."""

    query: str
    fetched_at: int


def proof_of(ticks: Ticks) -> Proof:
    """Compute the row count and checksum of ticks in the same way as the service."""
    return Proof(len(ticks), int(((ticks + DOTNET_EPOCH) % CHECKSUM_MODULUS).sum()))


def ticks_in(times: pa.ChunkedArray) -> Ticks:
    """Return the ticks of a column without nulls: a timestamp in nanoseconds, or a column of ticks."""
    whole: Ticks = times.cast(pa.int64()).to_numpy()
    return ticks_of_nanoseconds(whole) if pa.types.is_timestamp(times.type) else whole


def proof_of_reply(reply: Reply, spec: TableSpec) -> Proof:
    """Compute the row count and checksum of a reply, to compare them with the service's count.

    Raises:
        ReplyUnreadable: the time column is missing or holds values that are not times.
    """
    if spec.time_column is None:
        return Proof(reply.table.num_rows, 0)
    return proof_of(_ticks(reply.table, spec.time_column))


def schema_of_reply(reply: Reply) -> pa.Schema:
    """Return the schema that a segment with the rows of this reply would have."""
    return _with_kusto_types(reply).schema


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
        content = _as_arrow_file(table)
        with path.open("wb") as file:
            file.write(content)
            file.write(_digest(content))

    return replace(staged, version=store.put_file(staged.path, write))


def _as_arrow_file(table: pa.Table) -> memoryview:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def _digest(content: memoryview) -> bytes:
    digest = sha256(_FORMAT)
    digest.update(content)
    return digest.digest()


def open_segment(store: Store, path: str) -> pa.ipc.RecordBatchFileReader | None:
    """Open a staged segment; None if the file is missing or does not hold exactly the bytes of its writer."""
    try:
        data = store.get(path)
    except OSError:
        return None
    if data is None:
        return None
    content = memoryview(data)[:-_DIGEST_BYTES]
    if _digest(content) != data[-_DIGEST_BYTES:]:
        return None
    return pa.ipc.open_file(pa.py_buffer(content))


def rescued_values(table: pa.Table) -> int:
    """Count the values in `_rescued_data`."""
    if RESCUED not in table.column_names:
        return 0
    return sum(len(json.loads(row)) for row in table[RESCUED].drop_null().to_pylist())


def staged_segments(
    store: Store, table: str, query_hash: str, archive: Mapping[Partition, Manifest], *, edge: int
) -> tuple[Staged, ...]:
    """Return the segments of a table that earlier runs staged, in order of partition and time.

    Removes all other files that are staged for the table, because no run can use them:

    * files that are damaged, or that another version of the program wrote;
    * segments of another query;
    * segments of a snapshot or of a hash bucket, because they are only valid together with all others of
      their run;
    * segments older than the file of their partition, because the file holds their rows or newer ones;
    * segments that begin before `edge`, because no missing span begins there;
    * segments that overlap an earlier one, because a commit would duplicate the rows in both.

    Args:
        store: the lake's store.
        table: the table's name.
        query_hash: the hash of the current query.
        archive: the manifests of the table.
        edge: the retention edge (ticks).
    """
    usable: list[tuple[Partition, Window, Staged]] = []
    for entry in store.list(staging_folder_of_table(table)):
        segment = _read_staged(store, entry)
        if segment is None or segment.span is None or not _usable(segment, query_hash, archive, edge):
            store.delete(entry.path)
        else:
            usable.append((segment.partition, segment.span, segment))
    good: list[Staged] = []
    last: tuple[Partition, Window] | None = None
    for partition, span, segment in sorted(usable, key=lambda found: found[:2]):
        if last and last[0] == partition and last[1].intersection(span):
            store.delete(segment.path)
        else:
            good.append(segment)
            last = partition, span
    return tuple(good)


def _usable(segment: Staged, query_hash: str, archive: Mapping[Partition, Manifest], edge: int) -> bool:
    archived = archive.get(segment.partition)
    return (
        segment.query_hash == query_hash
        and segment.bucket is None
        and segment.span is not None
        and segment.span.start >= edge
        and (archived is None or segment.fetched_at > archived.committed_at)
    )


def _read_staged(store: Store, entry: Entry) -> Staged | None:
    """Read the description in a staged file; None if the file is not valid or is not at its own path."""
    found = open_segment(store, entry.path)
    if found is None:
        return None
    fields = json.loads(found.schema.metadata[STAGED_KEY])
    partition = Partition(fields["partition"]["table"], Window(**fields["partition"]["window"]))
    span = Window(**fields["span"]) if fields["span"] else None
    bucket = Bucket(**fields["bucket"]) if fields["bucket"] else None
    values = {"partition": partition, "span": span, "bucket": bucket, "proof": Proof(**fields["proof"])}
    staged = Staged(**fields | values | {"version": entry.version})
    return staged if entry.path == staging_path(partition, span, bucket) else None


def segment_columns(store: Store, segment: Staged) -> tuple[Column, ...]:
    """Return the columns of a staged segment, with the service's names; none if the file is damaged."""
    found = open_segment(store, segment.path)
    return () if found is None else columns_of(found.schema)


def is_staged(store: Store, segment: Staged) -> bool:
    """Return whether a staged file still holds this segment, and not the segment of another call."""
    found = store.stat(segment.path)
    return found is not None and found.version == segment.version


def unstage(store: Store, table: str, partitions: Iterable[Partition]) -> None:
    """Remove everything staged for some partitions of a table. This takes one list."""
    folders = {staging_folder(partition) for partition in partitions}
    for entry in store.list(staging_folder_of_table(table)) if folders else ():
        if entry.path.rpartition("/")[0] in folders:
            store.delete(entry.path)
