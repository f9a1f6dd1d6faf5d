"""Staged pieces become one Parquet file that appears whole or not at all, then its manifest."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake.layout import LAKE_FILE, data_path, manifest_path
from hunting_pipeline.lake.manifest import FOOTER_KEY, Manifest, Piece, merge_windows
from hunting_pipeline.lake.schema import columns_of, conform, fingerprint, merged
from hunting_pipeline.lake.store import Store
from hunting_pipeline.lake.write import Ticks, tally_of, unstage
from hunting_pipeline.model import Partition, Receipt, Staged, TableSpec, Tally, Window

__all__ = ["Author", "claim", "commit", "known_schema"]

_LAYOUT_VERSION = 1

_ROW_GROUP_ROWS = 131_072
_ROW_GROUP_BYTES = 64 * 1024 * 1024
"""A row group ends at the first of these: rows, or Arrow bytes, so that wide tables stay cheap in memory."""

_ZSTD_LEVEL = 1
"""Levels above cost more time than the size they save is worth on these tables."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who commits: goes into manifests and footers.

    Attributes:
        tenant: Entra tenant id; a lake belongs to one.
        surface: which API brought the rows.
        engine: name and version of the program.
        run_id: of the run.
    """

    tenant: str
    surface: str
    engine: str
    run_id: str


def claim(store: Store, tenant: str, *, write: bool) -> None:
    """Make sure that the lake is this tenant's; with `write`, mark a new lake as such.

    Raises:
        Misconfigured: the lake belongs to another tenant, or was laid out by another version.
    """
    found = store.get(LAKE_FILE)
    if found is None:
        if write:
            text = json.dumps({"tenant": tenant, "layout": _LAYOUT_VERSION}) + "\n"
            store.put(LAKE_FILE, text.encode())
        return
    try:
        lake = json.loads(found)
        owner, layout = lake["tenant"], lake["layout"]
    except (ValueError, KeyError, TypeError) as error:
        raise Misconfigured(
            f"the lake's {LAKE_FILE} cannot be read; restore it or choose another lake"
        ) from error
    if owner != tenant:
        raise Misconfigured(
            f"this lake holds tenant {owner}, and the settings name tenant {tenant}:"
            " change HUNTING_LAKE or HUNTING_TENANT_ID. Nothing was asked, nothing written"
        )
    if layout != _LAYOUT_VERSION:
        raise Misconfigured(f"the lake has layout {layout}; this version writes layout {_LAYOUT_VERSION}")


def known_schema(store: Store, newest: Manifest | None) -> pa.Schema | None:
    """The schema of a table's newest file; None before its first commit."""
    if newest is None:
        return None
    with store.filesystem.open_input_file(data_path(newest.partition)) as file:
        return pq.read_schema(file).remove_metadata()


def commit(
    store: Store,
    partition: Partition,
    *,
    staged: Sequence[Staged],
    archived: Manifest | None,
    known: pa.Schema | None,
    spec: TableSpec,
    author: Author,
    now: int,
    force: bool = False,
) -> Receipt:
    """Publish a partition: its archived rows outside the staged spans, and the staged pieces.

    Afterwards the file, then the manifest, are on disk and the pieces are gone from staging.

    Args:
        staged: every piece of the partition that was owed.
        archived: what the present file proves; None if there is none or it is to be replaced whole.
        known: the table's schema so far, see `known_schema`.
        now: ticks, for the manifest.
        force: allow fewer rows than are archived.

    Raises:
        CommitRefused: fewer rows than archived, or a schema that does not fit. The old file stays.
        Misconfigured: the lake is another tenant's or cannot be written. The old file stays.
    """
    claim(store, author.tenant, write=True)
    sources = _sources(staged, archived)
    _refuse_less_coverage(partition, sources, archived)
    tally = sum((source.tally for source in sources), Tally(0, 0))
    if archived is not None and tally.rows < archived.tally.rows and not force:
        raise CommitRefused(
            f"{partition}: the service now holds {tally.rows} rows where {archived.tally.rows} are archived;"
            " the archive is untouched. Use --force to replace it all the same"
        )
    schema = merged(spec, known, [source.schema(store) for source in sources])
    manifest = Manifest(
        partition=partition,
        tenant=author.tenant,
        shape=spec.shape,
        tally=tally,
        file_bytes=0,
        body_bytes=sum(source.body_bytes for source in sources),
        rescued=sum(source.rescued for source in sources),
        fingerprint=fingerprint(schema),
        columns=columns_of(schema),
        pieces=tuple(piece for source in sources for piece in source.pieces),
        surface=author.surface,
        engine=author.engine,
        run_id=author.run_id,
        committed_at=now,
    )
    with store.put_file(data_path(partition)) as path:
        written = _write_parquet(store, path, sources=sources, schema=schema, manifest=manifest, spec=spec)
        if written.tally != tally:
            raise CommitRefused(
                f"{partition}: {written.tally} was written where {tally} is proven; nothing changed"
            )
        manifest = replace(manifest, file_bytes=path.stat().st_size)
    store.put(manifest_path(partition), manifest.to_json().encode())
    unstage(store, partition)
    return Receipt(
        partition=partition,
        covered=manifest.covered,
        path=data_path(partition),
        tally=tally,
        file_bytes=manifest.file_bytes,
        body_bytes=manifest.body_bytes,
        slices=len(manifest.pieces),
        fingerprint=manifest.fingerprint,
        columns=manifest.columns,
        previous_rows=archived.tally.rows if archived else None,
        rescued=manifest.rescued,
        time_range=written.time_range,
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """Rows of one file that go into the new one: a staged piece, or the archive outside the staged spans.

    `span` filters an archived file's rows; None takes them all.
    """

    path: str
    start: int
    span: Window | None
    pieces: tuple[Piece, ...]
    body_bytes: int
    rescued: int

    @property
    def tally(self) -> Tally:
        return sum((piece.tally for piece in self.pieces), Tally(0, 0))

    @property
    def archived(self) -> bool:
        return self.path.endswith(".parquet")

    def schema(self, store: Store) -> pa.Schema:
        with store.filesystem.open_input_file(self.path) as file:
            return (
                pq.read_schema(file) if self.archived else pa.ipc.open_file(file).schema
            ).remove_metadata()

    def tables(self, store: Store, time_column: str | None) -> Iterator[pa.Table]:
        with store.filesystem.open_input_file(self.path) as file:
            if not self.archived:
                yield pa.ipc.open_file(file).read_all()
                return
            for batch in pq.ParquetFile(file).iter_batches():
                table = pa.Table.from_batches([batch])
                yield table if self.span is None else _within(table, str(time_column), self.span)


def _within(table: pa.Table, time_column: str, span: Window) -> pa.Table:
    times = table[time_column]
    low, high = (pa.scalar(ticks * 100, pa.int64()).cast(times.type) for ticks in (span.start, span.end))
    return table.filter(pc.and_(pc.greater_equal(times, low), pc.less(times, high)))


def _sources(staged: Sequence[Staged], archived: Manifest | None) -> list[_Source]:
    """Staged pieces and kept stretches of the archive, in order of time."""
    sources = [
        _Source(
            path=piece.path,
            start=piece.span.start if piece.span else 0,
            span=None,
            pieces=(_proof(piece),),
            body_bytes=piece.body_bytes,
            rescued=piece.rescued,
        )
        for piece in staged
    ]
    replaced = [piece.span for piece in staged]
    if archived is not None and None not in replaced:
        kept = [piece for piece in archived.pieces if not _overlaps(piece.span, replaced)]
        share = sum(piece.tally.rows for piece in kept) / max(1, archived.tally.rows)
        sources += [
            _Source(
                path=data_path(archived.partition),
                start=run[0].span.start if run[0].span else 0,
                span=Window(run[0].span.start, run[-1].span.end) if run[0].span and run[-1].span else None,
                pieces=tuple(run),
                body_bytes=round(archived.body_bytes * share) if number == 0 else 0,
                rescued=archived.rescued if number == 0 else 0,
            )
            for number, run in enumerate(_runs(kept))
        ]
    return sorted(sources, key=lambda source: source.start)


def _proof(piece: Staged) -> Piece:
    bucket = (piece.bucket.index, piece.bucket.of) if piece.bucket else None
    return Piece(piece.span, bucket, piece.tally, piece.query, piece.fetched_at)


def _overlaps(span: Window | None, others: Sequence[Window | None]) -> bool:
    return span is None or any(other is None or span.intersection(other) for other in others)


def _runs(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """Neighbouring pieces together, so that each stretch of the archive is read once."""
    run: list[Piece] = []
    for piece in pieces:
        adjacent = run and run[-1].span and piece.span and piece.span.start <= run[-1].span.end
        if run and not adjacent:
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _refuse_less_coverage(
    partition: Partition, sources: Sequence[_Source], archived: Manifest | None
) -> None:
    spans = [piece.span for source in sources for piece in source.pieces if piece.span]
    covered = merge_windows(spans)
    if archived is None or not spans:
        return
    for window in archived.covered:
        if not any(new.contains(window) for new in covered):
            raise CommitRefused(
                f"{partition}: the new file would no longer cover {window}; the archive is untouched"
            )


@dataclass(frozen=True, slots=True)
class _Written:
    tally: Tally
    time_range: tuple[int, int] | None


def _write_parquet(
    store: Store,
    path: Path,
    *,
    sources: Sequence[_Source],
    schema: pa.Schema,
    manifest: Manifest,
    spec: TableSpec,
) -> _Written:
    """Stream the sources into one file, counting what is really written."""
    tally, low, high = Tally(0, 0), None, None
    with pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=_ZSTD_LEVEL, write_page_index=True
    ) as writer:
        for table in _row_groups(store, sources, schema, spec):
            writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
            ticks = _ticks(table, spec)
            tally += tally_of(ticks) if spec.time_column else Tally(table.num_rows, 0)
            if len(ticks):
                low = int(ticks[0]) if low is None else low
                high = int(ticks[-1])
        writer.add_key_value_metadata({FOOTER_KEY: manifest.to_json()})
    return _Written(tally, None if low is None or high is None else (low, high))


def _ticks(table: pa.Table, spec: TableSpec) -> Ticks:
    if spec.time_column is None:
        return np.empty(0, np.int64)
    ticks: Ticks = table[spec.time_column].cast(pa.int64()).to_numpy() // 100
    return ticks


def _row_groups(
    store: Store, sources: Sequence[_Source], schema: pa.Schema, spec: TableSpec
) -> Iterator[pa.Table]:
    """The rows in order, gathered until they are worth a row group."""
    pending: list[pa.Table] = []
    for source in sources:
        for table in source.tables(store, spec.time_column):
            pending.append(conform(table, schema))
            rows, size = sum(t.num_rows for t in pending), sum(t.nbytes for t in pending)
            if rows >= _ROW_GROUP_ROWS or size >= _ROW_GROUP_BYTES:
                yield pa.concat_tables(pending)
                pending = []
    if pending:
        yield pa.concat_tables(pending)
