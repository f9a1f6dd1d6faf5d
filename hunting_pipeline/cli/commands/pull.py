"""`hunting pull`: fetch missing partitions into the lake."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hunting_pipeline.cli.commands.plan import show_plans
from hunting_pipeline.cli.progress import reporting
from hunting_pipeline.cli.selection import From, Tables, Tenant, To, selected_tables
from hunting_pipeline.cli.show import print_table
from hunting_pipeline.cli.text import Json, bytes_of, duration_of, print_json
from hunting_pipeline.cli.work import Problems, date_range, exiting_at_once, opened, run_to_end
from hunting_pipeline.model import Report
from hunting_pipeline.settings import load_settings

__all__ = ["pull"]


def pull(
    tables: Tables = None,
    start: From = None,
    end: To = None,
    tenant: Tenant = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="fetch nothing: show the plan")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="also replace partitions that would lose rows or that another query archived"
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    if dry_run:
        show_plans(tables or [], start, end, tenant, renew=force, as_json=as_json)
        return
    settings = load_settings(tenant)
    reports: list[Report] = []
    problems = Problems(settings)
    with exiting_at_once(), opened(settings) as pipeline, reporting(quiet=as_json) as observe:
        days = date_range(pipeline, start, end)
        for spec in problems.until_fatal(selected_tables(tables or [], settings, pipeline.store)):
            with (
                problems.collected(),
                pipeline.pull(
                    spec, days.partitions(spec), force=force, renew=force, observe=observe
                ) as pulling,
            ):
                run_to_end(pulling, problems)
                reports.append(pulling.report)
    if as_json:
        print_json([_as_json(report) for report in reports])
    else:
        _print(reports)
    problems.report()


def _print(reports: Sequence[Report]) -> None:
    print_table(
        "Pulled",
        ["table", "partitions", "rows", "Parquet", "JSON", "calls", "waited for quota", "already archived"],
        [
            [r.table, len(r.receipts), sum(receipt.proof.rows for receipt in r.receipts),
             bytes_of(sum(receipt.file_bytes for receipt in r.receipts)),
             bytes_of(sum(receipt.body_bytes for receipt in r.receipts)),
             r.calls, duration_of(r.waited_seconds), len(r.covered)]
            for r in reports
        ],
    )  # fmt: skip


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "table": report.table,
        "partitions": [receipt.partition.key for receipt in report.receipts],
        "covered": [partition.key for partition in report.covered],
        "rows": sum(receipt.proof.rows for receipt in report.receipts),
        "file_bytes": sum(receipt.file_bytes for receipt in report.receipts),
        "json_bytes": sum(receipt.body_bytes for receipt in report.receipts),
        "calls": report.calls,
        "running_seconds": report.running_seconds,
        "waited_seconds": report.waited_seconds,
        "resumed_slices": report.resumed,
    }
