"""`hunting demo`: pull a month of five tables through Dagster, and query the Parquet files.

The rows are synthetic. TLS, MSAL, HTTP, quota, Dagster and Parquet are real.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hunting_pipeline.catalog import spec
from hunting_pipeline.cli.emulator import emulated_tenant, storage_in, without_settings
from hunting_pipeline.cli.log import inform
from hunting_pipeline.cli.processes import process_group
from hunting_pipeline.cli.show import print_facts, print_table
from hunting_pipeline.cli.text import Json, bytes_of, duration_of, print_json
from hunting_pipeline.errors import Misconfigured, ServiceFailed
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.lake.stores import Store, open_store
from hunting_pipeline.model import DAY, SECOND, Window
from hunting_pipeline.window import partition_of, partitions_in

__all__ = ["SNAPSHOT", "TABLES", "demo"]

_HOME = Path(".demo")
"""The folder for the demo's lake, ledger and Dagster log. Each demo replaces the folder."""

TABLES = ("AlertInfo", "IdentityLogonEvents", "EmailEvents", "DeviceNetworkEvents")
"""Tables with a time column. The last one has `--rows` rows."""

_ROWS = 1_050_000
"""Rows of the last table by default. With fewer rows, all other tables shrink in proportion."""

SNAPSHOT = "DeviceTvmSoftwareInventory"
"""A table without a time column."""

_MARK = "this-folder-belongs-to-hunting-demo"

_QUERY = """
SELECT date_trunc('week', date)::DATE AS week, count(*) AS connections,
       count(DISTINCT DeviceId) AS devices, count(DISTINCT RemoteIP) AS remote_addresses
FROM read_parquet('{lake}/DeviceNetworkEvents/**/*.parquet', hive_partitioning = true)
GROUP BY ALL ORDER BY ALL"""


def demo(
    rows: Annotated[int, typer.Option(help="rows of DeviceNetworkEvents, the largest table")] = _ROWS,
    as_json: Json = False,
) -> None:
    _make_empty(_HOME)
    started = time.monotonic()
    scale = str(min(1.0, rows / _ROWS))
    options = ["--profile", "graph", "--scale", scale, "--rows", f"DeviceNetworkEvents={rows}"]
    with emulated_tenant(options) as variables:
        environment = without_settings() | variables | storage_in(_HOME)
        today = partition_of(spec(SNAPSHOT), round(time.time() * SECOND)).window
        month = partitions_in(spec(TABLES[0]), Window(today.start - 29 * DAY, today.end))
        inform(f"materializing {len(TABLES)} tables, {month[0].key} to {month[-1].key}, through Dagster")
        spent = _materialize(environment, month[0].key, month[-1].key, *TABLES)
        spent |= _materialize(environment, month[-1].key, month[-1].key, SNAPSHOT)
    store = open_store(str(_HOME / "lake"))
    pulled = [_pulled(store, table, spent.get(table, {})) for table in (*TABLES, SNAPSHOT)]
    _show(pulled, seconds=time.monotonic() - started, as_json=as_json)


def _show(pulled: Sequence[Mapping[str, Any]], *, seconds: float, as_json: bool) -> None:
    columns, answer = _query(_HOME / "lake")
    if as_json:
        rows = [dict(zip(columns, row, strict=True)) for row in answer]
        print_json({"pulled": pulled, "seconds": seconds, "query": rows})
        return
    print_table(
        "Pulled",
        ["table", "rows", "files", "Parquet", "JSON received", "calls", "waited for quota"],
        [
            [
                one["table"],
                one["rows"],
                one["files"],
                bytes_of(one["file_bytes"]),
                bytes_of(one["json_bytes"]),
                one["calls"],
                duration_of(one["waited_seconds"]),
            ]
            for one in pulled
        ],
    )
    print_table("DuckDB over the Parquet: connections by week", columns, answer)
    print_facts({"took": duration_of(seconds), "the query": _QUERY.format(lake=_HOME / "lake")})


def _make_empty(home: Path) -> None:
    """Replace the demo's folder by an empty folder.

    Raises:
        Misconfigured: the folder exists, but `hunting demo` did not create it.
    """
    if home.exists() and not (home / _MARK).exists():
        raise Misconfigured(
            f"the folder {home.absolute()} exists, but `hunting demo` did not create it."
            " Nothing was changed. Move the folder, or run the command in another folder"
        )
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    (home / _MARK).touch()


def _materialize(environment: Mapping[str, str], first: str, last: str, *tables: str) -> dict[str, Any]:
    """Materialize assets in another process, and return the cost of each table.

    The log goes to a file, and the progress goes to the terminal.

    Raises:
        ServiceFailed: the Dagster run failed. The message names the log file.
    """
    command = [sys.executable, "-m", "hunting_pipeline.materialize", first, last, *tables]
    with (
        (_HOME / "dagster.log").open("a") as log,
        process_group(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        for line in process.stderr or ():
            log.write(line)
            if progress := re.search(r" - INFO - .*? - \w+ - (.*)", line):
                inform(progress[1])
        output = process.stdout.read() if process.stdout else ""
        process.wait()
    if process.returncode:
        raise ServiceFailed(f"the Dagster run failed; see {(_HOME / 'dagster.log').absolute()}")
    return dict(json.loads(output))


def _pulled(store: Store, table: str, spent: Mapping[str, float]) -> dict[str, Any]:
    archived = list(load_all(store, table))
    return {
        "table": table,
        "rows": sum(manifest.proof.rows for manifest in archived),
        "files": len(archived),
        "file_bytes": sum(manifest.file_bytes for manifest in archived),
        "json_bytes": sum(manifest.body_bytes for manifest in archived),
        "calls": round(spent.get("calls", 0)),
        "waited_seconds": spent.get("seconds waited", 0.0),
    }


def _query(lake: Path) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
    import duckdb  # an optional dependency, from the extra `emulator`  # noqa: PLC0415

    done = duckdb.connect().execute(_QUERY.format(lake=lake))
    return [column[0] for column in done.description or ()], done.fetchall()
