"""The proof beside the data: what a partition's file holds, and how that was checked.

A manifest is written after its file, and the same facts stand in the file's footer. So a run killed between
the two leaves a file that can still prove itself: `load` then reads the footer and mends the manifest.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake.layout import data_path, manifest_path, partition_from_key, partition_from_path
from hunting_pipeline.lake.store import Store
from hunting_pipeline.model import Column, Partition, Proof, Window, merge_windows

__all__ = ["FOOTER_KEY", "Manifest", "Segment", "archived_partitions", "has_proof", "load", "load_all"]

FOOTER_KEY = "hunting.manifest"
"""Key of the Parquet footer's metadata under which the manifest stands."""

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Segment:
    """One proven stretch of a partition: what was expected of a call, and what came.

    Attributes:
        span: ticks; None in a snapshot.
        bucket: `[index, of]` where hash buckets were needed.
        tally: rows and checksum, equal in the service's count and in the file.
        query: the KQL that brought it.
        fetched_at: ticks.
    """

    span: Window | None
    bucket: tuple[int, int] | None
    proof: Proof
    query: str
    fetched_at: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything a partition's file can prove.

    Attributes:
        partition: which.
        tenant: whose data.
        shape: what was asked of a row, see `TableSpec.shape`.
        tally: rows and checksum of the whole file.
        file_bytes: size of the Parquet file; 0 in the footer, which cannot know it.
        file_version: tells this very file from those before and after it, see `Store.version`; empty in the
            footer.
        body_bytes: JSON bytes that brought it.
        rescued: values kept verbatim in `_rescued_data`.
        fingerprint: of the schema.
        columns: lake names and Kusto types.
        pieces: in order of time.
        surface, engine, run_id: what wrote it.
        committed_at: ticks.
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
        """The spans the file holds, merged; a snapshot covers its day."""
        spans = [segment.span for segment in self.segments if segment.span is not None]
        return merge_windows(spans) if spans else (self.partition.window,)

    def to_json(self) -> str:
        """Text that `from_json` reads; ticks as integers, so that nothing is rounded."""
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
        """Raises: ValueError, KeyError or TypeError where the text is no manifest of this version."""
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
    """The manifest of a partition, mended from the footer where it does not fit the file; None: no file.

    A lake that may only be read is not mended; the manifest is right all the same.

    Raises:
        CommitRefused: there is a file that this package did not write.
    """
    size, version = store.size(data_path(partition)), store.version(data_path(partition))
    if size is None or version is None:
        return None
    manifest = _read(store, partition)
    if manifest is not None and manifest.file_version == version:
        return manifest
    mended = replace(_from_footer(store, partition), file_bytes=size, file_version=version)
    with suppress(Misconfigured):
        store.put(manifest_path(partition), mended.to_json().encode())
    return mended


def load_all(store: Store, table: str) -> Iterator[Manifest]:
    """The manifest of every archived partition of a table, oldest first.

    The files are what is looked for: one whose manifest was never written is archived all the same.

    Raises:
        CommitRefused: as in `load`.
    """
    for partition in archived_partitions(store, table):
        manifest = load(store, partition)
        if manifest is not None:
            yield manifest


def archived_partitions(store: Store, table: str) -> list[Partition]:
    """The partitions of a table that have a file, oldest first."""
    found = (partition_from_path(table, path) for path in store.find(table, ".parquet"))
    return [partition for partition in found if partition]


def has_proof(store: Store, partition: Partition) -> bool:
    """Whether a partition's file says in its footer what it proves, as every file that a pull wrote."""
    try:
        return FOOTER_KEY.encode() in _footer(store, partition)
    except (pa.ArrowException, OSError):
        return False


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
        manifest = Manifest.from_json(_footer(store, partition)[FOOTER_KEY.encode()])
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise CommitRefused(
            f"{partition}: {path} was not written by this pipeline, or is damaged; it is left as it is."
            " Move it away to archive this partition anew"
        ) from error
    if manifest.partition != partition:
        raise CommitRefused(
            f"{partition}: {path} holds {manifest.partition}; it is left as it is. Move it where it belongs"
        )
    return manifest
