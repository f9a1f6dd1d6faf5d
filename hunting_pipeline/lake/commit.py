"""Staged pieces become one Parquet file that appears whole or not at all, then its manifest."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake.layout import LAKE_FILE, data_path, manifest_path, staging_path
from hunting_pipeline.lake.manifest import FOOTER_KEY, Manifest, load
from hunting_pipeline.lake.parquet import ROW_GROUP_BYTES, ROW_GROUP_ROWS, parquet_writer
from hunting_pipeline.lake.schema import columns_of, conform, fingerprint, merged
from hunting_pipeline.lake.sources import Source, overlapping, sources
from hunting_pipeline.lake.store import Store, opened
from hunting_pipeline.lake.write import Ticks, proof_of, rescued_values, unstage
from hunting_pipeline.model import Partition, Proof, Receipt, Staged, TableSpec, Window, merge_windows

__all__ = ["Writer", "claim", "commit", "known_schema", "prove_writable"]

_LAYOUT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Writer:
    """Who commits: goes into manifests and footers.

    Attributes:
        tenant: Entra tenant id; a lake belongs to one.
        api: which API brought the rows.
        engine: name and version of the program.
        run_id: of the run.
    """

    tenant: str
    api: str
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
            claim(store, tenant, write=False)  # another tenant may have been quicker
        return
    try:
        lake = json.loads(found)
        owner, layout = lake["tenant"], lake["layout"]
    except (ValueError, KeyError, TypeError) as error:
        raise Misconfigured(
            f"the lake's {LAKE_FILE} cannot be read; restore it or choose another lake"
        ) from error
    if str(owner).lower() != tenant.lower():
        raise Misconfigured(
            f"this lake holds tenant {owner}, and the settings name tenant {tenant}:"
            " change HUNTING_LAKE or HUNTING_TENANT_ID. Nothing was asked, nothing written"
        )
    if layout != _LAYOUT_VERSION:
        raise Misconfigured(f"the lake has layout {layout}; this version writes layout {_LAYOUT_VERSION}")


def prove_writable(store: Store, partition: Partition) -> None:
    """Make sure that a partition could be staged and committed; leaves no trace.

    Raises:
        Misconfigured: the lake cannot be written.
    """
    for path in (staging_path(partition, None, None), data_path(partition), manifest_path(partition)):
        store.prove_writable(path)


def known_schema(store: Store, newest: Partition | None) -> pa.Schema | None:
    """The schema of a table's newest file; None before its first commit.

    Raises:
        CommitRefused: that file is damaged.
    """
    if newest is None:
        return None
    with opened(store, data_path(newest)) as file:
        return pq.read_schema(file).remove_metadata()


def commit(
    store: Store,
    partition: Partition,
    *,
    staged: Sequence[Staged],
    archived: Manifest | None,
    known: pa.Schema | None,
    spec: TableSpec,
    writer: Writer,
    now: int,
    force: bool = False,
) -> Receipt:
    """Publish a partition: its archived rows outside the staged spans, and the staged pieces.

    Afterwards the file, then the manifest, are on disk and the pieces are gone from staging.

    Args:
        staged: every piece of the partition that was owed.
        archived: what the present file proves; None if there is none.
        known: the table's schema so far, see `known_schema`.
        now: ticks, for the manifest.
        force: allow fewer rows than are archived.

    Raises:
        CommitRefused: fewer rows or less time than archived, rows that would be doubled, a schema that does
            not fit, or a file that is not what `archived` says. The old file stays.
        Misconfigured: the lake is another tenant's or cannot be written. The old file stays.
    """
    claim(store, writer.tenant, write=True)
    _refuse_surprises(store, partition, archived, writer)
    if overlapping(staged):
        unstage(store, partition)
        raise CommitRefused(
            f"{partition}: staged slices overlap and would double rows; they were thrown away,"
            " the archive is untouched. Run again"
        )
    same_query = archived if archived and archived.query_hash == spec.query_hash else None
    parts = sources(store, staged, same_query, time_column=spec.time_column)
    if archived is not None:
        _refuse_less_coverage(partition, parts, archived)
    schema = merged(spec, known, [source.schema(store) for source in parts])
    manifest = _draft(partition, parts, schema, query_hash=spec.query_hash, writer=writer, now=now)
    with store.put_file(data_path(partition)) as path:
        tables = _row_groups(store, parts, schema, spec)
        written = _write_parquet(path, tables, schema=schema, manifest=manifest, spec=spec, archived=archived)
        if written.proof != manifest.proof:
            unstage(store, partition)
            raise CommitRefused(
                f"{partition}: {written.proof} was written where {manifest.proof} is proven; what was staged"
                " was thrown away, the archive is untouched. Run again"
            )
        if archived is not None and not force:
            _refuse_fewer_rows(spec, partition, written.again, archived)
        manifest = replace(manifest, file_bytes=path.stat().st_size, rescued=written.rescued)
    manifest = replace(manifest, file_version=store.version(data_path(partition)) or "")
    store.put(manifest_path(partition), manifest.to_json().encode())
    unstage(store, partition)
    return _receipt(manifest, written.time_range, archived)


def _draft(
    partition: Partition,
    parts: Sequence[Source],
    schema: pa.Schema,
    *,
    query_hash: str,
    writer: Writer,
    now: int,
) -> Manifest:
    """What the file will prove, as far as it is known before it is written."""
    return Manifest(
        partition=partition,
        tenant=writer.tenant,
        query_hash=query_hash,
        proof=sum((source.proof for source in parts), Proof(0, 0)),
        file_bytes=0,
        file_version="",
        body_bytes=sum(source.body_bytes for source in parts),
        rescued=0,
        fingerprint=fingerprint(schema),
        columns=columns_of(schema),
        segments=tuple(segment for source in parts for segment in source.segments),
        api=writer.api,
        engine=writer.engine,
        run_id=writer.run_id,
        committed_at=now,
    )


def _receipt(manifest: Manifest, time_range: tuple[int, int] | None, archived: Manifest | None) -> Receipt:
    return Receipt(
        partition=manifest.partition,
        covered=manifest.covered,
        path=data_path(manifest.partition),
        proof=manifest.proof,
        file_bytes=manifest.file_bytes,
        body_bytes=manifest.body_bytes,
        slices=len(manifest.segments),
        fingerprint=manifest.fingerprint,
        columns=manifest.columns,
        previous_rows=archived.proof.rows if archived else None,
        rescued=manifest.rescued,
        time_range=time_range,
    )


def _refuse_fewer_rows(spec: TableSpec, partition: Partition, again: int, archived: Manifest) -> None:
    if again >= archived.proof.rows:
        return
    if archived.query_hash != spec.query_hash:
        raise CommitRefused(
            f"{partition}: another query archived {archived.proof.rows} rows, and the present one brings"
            f" {again}; the archive is untouched. Change `columns`, `where` or the hunt's text back, or"
            " choose another lake"
        )
    remedy = f". `hunting reconcile {spec.name} --force` replaces it all the same" if spec.plain else ""
    raise CommitRefused(
        f"{partition}: the service now holds {again} rows where {archived.proof.rows} are archived;"
        f" the archive is untouched{remedy}"
    )


def _refuse_surprises(store: Store, partition: Partition, archived: Manifest | None, writer: Writer) -> None:
    """The file must be what the caller planned with, and this tenant's."""
    if load(store, partition) != archived:
        raise CommitRefused(
            f"{partition}: another run changed the archive meanwhile; it is left as it is. Run again"
        )
    if archived is not None and archived.tenant.lower() != writer.tenant.lower():
        raise CommitRefused(
            f"{partition}: its file holds rows of tenant {archived.tenant}, not of {writer.tenant};"
            " it is left as it is. Choose another lake"
        )


def _refuse_less_coverage(partition: Partition, parts: Sequence[Source], archived: Manifest) -> None:
    if not parts:
        raise CommitRefused(f"{partition}: nothing is staged; the archive is untouched")
    spans = [segment.span or partition.window for source in parts for segment in source.segments]
    covered = merge_windows(spans)
    for window in archived.covered:
        if not any(new.contains(window) for new in covered):
            raise CommitRefused(
                f"{partition}: the new file would no longer cover {window}; the archive is untouched"
            )


@dataclass(slots=True)
class _Written:
    """What really went into a file.

    Attributes:
        again: rows in the spans that the file before it covered.
        low, high: least and greatest time (ticks).
    """

    proof: Proof = field(default_factory=lambda: Proof(0, 0))
    again: int = 0
    rescued: int = 0
    low: int | None = None
    high: int | None = None

    @property
    def time_range(self) -> tuple[int, int] | None:
        return None if self.low is None or self.high is None else (self.low, self.high)

    def add(self, table: pa.Table, spec: TableSpec, spans: Sequence[Window]) -> None:
        """Count a row group."""
        self.rescued += rescued_values(table)
        if spec.time_column is None:
            self.proof += Proof(table.num_rows, 0)
            self.again += table.num_rows
            return
        ticks: Ticks = table[spec.time_column].cast(pa.int64()).to_numpy() // 100
        self.proof += proof_of(ticks)
        self.again += sum(int(((ticks >= span.start) & (ticks < span.end)).sum()) for span in spans)
        if len(ticks):
            low, high = int(ticks.min()), int(ticks.max())
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)


def _write_parquet(
    path: Path,
    tables: Iterable[pa.Table],
    *,
    schema: pa.Schema,
    manifest: Manifest,
    spec: TableSpec,
    archived: Manifest | None,
) -> _Written:
    """Stream row groups into one file, counting what is really written."""
    written, spans = _Written(), archived.covered if archived else ()
    tables = iter(tables)
    table: pa.Table | None = next(tables, schema.empty_table())
    with parquet_writer(path, schema, table) as file:
        while table is not None:
            file.write_table(table, row_group_size=ROW_GROUP_ROWS)
            written.add(table, spec, spans)
            table = None  # gone before the next one is read
            table = next(tables, None)
        footer = replace(manifest, rescued=written.rescued)
        file.add_key_value_metadata({FOOTER_KEY: footer.to_json()})
    return written


def _row_groups(
    store: Store, parts: Sequence[Source], schema: pa.Schema, spec: TableSpec
) -> Iterator[pa.Table]:
    """The rows in order, gathered until they are worth a row group.

    Bucket pieces of one span follow each other as they came: they share a tick, but for rows that came late.
    """
    pending: list[pa.Table] = []
    rows = size = 0
    for source in parts:
        for table in source.tables(store, spec.time_column):
            pending.append(conform(table, schema))
            rows += table.num_rows
            size += table.nbytes
            if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
                yield pa.concat_tables(pending)
                del table
                pending = []
                rows = size = 0
    if pending:
        yield pa.concat_tables(pending)
