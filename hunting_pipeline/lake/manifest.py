"""Manifests: a manifest proves that a partition's file is complete.

A manifest is written after its file, and the file's footer holds the same facts. If a run is killed between
the two writes, `load` reads the footer and writes the manifest again.

Other programs and people can change a lake. A file that they damage, replace or add concerns its own
partition only: `load_archive` returns the other partitions, and names the file.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

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
from hunting_pipeline.model import (
    Bucket,
    Column,
    Partition,
    Proof,
    Window,
    merge_windows,
    partition_from_key,
)

__all__ = [
    "Archive",
    "Manifest",
    "Segment",
    "archived_partitions",
    "has_proof",
    "load",
    "load_all",
    "load_archive",
    "usual_length",
]

_VERSION = 2

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


@dataclass(frozen=True, slots=True)
class Archive:
    """The files in a table's folder.

    Attributes:
        manifests: the manifests of the archived partitions, oldest first, the null-time partition last.
        damaged: the partitions whose file cannot be used, each with the error that says why and what to do.
        foreign: paths of the files that are not at the path of any partition. Readers of the folder read
            their rows too.
    """

    manifests: Mapping[Partition, Manifest]
    damaged: Mapping[Partition, CommitRefused]
    foreign: tuple[str, ...]

    def blocked(self, partitions: Iterable[Partition]) -> dict[Partition, CommitRefused]:
        """Return the partitions that overlap the span of a damaged file, each with the file's error."""
        return {
            partition: error
            for partition in partitions
            for damaged, error in self.damaged.items()
            if partition.window.intersection(damaged.window)
        }


def load(store: Store, partition: Partition) -> Manifest | None:
    """Load the manifest of a partition; None if the partition has no file.

    If the manifest is missing or does not match the file, it is read from the file's footer and written
    again. If the lake is read-only, the manifest is not written, but the returned manifest is correct.

    Raises:
        CommitRefused: this package did not write the file, or the file is damaged.
    """
    entry = _stat(store, partition)
    return None if entry is None else _load(store, partition, entry)


def load_archive(store: Store, table: str, requested: Iterable[Partition] = ()) -> Archive:
    """Load the manifest of every archived partition of a table, and list the files that cannot be used.

    The files are listed, not the manifests: a file whose manifest was never written is archived too.

    Args:
        store: the lake's store.
        table: name of the table.
        requested: partitions whose paths are also checked for folders, which a list of files does not hold.
    """
    files = store.list(table)
    listed = dict(_archived(store, table, files))
    manifests: dict[Partition, Manifest] = {}
    damaged: dict[Partition, CommitRefused] = {}
    for partition in sorted({*listed, *requested}, key=lambda one: (one.null_time, one)):
        try:
            if (entry := listed.get(partition) or _stat(store, partition)) is not None:
                manifests[partition] = _load(store, partition, entry)
        except CommitRefused as error:
            damaged[partition] = error
    usual = usual_length([*manifests, *damaged])
    for partition in [one for one in manifests if not one.null_time and one.window.ticks != usual]:
        del manifests[partition]
        damaged[partition] = CommitRefused(
            f"{partition}: {data_path(partition)} has another grain than the other files of this table."
            " The file was not changed. Move the file out of the lake"
        )
    return Archive(manifests, damaged, tuple(file.path for file in files if _is_foreign(table, file.path)))


def load_all(store: Store, table: str) -> Iterator[Manifest]:
    """Load the manifest of every archived partition of a table, oldest first, for a reader of all rows.

    Raises:
        CommitRefused: a file is damaged, so its rows would be left out.
    """
    archive = load_archive(store, table)
    for error in archive.damaged.values():
        raise error
    yield from archive.manifests.values()


def archived_partitions(store: Store, table: str) -> Sequence[Partition]:
    """Return the partitions of a table that have a file, oldest first, the null-time partition last."""
    return [partition for partition, _ in _archived(store, table, store.list(table))]


def usual_length(partitions: Iterable[Partition]) -> int | None:
    """Return the length in ticks that most partitions of a table have; None if there are no partitions."""
    lengths = Counter(partition.window.ticks for partition in partitions if not partition.null_time)
    return max(lengths, key=lambda length: lengths[length], default=None)


def has_proof(store: Store, partition: Partition) -> bool | None:
    """Return whether a partition's footer holds a manifest, as in every file that a pull wrote.

    The result is None if the footer cannot be read.
    """
    try:
        return FOOTER_KEY in _footer(store, partition)
    except (pa.ArrowException, OSError):
        return None


def _archived(store: Store, table: str, files: Iterable[Entry]) -> list[tuple[Partition, Entry]]:
    found = [(partition_from_path(table, entry.path), entry) for entry in files]
    if (null_time := store.stat(null_time_path(table))) is not None:
        found.append((partition_from_path(table, null_time.path), null_time))
    return [(partition, entry) for partition, entry in found if partition is not None]


def _is_foreign(table: str, path: str) -> bool:
    """Return whether a file is not at the path of a partition. Readers skip names like `_x` and `.x`."""
    skipped = any(name.startswith(("_", ".")) for name in path.split("/"))
    return not skipped and partition_from_path(table, path) is None


def _stat(store: Store, partition: Partition) -> Entry | None:
    try:
        return store.stat(data_path(partition))
    except (Misconfigured, OSError) as error:  # for example, a file in the place of the partition's folder
        raise _damaged(partition, error.__cause__ or error) from error


def _damaged(partition: Partition, reason: object) -> CommitRefused:
    return CommitRefused(
        f"{partition}: {data_path(partition)} was not written by this pipeline, or is damaged ({reason})."
        " The file was not changed. To archive this partition again, move the file out of the lake."
        " Then pull the partition"
    )


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
    """Return the manifest; None if it is missing or cannot be read. The file's footer replaces it."""
    try:
        data = store.get(manifest_path(partition))
        manifest = Manifest.from_json(data) if data is not None else None
    except (Misconfigured, OSError, ValueError):
        return None
    return manifest if manifest is not None and manifest.partition == partition else None


def _from_footer(store: Store, partition: Partition) -> Manifest:
    try:
        manifest = Manifest.from_json(_footer(store, partition)[FOOTER_KEY])
    except KeyError as error:
        raise _damaged(partition, "its footer has no manifest") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(partition, error) from error
    if manifest.partition != partition:
        raise CommitRefused(
            f"{partition}: {data_path(partition)} holds the partition {manifest.partition}."
            " The file was not changed. Move the file out of the lake, or to the path of that partition"
        )
    return manifest
