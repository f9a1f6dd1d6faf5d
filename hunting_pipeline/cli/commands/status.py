"""`hunting status`: show archived and missing partitions."""

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hunting_pipeline.cli.selection import DateRange, From, Tables, Tenant, To, selected_tables
from hunting_pipeline.cli.show import print_table
from hunting_pipeline.cli.text import Json, bytes_of, print_json
from hunting_pipeline.cli.work import Problems
from hunting_pipeline.model import SECOND, datetime_of
from hunting_pipeline.pipeline import Coverage, coverage, open_lake
from hunting_pipeline.settings import load_settings, naming

__all__ = ["status"]

Everything = Annotated[
    bool,
    typer.Option(
        "--all", help="everything from the first archived partition on; reads the manifests of whole tables"
    ),
]


def status(
    tables: Tables = None,
    start: From = None,
    end: To = None,
    everything: Everything = False,
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    if everything and (start or end):
        raise typer.BadParameter("--all takes no --from and no --to")
    settings = load_settings(tenant)
    limits, store = settings.limits_profile, open_lake(settings)
    now = round(time.time() * SECOND)
    days = DateRange.of(start, end, now=now, retention_days=limits.retention_days)
    with naming(settings):
        specs = selected_tables(tables or [], settings, store)
    found: list[Coverage] = []
    problems = Problems(settings)
    for spec in problems.until_fatal(specs):
        with problems.collected():
            asked = None if everything else days.partitions(spec)
            found.append(coverage(store, spec, asked, now=now, retention_days=limits.retention_days))
            problems.extend(found[-1].problems)
    if as_json:
        print_json([_as_json(table) for table in found])
    else:
        _print(found, f"Lake {store.uri()}, {'the whole archive' if everything else days}")
    problems.report()


def _print(found: Sequence[Coverage], title: str) -> None:
    print_table(
        title,
        ["table", "archived", "missing", "past retention", "damaged", "foreign files", "rows", "Parquet",
         "covered up to"],
        [
            [table.spec.name, f"{len(table.archived)} of {len(table.partitions) - len(table.backlog.future)}",
             len({partition for partition, _ in table.backlog.missing}), len(table.backlog.forgotten),
             len(table.damaged), len(table.foreign),
             sum(manifest.proof.rows for manifest in table.archived),
             bytes_of(sum(manifest.file_bytes for manifest in table.archived)), _covered_to(table)]
            for table in found
        ],
    )  # fmt: skip


def _covered_to(found: Coverage) -> str:
    if not found.archived:
        return "–"
    return f"{datetime_of(found.archived[-1].covered[-1].end):%Y-%m-%d %H:%M}"


def _as_json(found: Coverage) -> dict[str, Any]:
    return {
        "table": found.spec.name,
        "archived": [
            {"partition": manifest.partition.key, "rows": manifest.proof.rows,
             "file_bytes": manifest.file_bytes, "covered": [str(window) for window in manifest.covered],
             "slices": len(manifest.segments)}
            for manifest in found.archived
        ],
        "missing": [
            {"partition": partition.key, "span": str(span)} for partition, span in found.backlog.missing
        ],
        "forgotten": [partition.key for partition in found.backlog.forgotten],
        "future": [partition.key for partition in found.backlog.future],
        "damaged": [
            {"partition": partition.key, "problem": str(error)} for partition, error in found.damaged.items()
        ],
        "foreign_files": list(found.foreign),
    }  # fmt: skip
