"""Helpers of whole-run tests: an emulated tenant, its settings, and the comparison of rows."""

import json
import os
import re
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from hunting_emulator.process import Endpoint, running
from hunting_emulator.tenant import Tenant, TenantOptions
from hunting_pipeline import catalog
from hunting_pipeline.lake import read
from hunting_pipeline.lake.layout import lake_names
from hunting_pipeline.model import (
    DAY,
    RESCUED,
    Column,
    Partition,
    Receipt,
    Report,
    TableSpec,
    Window,
    ticks_of,
)
from hunting_pipeline.pipeline import Pipeline, open_lake, open_pipeline
from hunting_pipeline.settings import Settings
from hunting_pipeline.window import partitions_in
from places import Folder, Place

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
"""The fixed time of emulated tenants in tests: a Friday afternoon."""

DOTNET_EPOCH = 621_355_968_000_000_000

MAX_WAIT = 60.0


def settled_day() -> date:
    """Return the newest day of which a pull can fetch rows: until 00:20, this is yesterday (UTC)."""
    return (datetime.now(UTC) - timedelta(minutes=20)).date()


class Shifted:
    """A clock that runs like the machine's clock but starts at a given time (unix seconds)."""

    def __init__(self, start: float = NOW.timestamp()) -> None:
        self._offset = start - time.time()

    def now(self) -> float:
        return time.time() + self._offset

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Leaping:
    """A clock that leaps instead of sleeping. `pace` is the part that it sleeps.

    It starts `skew` seconds after `NOW`, the time of the tenant.
    """

    def __init__(self, pace: float = 0.0, *, skew: float = 0.0) -> None:
        self._pace = pace
        self._start = NOW.timestamp() + skew - time.monotonic()
        self._leapt = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return time.monotonic() + self._start + self._leapt

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._leapt += seconds
        time.sleep(seconds * self._pace)


def day(text: str) -> int:
    """Return the ticks of a date's midnight."""
    return ticks_of(datetime.fromisoformat(text).replace(tzinfo=UTC))


def days(first: str, end: str) -> Window:
    """Return the window from one midnight to another."""
    return Window(day(first), day(end))


@dataclass(frozen=True)
class Emulated:
    """A running tenant, direct access to its rows, and settings to reach the tenant.

    Attributes:
        endpoint: the tenant's service.
        tenant: the rows of the tenant.
        home: folder of this test, with the ledger.
        place: place of the lake; None for a folder in `home`.
    """

    endpoint: Endpoint
    tenant: Tenant
    home: Path
    place: Place | None = None

    @property
    def lake(self) -> Place:
        return self.place or Folder(self.home / "lake")

    def settings(self, **changes: Any) -> Settings:
        """Build settings with a lake and a ledger for this test."""
        values: dict[str, Any] = {
            "tenant_id": self.endpoint.tenant_id,
            "client_id": self.endpoint.client_id,
            "client_secret": self.endpoint.client_secret,
            "login_url": self.endpoint.login_url,
            "api_url": self.endpoint.url,
            "ca_bundle": self.endpoint.ca_bundle,
            "ledger": str(self.home / "quota.sqlite"),
            **self.lake.settings,
        }
        return Settings(**values | changes)

    def one_by_one(self) -> dict[str, str]:
        """Build the same settings as variables for other processes, with small calls, one at a time."""
        return self.endpoint.settings() | {
            **self.lake.variables,
            "HUNTING_LEDGER": str(self.home / "quota.sqlite"),
            "HUNTING_LIMITS": "test",
            "HUNTING_WORKERS": "1",
            "HUNTING_CONFIG": os.devnull,
        }

    def stats(self) -> dict[str, Any]:
        """Return the emulator's counters since the last `reset`."""
        with urllib.request.urlopen(self.endpoint.stats_url, context=self._tls()) as reply:
            return dict(json.load(reply))

    def post(self, route: str, **body: Any) -> None:
        """Send `reset` (the counters) or `config` (the tenant) to the emulator."""
        url = self.endpoint.stats_url.rsplit("/", 1)[0] + "/" + route
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request, context=self._tls()).read()

    def _tls(self) -> Any:
        import ssl

        return ssl.create_default_context(cafile=self.endpoint.ca_bundle)

    def pull(
        self, spec: TableSpec, asked: Window, *, force: bool = False, renew: bool = False, **changes: Any
    ) -> tuple[Report, list[Receipt]]:
        """Pull a window with changed settings."""
        with self.open(**changes) as pipeline, pipeline.pull(
            spec, partitions_in(spec, asked), force=force, renew=renew
        ) as pulling:  # fmt: skip
            receipts = list(pulling)
            return pulling.report, receipts

    @contextmanager
    def open(self, *, clock: Shifted | Leaping | None = None, **changes: Any) -> Iterator[Pipeline]:
        settings = self.settings(**changes)
        with open_pipeline(settings, max_wait=MAX_WAIT, clock=clock or Shifted()) as pipeline:
            yield pipeline

    def landed(self, table: str, partitions: list[Partition] | None = None, **changes: Any) -> pa.Table:
        """Read the rows in the lake, without the Hive columns."""
        rows = read.dataset(open_lake(self.settings(**changes)), table, partitions).to_table()
        return rows.drop_columns([name for name in ("date", "hour") if name in rows.column_names])


@contextmanager
def emulated(
    home: Path, place: Place | None = None, *, limits: Mapping[str, object] | None = None, **options: Any
) -> Iterator[Emulated]:
    """Start a tenant with the fixed time `NOW`; `options` as on the emulator's command line."""
    frozen = {"now": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"), "profile": "test", **options}
    if limits:
        frozen["limit"] = dict(limits)
    keys = ("seed", "scale", "rows", "late_share", "late_seconds")  # what decides about rows
    tenant = Tenant(
        TenantOptions(
            now=ticks_of(NOW) + DOTNET_EPOCH,
            **{key: options[key] for key in keys if key in options},
            bursts=_bursts(options.get("burst", {})),
        )
    )
    try:
        with running(**frozen) as endpoint:
            yield Emulated(endpoint, tenant, home, place)
    finally:
        tenant.close()


def _bursts(options: Mapping[str, str]) -> Any:
    from hunting_emulator.__main__ import _bursts as as_the_command_line_reads_them

    return as_the_command_line_reads_them([f"{table}={text}" for table, text in options.items()])


def specs(*names: str) -> list[TableSpec]:
    return [catalog.spec(name) for name in names]


def differences(lake: pa.Table, tenant: pa.Table) -> tuple[int, int]:
    """Count the extra and the missing rows of the lake, as multisets over every column."""
    left, right = plain(lake), plain(tenant)
    right = right.rename_columns(list(lake_names([Column(name, "") for name in right.column_names])))
    assert left.column_names == right.column_names
    connection = duckdb.connect()
    connection.register("lake", left)
    connection.register("tenant", right)
    counted = [
        connection.execute(f"SELECT count(*) FROM (FROM {one} EXCEPT ALL FROM {other})").fetchall()[0][0]
        for one, other in (("lake", "tenant"), ("tenant", "lake"))
    ]
    return counted[0], counted[1]


def plain(table: pa.Table) -> pa.Table:
    """Convert times to .NET ticks and JSON to a form without blanks, to compare both sides."""
    columns = {}
    for name in table.column_names:
        if name == RESCUED:
            assert table[name].null_count == table.num_rows, "values were rescued"
            continue
        column = table[name]
        if pa.types.is_timestamp(column.type):
            column = pc.add(pc.divide(column.cast(pa.int64()), 100), DOTNET_EPOCH)
        elif pa.types.is_integer(column.type):
            column = column.cast(pa.int64())
        elif pa.types.is_string(column.type) and _is_json(column):
            column = pa.array([_canonical(text) for text in column.to_pylist()], pa.string())
        columns[name] = column
    return pa.table(columns)


def _is_json(column: pa.ChunkedArray) -> bool:
    first = next((text for text in column.to_pylist() if text), "")
    return first[:1] in "[{"


def _canonical(text: str | None) -> str | None:
    """Sort keys and write times like the decoder: Graph pads their fraction, XDR does not."""
    try:
        whole = json.dumps(json.loads(text), sort_keys=True) if text else text
    except ValueError:
        return text
    return (
        _FRACTION.sub(lambda match: match[1] + match[2].rstrip("0").rstrip(".") + "Z", whole)
        if whole
        else whole
    )


_FRACTION = re.compile(r"(\d\d:\d\d:\d\d)(\.\d{1,7})Z")


def window_of_tenant(emulated_: Emulated, table: str, asked: Window | None = None) -> pa.Table:
    """Return the tenant's own rows in a window of Unix ticks."""
    if asked is None:
        return emulated_.tenant.rows(table)
    return emulated_.tenant.rows(table, asked.start + DOTNET_EPOCH, asked.end + DOTNET_EPOCH)


WEEK = Window(ticks_of(NOW) // DAY * DAY - 7 * DAY, ticks_of(NOW) // DAY * DAY)
"""The seven whole days before `NOW`."""
