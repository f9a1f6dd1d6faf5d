"""The commit: it writes staged segments as one Parquet file, whole or not at all, and then the manifest.

The file is replaced only if it is still the file for which the commit was planned. If another run has
replaced it, the commit is planned again from the new file and the staged segments. If a manifest is written
after another run's file, it has another version than that file. Then `load` reads the file's footer instead.
"""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path

import pyarrow as pa

from hunting_pipeline.errors import CommitRefused, Misconfigured, setting
from hunting_pipeline.lake.layout import (
    LAKE_FILE,
    LAKE_FILE_OF_VERSION_1,
    data_path,
    manifest_path,
    staging_path,
)
from hunting_pipeline.lake.manifest import Manifest, load
from hunting_pipeline.lake.partition_file import Written, row_groups, write_partition_file
from hunting_pipeline.lake.replan import still_needed
from hunting_pipeline.lake.schema import columns_of, fingerprint
from hunting_pipeline.lake.sources import Source, merged_schema, overlapping, sources
from hunting_pipeline.lake.stores import ABSENT, Conflict, Store
from hunting_pipeline.lake.table_schema import register_schema
from hunting_pipeline.lake.write import is_staged, unstage
from hunting_pipeline.model import Partition, Proof, Receipt, Staged, TableSpec, merge_windows

__all__ = ["Writer", "claim", "commit", "owner", "prove_writable"]

_LAYOUT_VERSION = 2

_ATTEMPTS = 5
"""Most plans of one commit. Each new plan needs a commit of another run in the meantime."""


@dataclass(frozen=True, slots=True)
class Writer:
    """The identity of the writer, for manifests and footers.

    Attributes:
        tenant: Entra tenant id; a lake belongs to one tenant.
        api: the API that sent the rows.
        engine: name and version of the program.
        run_id: id of the run.
    """

    tenant: str
    api: str
    engine: str
    run_id: str


def owner(store: Store) -> str | None:
    """Return the tenant id of the lake; None for a new lake.

    Raises:
        Misconfigured: the lake has another layout version, or its lake file cannot be read.
    """
    found = store.get(LAKE_FILE)  # the error of a GET says more than the error of a HEAD
    if found is None:
        if store.stat(LAKE_FILE_OF_VERSION_1) is not None:
            raise _other_layout(store, 1)
        return None
    try:
        lake = json.loads(bytes(found))
        tenant, layout = lake["tenant"], lake["layout"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Misconfigured(
            f"{store.uri(LAKE_FILE)} is not a valid lake file. No request was sent and no data was written."
            f" Restore this file, or set {setting('lake')} to another lake"
        ) from error
    if layout != _LAYOUT_VERSION:
        raise _other_layout(store, layout)
    return str(tenant)


def _other_layout(store: Store, layout: object) -> Misconfigured:
    return Misconfigured(
        f"the lake {store.uri()} has layout version {layout}, and this program needs version"
        f" {_LAYOUT_VERSION}. No request was sent and no data was written. Set {setting('lake')} to a new"
        " folder and archive the tables again"
    )


def claim(store: Store, tenant: str, *, write: bool) -> None:
    """Check that the lake is new or belongs to the tenant. With `write`, mark a new lake as this tenant's.

    Raises:
        Misconfigured: the lake belongs to another tenant, has another layout version, or cannot be written.
    """
    present = owner(store)
    if present is None:
        if write:
            text = json.dumps({"tenant": tenant, "layout": _LAYOUT_VERSION}) + "\n"
            with suppress(Conflict):  # another run was faster; the next line compares its tenant
                store.put(LAKE_FILE, text.encode(), expected=ABSENT)
            claim(store, tenant, write=False)
        return
    if present.lower() != tenant.lower():
        raise Misconfigured(
            f"this lake holds tenant {present}, and {setting('tenant_id')} is {tenant}. No request was sent"
            f" and no data was written. Change {setting('lake')} or {setting('tenant_id')}"
        )


def prove_writable(store: Store, partition: Partition) -> None:
    """Check that a partition can be staged and committed. Leaves no file behind.

    Raises:
        Misconfigured: the lake cannot be written.
    """
    for path in (staging_path(partition, None, None), data_path(partition), manifest_path(partition)):
        store.prove_writable(path)


def commit(
    store: Store,
    partition: Partition,
    *,
    staged: Sequence[Staged],
    archived: Manifest | None,
    spec: TableSpec,
    writer: Writer,
    now: int,
    force: bool = False,
    first_schema: pa.Schema | None = None,
) -> Receipt:
    """Commit a partition: the staged segments, and the archived rows outside their spans.

    Registers new columns in the table's schema, writes the file, and then the manifest. Then removes the
    segments from staging. If another run commits the partition in the meantime, its rows stay, and the commit
    is planned again with them. If nothing is left to commit then, the receipt is the one of the present file.

    Args:
        store: the lake's store.
        partition: the partition to commit.
        staged: all segments that the partition was missing.
        archived: the manifest of the current file; None if there is no file.
        spec: the table.
        writer: the writer's identity, for the manifest.
        now: the current time (ticks), for the manifest.
        force: allow fewer rows than are archived in `archived`, but not fewer than another run adds.
        first_schema: the schema of the table if this is its first commit; None for the staged columns.

    Raises:
        CommitRefused: the new file would hold fewer rows, cover less time or duplicate rows; the schema does
            not fit; or other runs change the partition again and again. The present file stays.
        LakeBusy: another run does not finish its put.
        Misconfigured: the lake belongs to another tenant or cannot be written. The old file stays.
    """
    claim(store, writer.tenant, write=True)
    _refuse_doubled_rows(store, partition, staged)
    replaced = partial(
        _replace, store, partition, first_schema=first_schema, spec=spec, writer=writer, now=now
    )
    needed = tuple(staged)
    for attempt in count(1):
        try:
            receipt = replaced(needed, archived, force=force)
            break
        except CommitRefused:
            present = load(store, partition)
            if present == archived or attempt == _ATTEMPTS:
                raise
            needed = still_needed(needed, spec, planned=archived, present=present)
            archived, force = present, False  # the force was meant for the rows of the first plan
            if present is not None and not needed:
                receipt = _receipt(present, None, present)
                break
    for segment in staged:
        store.delete(segment.path)
    return receipt


def _replace(
    store: Store,
    partition: Partition,
    staged: Sequence[Staged],
    archived: Manifest | None,
    *,
    first_schema: pa.Schema | None,
    spec: TableSpec,
    writer: Writer,
    now: int,
    force: bool,
) -> Receipt:
    """Replace the file of `archived`, and write the manifest of the new file. See `commit`."""
    _refuse_concurrent_change(store, partition, archived, writer)
    same_query = archived if archived and archived.query_hash == spec.query_hash else None
    written = Written()
    with _copy_of(store, same_query) as copy:
        parts = sources(staged, same_query, copy=copy, time_column=spec.time_column)
        if archived is not None:
            _refuse_less_coverage(partition, parts, archived)
        merge = partial(merged_schema, store, parts, spec)
        schema = register_schema(store, partition, spec, first=first_schema, merge=merge)
        manifest = _draft(partition, parts, schema, query_hash=spec.query_hash, writer=writer, now=now)

        def write(path: Path) -> None:
            tables = row_groups(store, parts, schema, spec)
            spans = archived.covered if archived else ()
            write_partition_file(
                path, tables, written, schema=schema, manifest=manifest, spec=spec, spans=spans
            )
            _refuse_changed_segments(store, partition, staged)
            if written.proof != manifest.proof:
                _refuse_concurrent_change(store, partition, archived, writer)
                _refuse_other_rows(store, partition, written.proof, manifest.proof)
            if archived is not None and not force:
                _refuse_fewer_rows(spec, partition, written.again, archived)

        version = store.put_file(
            data_path(partition), write, expected=archived.file_version if archived else ABSENT
        )
    manifest = replace(manifest, file_bytes=written.file_bytes, rescued=written.rescued, file_version=version)
    store.put(manifest_path(partition), manifest.to_json().encode())
    return _receipt(manifest, written.time_range, archived)


def _copy_of(store: Store, archived: Manifest | None) -> AbstractContextManager[Path | None]:
    """Open a local copy of an archived file whose rows are kept, in the version of its manifest."""
    if archived is None:
        return nullcontext()
    return store.local_file(data_path(archived.partition), version=archived.file_version)


def _draft(
    partition: Partition,
    parts: Sequence[Source],
    schema: pa.Schema,
    *,
    query_hash: str,
    writer: Writer,
    now: int,
) -> Manifest:
    """Build the manifest without the values that are known only after the file is written."""
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


def _refuse_doubled_rows(store: Store, partition: Partition, staged: Sequence[Staged]) -> None:
    if overlapping(staged):
        unstage(store, partition.table, [partition])
        raise CommitRefused(
            f"{partition}: staged segments overlap, and a commit would duplicate rows. The segments were"
            " removed; the archive is unchanged. Run again"
        )


def _refuse_other_rows(store: Store, partition: Partition, written: Proof, proven: Proof) -> None:
    unstage(store, partition.table, [partition])
    raise CommitRefused(
        f"{partition}: the new file holds {written}, but its manifest says {proven}. The staged segments"
        " were removed; the archive is unchanged. Run again"
    )


def _refuse_changed_segments(store: Store, partition: Partition, staged: Sequence[Staged]) -> None:
    """Check that another run has not replaced staged segments before or while they were read."""
    if not all(is_staged(store, segment) for segment in staged):
        raise CommitRefused(
            f"{partition}: another run replaced or removed staged segments. The archive is unchanged."
            " Run again"
        )


def _refuse_fewer_rows(spec: TableSpec, partition: Partition, again: int, archived: Manifest) -> None:
    if again >= archived.proof.rows:
        return
    if archived.query_hash != spec.query_hash:
        raise CommitRefused(
            f"{partition}: another query archived {archived.proof.rows} rows, and the current query returned"
            f" {again}. The archive is unchanged. Change `columns`, `where` or the hunt's text back, or"
            f" set {setting('lake')} to another lake"
        )
    remedy = f". To replace it, run `hunting reconcile {spec.name} --force`" if spec.plain else ""
    raise CommitRefused(
        f"{partition}: the service now holds {again} rows, and {archived.proof.rows} are archived."
        f" The archive is unchanged{remedy}"
    )


def _refuse_concurrent_change(
    store: Store, partition: Partition, archived: Manifest | None, writer: Writer
) -> None:
    """Check that the file did not change since the plan, and that it belongs to this tenant."""
    if load(store, partition) != archived:
        raise CommitRefused(
            f"{partition}: another run changed the archive in the meantime. Its change stays. Run again"
        )
    if archived is not None and archived.tenant.lower() != writer.tenant.lower():
        raise CommitRefused(
            f"{partition}: its file holds rows of tenant {archived.tenant}, not of {writer.tenant}."
            f" The file was not changed. Set {setting('lake')} to another lake"
        )


def _refuse_less_coverage(partition: Partition, parts: Sequence[Source], archived: Manifest) -> None:
    if not parts:
        raise CommitRefused(f"{partition}: nothing is staged. The archive is unchanged. Run again")
    spans = [segment.span or partition.window for source in parts for segment in source.segments]
    covered = merge_windows(spans)
    for window in archived.covered:
        if not any(new.contains(window) for new in covered):
            raise CommitRefused(
                f"{partition}: the new file would no longer cover {window}. The archive is unchanged."
                " Run again"
            )
