"""`hunting rewrite`: write archived partitions again with another unit of times."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer

from hunting_pipeline.cli.progress import counted
from hunting_pipeline.cli.selection import Tables, Tenant, selected_tables
from hunting_pipeline.cli.show import print_table
from hunting_pipeline.cli.text import Json, bytes_of, print_json
from hunting_pipeline.cli.work import MAX_WAIT, Problems
from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.commit import claim
from hunting_pipeline.lake.layout import lock_path
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.lake.stores import LockingStore, Store
from hunting_pipeline.model import TableSpec, TimestampUnit
from hunting_pipeline.pipeline import open_lake
from hunting_pipeline.pipeline.rewrite import Rewrite, rewrite_of
from hunting_pipeline.settings import load_settings, naming

__all__ = ["rewrite"]


@dataclass(frozen=True)
class _Result:
    plan: Rewrite
    written: Sequence[Manifest]


def rewrite(
    timestamp_unit: Annotated[TimestampUnit, typer.Option(help="the unit of the written times")],
    tables: Tables = None,
    tenant: Tenant = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="write nothing: count the partitions to write")
    ] = False,
    as_json: Json = False,
) -> None:
    settings = load_settings(tenant)
    problems = Problems(settings)
    results: list[_Result] = []
    with naming(settings):
        store = open_lake(settings)
        if settings.tenant_id is not None:  # a rewrite needs no credentials
            claim(store, settings.tenant_id, write=False)
        specs = selected_tables(tables or [], settings, store)
    for spec in problems.until_fatal(replace(spec, timestamp_unit=timestamp_unit) for spec in specs):
        with problems.collected():
            plan = rewrite_of(store, spec)
            if dry_run or not plan.needed:
                results.append(_Result(plan, ()))
                problems.extend(plan.damaged)
                continue
            with _lock(store, spec):
                plan = rewrite_of(store, spec)
                done = list(counted(plan, total=len(plan.archived), label=spec.name, quiet=as_json))
            results.append(_Result(plan, [one for one in done if isinstance(one, Manifest)]))
            problems.extend([*plan.damaged, *(one for one in done if isinstance(one, CommitRefused))])
    if as_json:
        print_json([_as_json(result) for result in results])
    else:
        _print(results, timestamp_unit)
    problems.report()


def _lock(store: Store, spec: TableSpec) -> AbstractContextManager[None]:
    """Acquire the table's lock, in a store with locks. Without it, each put is still compare-and-swap."""
    if isinstance(store, LockingStore):
        return store.lock(lock_path(spec.name), max_wait=MAX_WAIT)
    return nullcontext()


def _print(results: Sequence[_Result], unit: TimestampUnit) -> None:
    print_table(
        f"Times in {unit}",
        ["table", "partitions to rewrite", "rewritten", "rows", "Parquet before", "Parquet"],
        [
            [result.plan.spec.name, len(result.plan.archived), len(result.written),
             sum(manifest.proof.rows for manifest in result.written),
             bytes_of(sum(manifest.file_bytes for manifest in result.plan.archived)),
             bytes_of(sum(manifest.file_bytes for manifest in result.written))]
            for result in results
        ],
    )  # fmt: skip


def _as_json(result: _Result) -> dict[str, Any]:
    return {
        "table": result.plan.spec.name,
        "timestamp_unit": result.plan.spec.timestamp_unit,
        "partitions": [manifest.partition.key for manifest in result.plan.archived],
        "rewritten": [manifest.partition.key for manifest in result.written],
        "rows": sum(manifest.proof.rows for manifest in result.written),
        "file_bytes_before": sum(manifest.file_bytes for manifest in result.plan.archived),
        "file_bytes": sum(manifest.file_bytes for manifest in result.written),
    }
