"""Manifests: a manifest proves that a partition's file is complete.

A manifest is written after its file, and the file's footer holds the same facts. If a run is killed between
the two writes, `load` reads the footer and writes the manifest again.
"""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake.layout import FOOTER_KEY, data_path, manifest_path
from hunting_pipeline.lake.stores import Entry, Store
from hunting_pipeline.model import (
    Bucket,
    Column,
    Partition,
    Proof,
    Window,
    merge_windows,
    partition_from_key,
)

__all__ = ["Manifest", "Segment", "has_proof", "load", "load_listed", "unusable"]

_VERSION = 2

_PARALLEL = 16
"""Footers that are read at once, as after a lake was copied."""

_LARGEST = 2**63
"""Every number in a manifest is smaller: Kusto's `long` has 64 bits."""

_T = TypeVar("_T")


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
            ValueError: the text is not a manifest of this version.
        """
        try:
            return cls._from_body(json.loads(text))
        except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
            raise ValueError("it is not a manifest of this version") from error

    @classmethod
    def _from_body(cls, body: dict[str, Any]) -> "Manifest":
        if not isinstance(body, dict) or body.pop("version") != _VERSION:
            raise ValueError("a manifest of another version")
        body.pop("file")
        partition = _checked(partition_from_key(body.pop("table"), body.pop("partition")))
        return _checked(
            cls(
                partition=partition,
                proof=_checked(Proof(body.pop("rows"), body.pop("checksum"))),
                columns=tuple(_checked(Column(*column)) for column in body.pop("columns")),
                segments=tuple(_segment(segment, partition) for segment in body.pop("segments")),
                **body,
            )
        )


def _segment(body: dict[str, Any], partition: Partition) -> Segment:
    span = _checked(Window(*body["span"])) if body["span"] else None
    if span is not None and not partition.window.contains(span):
        raise ValueError(f"the span {span} is not in {partition}")
    bucket = _checked(Bucket(*body["bucket"])) if body["bucket"] else None
    proof = _checked(Proof(body["rows"], body["checksum"]))
    return _checked(
        Segment(
            span=span,
            bucket=(bucket.index, bucket.of) if bucket else None,
            proof=proof,
            query=body["query"],
            fetched_at=body["fetched_at"],
        )
    )


def _checked(value: _T) -> _T:
    """Check that each text is a text and each number is an integer of 64 bits, as a dataclass declares.

    Raises:
        TypeError: an attribute has another type.
        ValueError: a number is too large.
    """
    for attribute in fields(value):  # type: ignore[arg-type] # always a dataclass
        found = getattr(value, attribute.name)
        if attribute.type in (int, str) and type(found) is not attribute.type:
            raise TypeError(f"{attribute.name} is {found!r:.50}")
        if attribute.type is int and abs(found) >= _LARGEST:
            raise ValueError(f"{attribute.name} is too large")
    return value


def load(store: Store, partition: Partition) -> Manifest | None:
    """Load the manifest of a partition; None if the partition has no file.

    If the manifest is missing or does not match the file, it is read from the file's footer and written
    again. If the lake is read-only, the manifest is not written, but the returned manifest is correct.

    Raises:
        CommitRefused: this package did not write the file, or the file is damaged.
    """
    entry = _stat(store, partition)
    return None if entry is None else _load(store, partition, entry)


def load_listed(
    store: Store, files: Mapping[Partition, Entry], manifests: Mapping[str, Entry]
) -> tuple[dict[Partition, Manifest], dict[Partition, CommitRefused]]:
    """Load the manifests of files that were just listed. Return them, and the errors of the other files.

    Args:
        store: the lake's store.
        files: the files.
        manifests: the listed manifests, by path; those of other files are not read.
    """
    listed = [manifests[path] for one in files if (path := manifest_path(one)) in manifests]
    texts = store.get_all(listed)
    results: dict[Partition, Manifest | CommitRefused | None] = {
        one: _fitting(one, entry, texts.get(manifest_path(one))) for one, entry in files.items()
    }
    stale = [one for one, manifest in results.items() if manifest is None]
    if stale:
        with ThreadPoolExecutor(min(_PARALLEL, len(stale))) as pool:
            rebuilt = pool.map(lambda one: _rebuilt_or_error(store, one, files[one]), stale)
            results |= zip(stale, rebuilt, strict=True)
    return (
        {one: result for one, result in results.items() if isinstance(result, Manifest)},
        {one: result for one, result in results.items() if isinstance(result, CommitRefused)},
    )


def _rebuilt_or_error(store: Store, partition: Partition, entry: Entry) -> Manifest | CommitRefused:
    try:
        return _rebuilt(store, partition, entry)
    except CommitRefused as error:
        return error


def has_proof(store: Store, partition: Partition) -> bool | None:
    """Return whether a partition's footer holds a manifest, as in every file that a pull wrote.

    The result is None if the footer cannot be read.
    """
    try:
        return FOOTER_KEY in _footer(store, partition)
    except (pa.ArrowException, OSError):
        return None


def _stat(store: Store, partition: Partition) -> Entry | None:
    try:
        return store.stat(data_path(partition))
    except (Misconfigured, OSError) as error:  # for example, a file in the place of the partition's folder
        raise unusable(partition, error.__cause__ or error) from error


def unusable(partition: Partition, reason: object) -> CommitRefused:
    """Return the error of a partition whose file cannot be used."""
    return CommitRefused(
        f"{partition}: {data_path(partition)} was not written by this pipeline, or is damaged ({reason})."
        " The file was not changed. To archive this partition again, move the file out of the lake."
        " Then pull the partition"
    )


def _load(store: Store, partition: Partition, entry: Entry) -> Manifest:
    try:
        found = store.get(manifest_path(partition))
    except (Misconfigured, OSError):
        found = None
    return _fitting(partition, entry, bytes(found) if found else None) or _rebuilt(store, partition, entry)


def _fitting(partition: Partition, entry: Entry, text: bytes | None) -> Manifest | None:
    """Return the manifest in `text`; None if it does not fit the file."""
    manifest = _parsed(text)
    fits = manifest and (manifest.partition, manifest.file_version) == (partition, entry.version)
    return manifest if fits else None


def _rebuilt(store: Store, partition: Partition, entry: Entry) -> Manifest:
    """Read the manifest from the footer of the file, and write it again."""
    manifest = _from_footer(store, partition)
    manifest = replace(manifest, file_bytes=entry.size, file_version=entry.version)
    with suppress(Misconfigured):
        store.put(manifest_path(partition), manifest.to_json().encode())
    return manifest


def _footer(store: Store, partition: Partition) -> dict[bytes, bytes]:
    with store.filesystem.open_input_file(data_path(partition)) as file:
        return dict(pq.read_metadata(file).metadata or {})


def _parsed(text: bytes | None) -> Manifest | None:
    try:
        return None if text is None else Manifest.from_json(text)
    except ValueError:
        return None


def _from_footer(store: Store, partition: Partition) -> Manifest:
    try:
        manifest = Manifest.from_json(_footer(store, partition)[FOOTER_KEY])
    except KeyError as error:
        raise unusable(partition, "its footer has no manifest") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unusable(partition, error) from error
    if manifest.partition != partition:
        raise CommitRefused(
            f"{partition}: {data_path(partition)} holds the partition {manifest.partition}."
            " The file was not changed. Move the file out of the lake, or to the path of that partition"
        )
    return manifest
