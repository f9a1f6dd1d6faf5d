"""The `hunting` command: what each word does. Exit codes are those of `exit_code`."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from hunting_pipeline.catalog import catalog
from hunting_pipeline.cli.asked import Asked, asked_specs
from hunting_pipeline.cli.demo import demonstrate
from hunting_pipeline.cli.emulator import emulated_tenant, homed, without_settings
from hunting_pipeline.cli.report import (
    show_catalogue,
    show_coverage,
    show_plans,
    show_recounts,
    show_reports,
    show_usage,
)
from hunting_pipeline.cli.show import following, print_json, warn
from hunting_pipeline.errors import (
    HuntingError,
    Misconfigured,
    QuotaExhausted,
    Refused,
    ServiceFailed,
)
from hunting_pipeline.lake.layout import LAKE_FILE
from hunting_pipeline.model import SECOND, Report
from hunting_pipeline.pipeline import (
    Pipeline,
    Pull,
    Recount,
    TablePlan,
    coverage,
    open_lake,
    open_pipeline,
)
from hunting_pipeline.settings import TENANT_VARIABLE, Settings, load_settings

__all__ = ["INTERRUPTED", "app", "complain", "exit_code"]

_MAX_WAIT = 900.0
"""Seconds a command waits for quota at a stretch: the renewal period of the CPU share (15 minutes)."""

INTERRUPTED = 130
"""Exit code that shells expect of a program which Ctrl-C ended."""

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
Tenant = Annotated[
    str,
    typer.Option(
        "--tenant", envvar=TENANT_VARIABLE, metavar="NAME", help="which of several configured tenants"
    ),
]
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
def check(tables: Tables = None, tenant: Tenant = "", as_json: Json = False) -> None:
    """Can the lake be written, can we sign in and hunt, and which tables are there? One call a table."""
    settings = load_settings(tenant)
    found: list[dict[str, Any]] = []
    with _open(settings) as pipeline:
        pipeline.store.prove_writable(LAKE_FILE)
        for spec in asked_specs(tables or [], settings, pipeline.store):
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
    show_catalogue(list(catalog().values()), as_json=as_json)


@app.command()
def plan(
    tables: Tables = None,
    start: From = None,
    end: To = None,
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    """What a pull would fetch and cost. Counting takes about one call a table; nothing is written."""
    _plan(tables or [], start, end, tenant, renew=False, as_json=as_json)


def _plan(
    tables: list[str], start: str | None, end: str | None, tenant: str, *, renew: bool, as_json: bool
) -> None:
    settings = load_settings(tenant)
    plans: list[TablePlan] = []
    problems: list[HuntingError] = []
    with _open(settings) as pipeline:
        asked = _asked(pipeline, start, end)
        for spec in asked_specs(tables, settings, pipeline.store):
            with _noting(problems):
                plans.append(pipeline.plan(spec, asked.partitions(spec), renew=renew))
            if problems and _hopeless(problems[-1]):
                break
        at_risk = pipeline.at_risk(plans)
    show_plans(plans, str(asked), at_risk, as_json=as_json)
    _end(problems)


@app.command()
def pull(
    tables: Tables = None,
    start: From = None,
    end: To = None,
    tenant: Tenant = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="the same as `hunting plan`")] = False,
    force: Annotated[bool, typer.Option(help="replace by fewer rows, or another query's")] = False,
    as_json: Json = False,
) -> None:
    """Bring what is owed into the lake. Safe to end and to run again: finished work is kept."""
    if dry_run:
        _plan(tables or [], start, end, tenant, renew=force, as_json=as_json)
        return
    settings = load_settings(tenant)
    reports: list[Report] = []
    problems: list[HuntingError] = []
    with _leaving_at_once(), _open(settings) as pipeline, following(quiet=as_json) as observe:
        asked = _asked(pipeline, start, end)
        for spec in asked_specs(tables or [], settings, pipeline.store):
            with (
                _noting(problems),
                pipeline.pull(
                    spec, asked.partitions(spec), force=force, renew=force, observe=observe
                ) as pulling,
            ):
                _drain(pulling, problems)
                reports.append(pulling.report)
            if problems and _hopeless(problems[-1]):
                break
    show_reports(reports, as_json=as_json)
    _end(problems)


def _open(settings: Settings) -> AbstractContextManager[Pipeline]:
    return open_pipeline(settings, max_wait=_MAX_WAIT)


@contextmanager
def _leaving_at_once() -> Iterator[None]:
    """Ctrl-C ends the process without waiting for calls under way, which may take minutes."""

    def leave(*_: object) -> None:
        with suppress(OSError):  # unbuffered: the signal may come in the middle of another line's print
            os.write(2, b"hunting: interrupted; what was fetched is staged, the next run takes it up\n")
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _drain(pulling: Pull, problems: list[HuntingError]) -> None:
    """Make a pull happen; what goes wrong is added to `problems`."""
    with _noting(problems):
        for _ in pulling:
            pass


@contextmanager
def _noting(problems: list[HuntingError]) -> Iterator[None]:
    """What goes wrong is added to `problems`, and the next table comes."""
    try:
        yield
    except HuntingError as error:
        problems.append(error)


def _end(problems: list[HuntingError]) -> None:
    for problem in problems:
        complain(problem)
    if problems:
        raise typer.Exit(max(map(exit_code, problems)))


def _hopeless(error: HuntingError) -> bool:
    """Whether the next table would fail in the same way."""
    return isinstance(error, Misconfigured | QuotaExhausted) or (
        isinstance(error, Refused) and error.everything
    )


@app.command()
def status(
    tables: Tables = None,
    start: From = None,
    end: To = None,
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    """What the lake holds, and what is missing. Asks nothing."""
    settings = load_settings(tenant)
    limits, store = settings.limits_profile, open_lake(settings)
    now = round(time.time() * SECOND)
    asked = Asked.of(start, end, now=now, retention_days=limits.retention_days)
    found = [
        coverage(store, spec, asked.partitions(spec), now=now, retention_days=limits.retention_days)
        for spec in asked_specs(tables or [], settings, store)
    ]
    show_coverage(found, f"Lake {store.uri()}, {asked}", as_json=as_json)


@app.command()
def reconcile(
    tables: Tables = None,
    start: From = None,
    end: To = None,
    tenant: Tenant = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="count and compare only")] = False,
    force: Annotated[bool, typer.Option(help="replace spans that now hold fewer rows, too")] = False,
    as_json: Json = False,
) -> None:
    """Count archived partitions anew, one call a table, and fetch only the spans that differ."""
    settings = load_settings(tenant)
    found: list[tuple[Recount, Report]] = []
    problems: list[HuntingError] = []
    with _leaving_at_once(), _open(settings) as pipeline, following(quiet=as_json) as observe:
        asked = _asked(pipeline, start, end)
        for spec in asked_specs(tables or [], settings, pipeline.store):
            with (
                _noting(problems),
                pipeline.reconcile(spec, asked.partitions(spec), force=force, observe=observe) as (
                    compared,
                    pulling,
                ),
            ):
                if not dry_run:
                    _drain(pulling, problems)
                found.append((compared, pulling.report))
            if problems and _hopeless(problems[-1]):
                break
    show_recounts(found, as_json=as_json)
    _end(problems)


@app.command()
def quota(tenant: Tenant = "", as_json: Json = False) -> None:
    """What of the tenant's quota is spent, reserved and left, and by whom."""
    settings = load_settings(tenant)
    with _open(settings) as pipeline:
        usage = pipeline.ledger.usage()
    show_usage(usage, as_json=as_json)


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
            raise typer.Exit(_run_to_its_end(shlex.split(run), environment))
        with suppress(KeyboardInterrupt):
            for name, value in (variables | homed(home)).items():
                sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
            sys.stdout.flush()
            warn("an emulated tenant answers with these settings; Ctrl-C ends it")
            threading.Event().wait()


def _run_to_its_end(command: list[str], environment: Mapping[str, str]) -> int:
    """Its exit code. Ctrl-C reaches the command too, and it may take its time to end."""
    with subprocess.Popen(command, env=dict(environment)) as process:
        while True:
            with suppress(KeyboardInterrupt):
                return process.wait()


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
