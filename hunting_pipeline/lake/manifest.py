"""Manifests: a manifest proves that a partition's file is complete.

A manifest is written after its file, and the file's footer holds the same facts. If a run is killed between
the two writes, `load` reads the footer and writes the manifest again.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake.layout import (
    FOOTER_KEY,
    data_path,
    manifest_path,
    null_time_path,
    partition_from_path,
)
from hunting_pipeline.lake.stores import Entry, Store
from hunting_pipeline.model import Column, Partition, Proof, Window, merge_windows, partition_from_key

__all__ = ["Manifest", "Segment", "archived_partitions", "has_proof", "load", "load_all"]

_VERSION = 2


@dataclass(frozen=True, slots=True)
class Segment:
    """One proven span of a partition, fetched by one call.

    Attributes:
        span: the span of the rows; None for a snapshot.
        bucket: `(index, of)` of the hash bucket; None without hash buckets.
        proof: row count and checksum, equal in the service's count and in the file.
        query: the KQL of the call.
        fetched_at: time of the call (ticks).
    """

    span: Window | None
    bucket: tuple[int, int] | None
    proof: Proof
    query: str
    fetched_at: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of one partition's file.

    Attributes:
        partition: the partition of the file.
        tenant: Entra tenant id of the rows.
        query_hash: see `TableSpec.query_hash`.
        proof: row count and checksum of the whole file.
        file_bytes: size of the Parquet file; 0 in the footer, which is written before the size is fixed.
        file_version: the store's version of the file, see `Entry.version`; empty in the footer.
        body_bytes: size of the JSON from which the rows were decoded.
        rescued: number of values in `_rescued_data`.
        fingerprint: fingerprint of the schema.
        columns: the columns' names in the lake, and their Kusto types.
        segments: the segments of the file, in order of time.
        api, engine, run_id: the API, the program and the run that wrote the file.
        committed_at: time of the commit (ticks).
    """

    partition: Partition
    tenant: str
    query_hash: str
    proof: Proof
    file_bytes: int
    file_version: str
    body_bytes: int
    rescued: int
    fingerprint: str
    columns: tuple[Column, ...]
    segments: tuple[Segment, ...]
    api: str
    engine: str
    run_id: str
    committed_at: int

    @property
    def covered(self) -> tuple[Window, ...]:
        """The spans that the file covers, merged. A snapshot covers its day."""
        spans = [segment.span for segment in self.segments if segment.span is not None]
        return merge_windows(spans) if spans else (self.partition.window,)

    def to_json(self) -> str:
        """Return the text that `from_json` reads. Ticks are integers, so no digit is lost."""
        body = asdict(self) | {
            "version": _VERSION,
            "table": self.partition.table,
            "partition": self.partition.key,
            "file": data_path(self.partition),
            "columns": [[column.name, column.kusto_type] for column in self.columns],
            "segments": [
                {
                    "span": [segment.span.start, segment.span.end] if segment.span else None,
                    "bucket": segment.bucket,
                    "rows": segment.proof.rows,
                    "checksum": segment.proof.checksum,
                    "query": segment.query,
                    "fetched_at": segment.fetched_at,
                }
                for segment in self.segments
            ],
        }
        body |= body.pop("proof")
        return json.dumps(body, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Manifest":
        """Read the text that `to_json` returns.

        Raises:
            ValueError, KeyError, TypeError: the text is not a manifest of this version.
        """
        body: dict[str, Any] = json.loads(text)
        if not isinstance(body, dict) or body.pop("version") != _VERSION:
            raise ValueError("a manifest of another version")
        body.pop("file")
        segments = tuple(
            Segment(
                span=Window(*segment["span"]) if segment["span"] else None,
                bucket=tuple(segment["bucket"]) if segment["bucket"] else None,
                proof=Proof(segment["rows"], segment["checksum"]),
                query=segment["query"],
                fetched_at=segment["fetched_at"],
            )
            for segment in body.pop("segments")
        )
        return cls(
            partition=partition_from_key(body.pop("table"), body.pop("partition")),
            proof=Proof(body.pop("rows"), body.pop("checksum")),
            columns=tuple(Column(*column) for column in body.pop("columns")),
            segments=segments,
            **body,
        )


def load(store: Store, partition: Partition) -> Manifest | None:
    """Load the manifest of a partition; None if the partition has no file.

    If the manifest is missing or does not match the file, it is read from the file's footer and written
    again. If the lake is read-only, the manifest is not written, but the returned manifest is correct.

    Raises:
        CommitRefused: this package did not write the file, or the file is damaged.
    """
    entry = store.stat(data_path(partition))
    return None if entry is None else _load(store, partition, entry)


def load_all(store: Store, table: str) -> Iterator[Manifest]:
    """Load the manifest of every archived partition of a table, oldest first.

    The files are listed, not the manifests: a file whose manifest was never written is archived too.

    Raises:
        CommitRefused: as in `load`.
    """
    for partition, entry in _archived(store, table):
        yield _load(store, partition, entry)


def archived_partitions(store: Store, table: str) -> Sequence[Partition]:
    """Return the partitions of a table that have a file, oldest first, the null-time partition last."""
    return [partition for partition, _ in _archived(store, table)]


def has_proof(store: Store, partition: Partition) -> bool:
    """Return whether a partition's footer holds a manifest, as in every file that a pull wrote."""
    try:
        return FOOTER_KEY in _footer(store, partition)
    except (pa.ArrowException, OSError):
        return False


def _archived(store: Store, table: str) -> list[tuple[Partition, Entry]]:
    found = [(partition_from_path(table, entry.path), entry) for entry in store.list(table)]
    if (null_time := store.stat(null_time_path(table))) is not None:
        found.append((partition_from_path(table, null_time.path), null_time))
    return [(partition, entry) for partition, entry in found if partition is not None]


def _load(store: Store, partition: Partition, entry: Entry) -> Manifest:
    manifest = _read(store, partition)
    if manifest is not None and manifest.file_version == entry.version:
        return manifest
    manifest = _from_footer(store, partition)
    manifest = replace(manifest, file_bytes=entry.size, file_version=entry.version)
    with suppress(Misconfigured):
        store.put(manifest_path(partition), manifest.to_json().encode())
    return manifest


def _footer(store: Store, partition: Partition) -> dict[bytes, bytes]:
    with store.filesystem.open_input_file(data_path(partition)) as file:
        return dict(pq.read_metadata(file).metadata or {})


def _read(store: Store, partition: Partition) -> Manifest | None:
    data = store.get(manifest_path(partition))
    try:
        manifest = Manifest.from_json(data) if data is not None else None
    except (ValueError, KeyError, TypeError):
        return None
    return manifest if manifest is not None and manifest.partition == partition else None


def _from_footer(store: Store, partition: Partition) -> Manifest:
    path = data_path(partition)
    try:
        manifest = Manifest.from_json(_footer(store, partition)[FOOTER_KEY])
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise CommitRefused(
            f"{partition}: {path} was not written by this pipeline, or is damaged. The file was not changed."
            " To archive this partition again, move the file out of the lake"
        ) from error
    if manifest.partition != partition:
        raise CommitRefused(
            f"{partition}: {path} holds the partition {manifest.partition}. The file was not changed."
            " Move the file to the path of that partition"
        )
    return manifest
