"""The `hunting` command: what each word does. Exit codes are those of `exit_code`."""

import shlex
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from hunting_pipeline.catalog import catalog
from hunting_pipeline.cli.asked import Asked, asked_specs
from hunting_pipeline.cli.demo import demonstrate
from hunting_pipeline.cli.emulator import emulated_tenant, homed, without_settings
from hunting_pipeline.cli.show import bytes_of, duration_of, facts, following, print_json, print_table, warn
from hunting_pipeline.errors import (
    HuntingError,
    Misconfigured,
    QuotaExhausted,
    Refused,
    ServiceFailed,
)
from hunting_pipeline.model import SECOND, Report, datetime_of
from hunting_pipeline.pipeline import Coverage, Pipeline, TablePlan, coverage, open_lake, open_pipeline
from hunting_pipeline.settings import load_settings

__all__ = ["app", "complain", "exit_code"]

_PATIENCE = 900.0
"""Seconds a command waits for quota at a stretch: the renewal period of the CPU share (15 minutes)."""

app = typer.Typer(
    name="hunting",
    help="Keep Microsoft Defender's hunting tables longer than its 30 days: complete, typed, as Parquet.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Tables = Annotated[
    list[str] | None, typer.Argument(metavar="[TABLE ...]", help="none: all configured tables")
]
From = Annotated[str | None, typer.Option("--from", metavar="DATE", help="first day (UTC), inclusive")]
To = Annotated[str | None, typer.Option("--to", metavar="DATE", help="day to stop before (UTC)")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]


def exit_code(error: HuntingError) -> int:
    """3 misconfigured or refused, 4 quota (try later), 5 service, 6 data refused."""
    match error:
        case Misconfigured() | Refused():
            return 3
        case QuotaExhausted():
            return 4
        case ServiceFailed():
            return 5
        case _:
            return 6


@app.command()
def check(tables: Tables = None, as_json: Json = False) -> None:
    """Can we sign in, are we allowed to hunt, and which tables are there? One call a table."""
    settings = load_settings()
    found: list[dict[str, Any]] = []
    with open_pipeline(settings, patience=_PATIENCE) as pipeline:
        for spec in asked_specs(tables or [], settings):
            try:
                columns = len(pipeline.probe(spec))
                found.append({"table": spec.name, "columns": columns, "problem": ""})
            except Refused as error:
                if error.everything:
                    raise
                found.append({"table": spec.name, "columns": 0, "problem": str(error)})
            if not as_json:
                warn(f"{spec.name}: {found[-1]['problem'] or 'readable'}")
    if as_json:
        print_json(found)
    if any(table["problem"] for table in found):
        raise typer.Exit(3)


@app.command()
def tables(as_json: Json = False) -> None:
    """The tables that are known, from the catalogue. Asks nothing."""
    entries = list(catalog().values())
    if as_json:
        print_json([{"table": e.name, "service": e.service, "time_column": e.time_column,
                     "columns": len(e.columns), "preview": e.preview, "deprecated": e.deprecated}
                    for e in entries])  # fmt: skip
        return
    print_table(
        "Hunting tables",
        ["table", "service", "time column", "columns", "bytes a row", "state"],
        [
            [e.name, e.service, e.time_column or "– (snapshot)", len(e.columns), e.bytes_per_row, _state(e)]
            for e in entries
        ],
    )


def _state(entry: Any) -> str:
    return "deprecated" if entry.deprecated else "preview" if entry.preview else ""


@app.command()
def plan(tables: Tables = None, start: From = None, end: To = None, as_json: Json = False) -> None:
    """What a pull would fetch and cost. Counting takes about one call a table; nothing is written."""
    settings = load_settings()
    with open_pipeline(settings, patience=_PATIENCE) as pipeline:
        asked = _asked(pipeline, start, end)
        plans = [pipeline.plan(spec, asked.partitions(spec)) for spec in asked_specs(tables or [], settings)]
    if as_json:
        print_json([_plan_json(p) for p in plans])
        return
    print_table(
        f"Plan for {asked}",
        ["table", "partitions", "rows", "JSON", "calls", "running time", "least time under the quota"],
        [
            [p.spec.name, len({partition for partition, _ in p.debt.owed}), p.cost.rows,
             bytes_of(p.cost.body_bytes), p.cost.calls, duration_of(p.cost.running_seconds),
             duration_of(p.cost.wall_seconds)]
            for p in plans
        ],
    )  # fmt: skip


def _plan_json(plan: TablePlan) -> dict[str, Any]:
    return {
        "table": plan.spec.name,
        "partitions": [partition.key for partition in dict.fromkeys(p for p, _ in plan.debt.owed)],
        "covered": [partition.key for partition in plan.debt.covered],
        "forgotten": [partition.key for partition in plan.debt.forgotten],
        "rows": plan.cost.rows,
        "json_bytes": plan.cost.body_bytes,
        "calls": plan.cost.calls,
        "planning_calls": plan.planning_calls,
        "running_seconds": plan.cost.running_seconds,
        "wall_seconds": plan.cost.wall_seconds,
    }


@app.command()
def pull(
    tables: Tables = None,
    start: From = None,
    end: To = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="the same as `hunting plan`")] = False,
    force: Annotated[bool, typer.Option(help="replace a partition even by fewer rows")] = False,
    as_json: Json = False,
) -> None:
    """Bring what is owed into the lake. Safe to end and to run again: finished work is kept."""
    if dry_run:
        plan(tables, start, end, as_json)
        return
    settings = load_settings()
    reports: list[Report] = []
    problems: list[HuntingError] = []
    with open_pipeline(settings, patience=_PATIENCE) as pipeline, following(quiet=as_json) as observe:
        asked = _asked(pipeline, start, end)
        for spec in asked_specs(tables or [], settings):
            with pipeline.pull(spec, asked.partitions(spec), force=force, observe=observe) as pulling:
                try:
                    for _ in pulling:
                        pass
                except HuntingError as error:
                    problems.append(error)
                reports.append(pulling.report)
            if problems and _hopeless(problems[-1]):
                break
    _show_reports(reports, as_json=as_json)
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(max(map(exit_code, problems)))


def _hopeless(error: HuntingError) -> bool:
    """Whether the next table would fail in the same way."""
    return isinstance(error, Misconfigured | QuotaExhausted) or (
        isinstance(error, Refused) and error.everything
    )


def _show_reports(reports: list[Report], *, as_json: bool) -> None:
    if as_json:
        print_json([
            {"table": r.table, "partitions": [receipt.partition.key for receipt in r.receipts],
             "covered": [partition.key for partition in r.covered],
             "rows": sum(receipt.tally.rows for receipt in r.receipts),
             "file_bytes": sum(receipt.file_bytes for receipt in r.receipts),
             "json_bytes": sum(receipt.body_bytes for receipt in r.receipts),
             "calls": r.calls, "running_seconds": r.running_seconds, "waited_seconds": r.waited_seconds,
             "resumed_slices": r.resumed}
            for r in reports
        ])  # fmt: skip
        return
    print_table(
        "Landed",
        ["table", "partitions", "rows", "Parquet", "JSON", "calls", "waited for quota", "already there"],
        [
            [r.table, len(r.receipts), sum(receipt.tally.rows for receipt in r.receipts),
             bytes_of(sum(receipt.file_bytes for receipt in r.receipts)),
             bytes_of(sum(receipt.body_bytes for receipt in r.receipts)),
             r.calls, duration_of(r.waited_seconds), len(r.covered)]
            for r in reports
        ],
    )  # fmt: skip


@app.command()
def status(tables: Tables = None, start: From = None, end: To = None, as_json: Json = False) -> None:
    """What the lake holds, and what is missing. Asks nothing."""
    settings = load_settings()
    limits, store = settings.limits_profile, open_lake(settings)
    now = round(time.time() * SECOND)
    asked = Asked.of(start, end, now=now, retention_days=limits.retention_days)
    found = [
        coverage(store, spec, asked.partitions(spec), now=now, retention_days=limits.retention_days)
        for spec in asked_specs(tables or [], settings)
    ]
    if as_json:
        print_json([_status_json(c) for c in found])
        return
    print_table(
        f"Lake {store.root}, {asked}",
        ["table", "archived", "owed", "lost", "rows", "Parquet", "covered up to"],
        [
            [c.spec.name, f"{len(c.archived)} of {len(c.partitions) - len(c.debt.future)}",
             len({partition for partition, _ in c.debt.owed}), len(c.debt.forgotten),
             sum(manifest.tally.rows for manifest in c.archived),
             bytes_of(sum(manifest.file_bytes for manifest in c.archived)), _covered_to(c)]
            for c in found
        ],
    )  # fmt: skip


def _covered_to(found: Coverage) -> str:
    if not found.archived:
        return "–"
    return f"{datetime_of(found.archived[-1].covered[-1].end):%Y-%m-%d %H:%M}"


def _status_json(found: Coverage) -> dict[str, Any]:
    return {
        "table": found.spec.name,
        "archived": [
            {"partition": manifest.partition.key, "rows": manifest.tally.rows,
             "file_bytes": manifest.file_bytes, "covered": [str(window) for window in manifest.covered],
             "slices": len(manifest.pieces)}
            for manifest in found.archived
        ],
        "owed": [{"partition": partition.key, "span": str(span)} for partition, span in found.debt.owed],
        "forgotten": [partition.key for partition in found.debt.forgotten],
        "future": [partition.key for partition in found.debt.future],
    }  # fmt: skip


@app.command()
def quota(as_json: Json = False) -> None:
    """What of the tenant's quota is spent, reserved and left, and by whom."""
    settings = load_settings()
    with open_pipeline(settings, patience=_PATIENCE) as pipeline:
        usage = pipeline.ledger.usage()
    if as_json:
        print_json({
            "tenant": usage.tenant, "share": usage.share, "blocked_until": usage.blocked_until,
            "block_reason": usage.block_reason, "running": usage.running,
            "rates": [{"kind": use.rate.kind, "period_seconds": use.rate.period, "amount": use.amount,
                       "spent": use.spent, "reserved": use.reserved, "left": use.left}
                      for use in usage.rates],
            "waiting": dict(usage.waiting), "owners": dict(usage.owners), "lanes": dict(usage.lanes),
        })  # fmt: skip
        return
    print_table(
        f"Quota of tenant {usage.tenant} at a share of {usage.share:.0%}",
        ["limit", "spent", "reserved", "left"],
        [
            [f"{use.amount:g} {use.rate.kind} in {duration_of(use.rate.period)}", f"{use.spent:g}",
             f"{use.reserved:g}", f"{use.left:g}"]
            for use in usage.rates
        ],
    )  # fmt: skip
    facts(
        {
            "calls running": usage.running,
            "blocked": usage.block_reason or "no",
            **{f"calls by {owner}": calls for owner, calls in usage.owners.items()},
        }
    )


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def emulate(
    context: typer.Context,
    run: Annotated[
        str, typer.Option(metavar="COMMAND", help="run this on the emulated tenant, end with it")
    ] = "",
    home: Annotated[Path, typer.Option(help="folder of that command's lake and ledger")] = Path(".emulated"),
) -> None:
    """Start an emulated tenant. Other options go to the emulator: see `python -m hunting_emulator --help`.

    Without --run, the settings that reach it are printed and it answers until Ctrl-C.
    """
    with emulated_tenant(context.args) as variables:
        if run:
            environment = without_settings() | variables | homed(home)
            raise typer.Exit(subprocess.run(shlex.split(run), env=environment, check=False).returncode)
        with suppress(KeyboardInterrupt):
            for name, value in (variables | homed(home)).items():
                sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
            sys.stdout.flush()
            warn("an emulated tenant answers with these settings; Ctrl-C ends it")
            threading.Event().wait()


@app.command()
def demo(
    rows: Annotated[int, typer.Option(help="rows of the busy Device table")] = 1_050_000,
    as_json: Json = False,
) -> None:
    """Thirty days of an emulated tenant through Dagster into Parquet, then a query over the result."""
    demonstrate(rows=rows, as_json=as_json)


def _asked(pipeline: Pipeline, start: str | None, end: str | None) -> Asked:
    return Asked.of(start, end, now=pipeline.now(), retention_days=pipeline.limits.retention_days)


def complain(error: HuntingError) -> None:
    warn(f"hunting: {error}")
    for note in getattr(error, "__notes__", ()):
        warn(f"hunting: {note}")
