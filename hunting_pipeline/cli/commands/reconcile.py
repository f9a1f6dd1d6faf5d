"""`hunting reconcile`: count archived rows again and fetch the spans that differ."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from hunting_pipeline.cli.progress import reporting
from hunting_pipeline.cli.selection import From, Tables, Tenant, To, selected_tables
from hunting_pipeline.cli.show import print_table
from hunting_pipeline.cli.text import Json, print_json
from hunting_pipeline.cli.work import Problems, date_range, exiting_at_once, opened, run_to_end
from hunting_pipeline.model import Report
from hunting_pipeline.pipeline import Recount
from hunting_pipeline.settings import load_settings

__all__ = ["reconcile"]


def reconcile(
    tables: Tables = None,
    start: From = None,
    end: To = None,
    tenant: Tenant = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="fetch nothing: count and compare")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="also replace spans that now have fewer rows")
    ] = False,
    as_json: Json = False,
) -> None:
    settings = load_settings(tenant)
    results: list[tuple[Recount, Report]] = []
    problems = Problems(settings)
    with exiting_at_once(), opened(settings) as pipeline, reporting(quiet=as_json) as observe:
        days = date_range(pipeline, start, end)
        for spec in problems.until_fatal(selected_tables(tables or [], settings, pipeline.store)):
            partitions = days.partitions(spec)
            if dry_run:
                with problems.collected():
                    counted = pipeline.recount(spec, partitions, observe=observe)
                    results.append((counted, Report(counted.table, calls=counted.calls)))
                    problems.extend(counted.damaged.values())
                continue
            with (
                problems.collected(),
                pipeline.reconcile(spec, partitions, force=force, observe=observe) as (
                    recount,
                    pulling,
                ),
            ):
                run_to_end(pulling, problems)
                results.append((recount, pulling.report))
    if as_json:
        print_json([_as_json(recount, report) for recount, report in results])
    else:
        _print(results)
    problems.report()


def _print(results: Sequence[tuple[Recount, Report]]) -> None:
    print_table(
        "Reconciled",
        ["table", "rows compared", "bins that differ", "bins with fewer rows", "partitions replaced",
         "by another query", "damaged", "calls"],
        [
            [recount.table, recount.rows, len(recount.grown), len(recount.shrunk),
             len(report.receipts), len(recount.other_query), len(recount.damaged), report.calls]
            for recount, report in results
        ],
    )  # fmt: skip


def _as_json(recount: Recount, report: Report) -> dict[str, Any]:
    return {
        "table": recount.table,
        "rows": recount.rows,
        "windows": [str(window) for window in recount.windows],
        "differing": [str(window) for window in recount.grown],
        "shrunk": [str(window) for window in recount.shrunk],
        "archived_by_another_query": [partition.key for partition in recount.other_query],
        "damaged": [partition.key for partition in recount.damaged],
        "replaced": [receipt.partition.key for receipt in report.receipts],
        "calls": report.calls,
    }
