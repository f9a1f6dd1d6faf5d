"""A comparison of the lake with msticpy, an independent client: both pull the same day from each API.

msticpy (the witness) changes some values. The output names the known changes. The comparison undoes them and
compares the rows again. Exit code 1 means that a difference remains. msticpy flattens some dynamic columns
into one column per key. Such columns cannot be restored, so the output names them and they are not compared.
"""

import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from hunting_emulator import ticks
from hunting_emulator.process import Endpoint, running
from hunting_pipeline import catalog
from hunting_pipeline.lake import read
from hunting_pipeline.lake.layout import lake_names
from hunting_pipeline.model import DAY, RESCUED, Column, Window, iso_of, ticks_of
from hunting_pipeline.pipeline import open_lake, open_pipeline
from hunting_pipeline.settings import Settings
from hunting_pipeline.window import partitions_in

ROOT = Path(__file__).parents[1]
WITNESS = ROOT / ".venv-witness/bin/python"
ROWS = {"DeviceProcessEvents": 60_000, "CloudAppEvents": 30_000}
PROBES = [
    ("graph", "DeviceProcessEvents", "own query"),
    ("xdr", "DeviceProcessEvents", "own query"),
    ("endpoint", "DeviceProcessEvents", "own query"),
    ("graph", "CloudAppEvents", "own query"),
    ("xdr", "CloudAppEvents", "own query"),
    ("graph", "DeviceProcessEvents", "list_alerts"),
]
_TOO_FINE = re.compile(r"datetime\([^)]*\.\d{8,}[^)]*\)")
_PADDED = re.compile(r"(\d\d:\d\d:\d\d\.\d*?)\.?0*Z")

Rows = list[dict[str, Any]]


@dataclass
class Finding:
    """One comparison: the rows that differ in the witness's output, the reasons, and rows without one."""

    witness: int
    lake: int
    columns: int
    differing: int
    reasons: list[str] = field(default_factory=list)
    unexplained: int = 0


def main() -> int:
    """Print a line for each probe. Return 1 if a difference has no explanation."""
    today = ticks_of(datetime.now(UTC)) // DAY * DAY
    asked = Window(today - 2 * DAY, today - DAY)
    print_row("api", "table", "query by", "witness", "lake", "columns", "differ", "unexplained")
    failed = False
    with (
        tempfile.TemporaryDirectory() as folder,
        running(profile="test", seed=20, scale=0.01, rows=ROWS) as endpoint,
    ):
        for api, table, mode in PROBES:
            lake = archived(endpoint, Path(folder), api, table, asked)
            found = probe(endpoint, api, table, mode, lake, asked)
            print_row(api, table, mode, *map(str, (found.witness, found.lake, found.columns)),
                str(found.differing), str(found.unexplained))  # fmt: skip
            for reason in found.reasons:
                sys.stdout.write(f"    msticpy: {reason}\n")
            failed |= found.unexplained > 0 or found.lake == 0
    return int(failed)


def print_row(*cells: str) -> None:
    """Print one row of the results."""
    widths = (9, 20, 12, 8, 8, 8, 8, 11)
    sys.stdout.write(" ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)) + "\n")
    sys.stdout.flush()


def archived(endpoint: Endpoint, home: Path, api: str, table: str, asked: Window) -> pa.Table:
    """Pull the window from this API with the pipeline. Return the rows in the lake."""
    settings = Settings(
        tenant_id=endpoint.tenant_id,
        client_id=endpoint.client_id,
        client_secret=endpoint.client_secret,
        login_url=endpoint.login_url,
        api_url=endpoint.url,
        ca_bundle=endpoint.ca_bundle,
        api=api,
        lake=home / api,
        ledger=str(home / "quota.sqlite"),
    )
    spec = catalog.spec(table)
    with (
        open_pipeline(settings, max_wait=60) as pipeline,
        pipeline.pull(spec, partitions_in(spec, asked)) as pulling,
    ):
        list(pulling)
    rows = read.dataset(open_lake(settings), table).to_table()
    return rows.drop_columns([name for name in ("date", RESCUED) if name in rows.column_names])


def probe(endpoint: Endpoint, api: str, table: str, mode: str, lake: pa.Table, asked: Window) -> Finding:
    """Pull the window with the witness, and compare. `list_alerts` ends at the time of an archived row."""
    ours = [dict(zip(lake.column_names, row, strict=True)) for row in _rows(lake)]
    end = asked.end
    if mode == "list_alerts":
        end = sorted(row["Timestamp"] for row in ours)[len(ours) // 2]
        ours = [row for row in ours if row["Timestamp"] < end]
        arguments = ["--list-alerts", table, iso_of(asked.start), iso_of(end)]
    else:
        bounds = f"Timestamp >= datetime({iso_of(asked.start)}) and Timestamp < datetime({iso_of(end)})"
        arguments = ["--query", f"{table} | where {bounds}"]
    found = compared(pulled(endpoint, api, arguments), ours, lake.schema, end)
    if fine := _TOO_FINE.search(last_query(endpoint)):
        found.reasons.append(f"its query has times with more digits than a tick: {fine[0]}")
    return found


def pulled(endpoint: Endpoint, api: str, arguments: list[str]) -> Rows:
    """Return the witness's rows, pulled by a process with its own interpreter."""
    command = [str(WITNESS), str(ROOT / "witness/pull.py"), api, *arguments]
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, "msticpyconfig.yaml")
        # msticpy requests the hosts of its cloud from this URL; the default is the real cloud
        configuration.write_text(f"Azure:\n  resource_manager_url: {endpoint.url}\n", encoding="utf-8")
        own = {"SSL_CERT_FILE": endpoint.ca_bundle, "MSTICPYCONFIG": str(configuration)}
        environment = os.environ | endpoint.settings() | own
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"the witness failed: {done.stderr.decode(errors='replace')[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def last_query(endpoint: Endpoint) -> str:
    """Return the last query that the emulator received."""
    trust = ssl.create_default_context(cafile=endpoint.ca_bundle)
    with urllib.request.urlopen(endpoint.stats_url, context=trust) as reply:  # noqa: S310 - our own emulator
        return str(json.load(reply)["log"][-1]["query"])


def compared(theirs: Rows, ours: Rows, schema: pa.Schema, end: int) -> Finding:
    """Compare multisets over the common columns. Undo msticpy's known changes, and compare again."""
    given = list(theirs[0]) if theirs else []
    plain = [name for name in given if "." not in name and "@" not in name]
    names = dict(zip(lake_names([Column(name, "") for name in plain]), plain, strict=True))
    flat = [
        name
        for name in schema.names
        if name not in names or any(key.startswith(f"{names[name]}.") for key in given)
    ]
    columns = [name for name in schema.names if name not in flat]
    left = [
        {name: _as_in_lake(row[names[name]], schema.field(name).type) for name in columns} for row in theirs
    ]
    right = [{name: row[name] for name in columns} for row in ours]
    found = Finding(len(theirs), len(ours), len(columns), differing(left, right))
    if flat:
        found.reasons.append(f"flattens dynamic objects; not compared: {', '.join(flat)}")
    if marks := sum("@odata.type" in name for name in given):
        found.reasons.append(f"keeps {marks} @odata.type annotations as columns of data")
    if over := sum(row["Timestamp"] == end for row in left):
        left = [row for row in left if row["Timestamp"] != end]
        found.reasons.append(f"its end is inclusive: it also reads {over} row(s) at {iso_of(end)}")
    whole = [name for name in columns if pa.types.is_integer(schema.field(name).type)]
    if blurred := [name for name in whole if differing_in(name, left, right)]:
        for row in (*left, *right):
            row.update({name: None if row[name] is None else float(row[name]) for name in blurred})
        blurred = [name for name in blurred if not differing_in(name, left, right)]
    if blurred:
        found.reasons.append(
            f"reads integers with nulls as floats, and loses digits in: {', '.join(blurred)}"
        )
    found.unexplained = differing(left, right)
    if found.unexplained:
        named = [name for name in columns if differing_in(name, left, right)]
        found.reasons.append(f"no explanation for the difference in: {', '.join(named) or 'whole rows'}")
    return found


def differing(left: Rows, right: Rows) -> int:
    """Count the rows of either side that the other side lacks."""
    ones, others = (Counter(tuple(row.values()) for row in rows) for rows in (left, right))
    return (ones - others).total() + (others - ones).total()


def differing_in(name: str, left: Rows, right: Rows) -> bool:
    """Compare one column of both sides, in any order."""
    return Counter(row[name] for row in left) != Counter(row[name] for row in right)


def _rows(lake: pa.Table) -> Iterator[tuple[Any, ...]]:
    columns = []
    for name in lake.column_names:
        column, kind = lake[name], lake.schema.field(name).type
        if pa.types.is_timestamp(kind):
            values = column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_pylist()
            columns.append([None if value is None else value // 100 for value in values])
        else:
            columns.append([_as_in_lake(value, kind) for value in column.to_pylist()])
    return zip(*columns, strict=True)


def _as_in_lake(value: Any, kind: pa.DataType) -> Any:
    """Convert a value to the lake's form: times as ticks, flags as bool, lists as canonical JSON."""
    if value is None:
        return None
    if pa.types.is_timestamp(kind):
        return ticks.parse(value) - ticks.UNIX_EPOCH
    if pa.types.is_boolean(kind):
        return bool(value)
    if pa.types.is_integer(kind):
        return int(value)
    if isinstance(value, list) or (isinstance(value, str) and value[:1] in ("[", "{")):
        return _canonical(value)
    return value


def _canonical(value: Any) -> str:
    """Return JSON with sorted keys, parsed strings and times without padding. The APIs differ in these."""
    return _PADDED.sub(lambda match: match[1] + "Z", json.dumps(_unfolded(value), sort_keys=True))


def _unfolded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return _unfolded(json.loads(value))
        except ValueError:
            return value
    if isinstance(value, list):
        return [_unfolded(each) for each in value]
    if isinstance(value, dict):
        return {key: _unfolded(each) for key, each in value.items() if key != "@odata.type"}
    return value


if __name__ == "__main__":
    sys.exit(main())
