"""A table with times in microseconds, pulled from an emulated tenant: its ticks are exact."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from hunting_pipeline.catalog import spec
from hunting_pipeline.cli.selection import selected_tables
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.model import TimestampUnit
from hunting_pipeline.pipeline import open_lake
from hunting_pipeline.window import partitions_in
from support import WEEK, Emulated, days, differences, emulated, window_of_tenant

TABLE = "EmailEvents"
MICROS = {"timestamp_unit": "us"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with emulated(tmp_path_factory.mktemp("micros"), rows={TABLE: 9_000}) as tenant:
        yield tenant


@pytest.fixture
def tenant(running: Emulated, tmp_path: Path) -> Emulated:
    running.post("reset")
    return Emulated(running.endpoint, running.tenant, tmp_path)


def exact(rows: pa.Table) -> pa.Table:
    """Replace the times by their ticks in nanoseconds, and remove the columns of ticks."""
    for name in [name for name in rows.column_names if f"{name}_ticks" in rows.column_names]:
        ticks = rows[f"{name}_ticks"]
        assert rows[name].type == pa.timestamp("us", "UTC")
        assert pc.all(pc.equal(rows[name].cast(pa.int64()), pc.divide(ticks, 10))).as_py()
        nanoseconds = pc.multiply(ticks, 100).cast(pa.timestamp("ns", "UTC"))
        rows = rows.set_column(rows.column_names.index(name), name, nanoseconds)
        rows = rows.drop_columns([f"{name}_ticks"])
    return rows


def hunting(tenant: Emulated, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUNTING_")}
    return subprocess.run(
        [sys.executable, "-m", "hunting_pipeline.cli.main", *words],
        env=kept | tenant.one_by_one() | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_pull_and_a_reconcile_with_microseconds_are_exact(tenant: Emulated) -> None:
    settings = tenant.settings(**MICROS)
    (table,) = selected_tables([TABLE], settings, open_lake(settings))
    tenant.pull(table, WEEK)
    landed = tenant.landed(TABLE)
    assert {"Timestamp_ticks"} <= {*landed.column_names}
    assert any(tick % 10 for tick in landed["Timestamp_ticks"].to_pylist())
    assert differences(exact(landed), window_of_tenant(tenant, TABLE, WEEK)) == (0, 0)
    with (
        tenant.open() as pipeline,
        pipeline.reconcile(table, partitions_in(table, WEEK)) as (found, pulling),
    ):
        assert found.equal
        assert found.rows == landed.num_rows
        assert list(pulling) == []


def test_another_unit_is_refused_before_any_request(tenant: Emulated) -> None:
    asked = days("2026-11-14", "2026-11-16")
    tenant.pull(spec(TABLE, timestamp_unit=TimestampUnit.US), asked)
    tenant.post("reset")
    with pytest.raises(Misconfigured, match="HUNTING_TIMESTAMP_UNIT"):
        tenant.pull(spec(TABLE, timestamp_unit=TimestampUnit.NS), WEEK)
    assert tenant.stats()["calls"] == 0
    report, _ = tenant.pull(spec(TABLE), asked)
    assert report.calls == 0, "the unit is no part of the query"


@pytest.mark.slow
def test_the_command_rewrites_a_table_without_a_call(tenant: Emulated) -> None:
    tenant.pull(spec(TABLE), WEEK)
    before = {one.partition: one for one in load_all(open_lake(tenant.settings()), TABLE)}
    tenant.post("reset")
    wanted = {"HUNTING_TIMESTAMP_UNIT": "us"}
    refused = hunting(tenant, "status", TABLE, **wanted)
    assert (refused.returncode, "hunting rewrite EmailEvents --timestamp-unit us" in refused.stderr) == (
        3,
        True,
    )
    arguments = ("rewrite", TABLE, "--timestamp-unit", "us")
    dry = hunting(tenant, *arguments, "--dry-run", "--json")
    (planned,) = json.loads(dry.stdout)
    assert (len(planned["partitions"]), planned["rewritten"]) == (len(before), [])
    done = hunting(tenant, *arguments)
    assert done.returncode == 0, done.stderr
    assert f"{TABLE}: {len(before)} of {len(before)}" in done.stderr
    after = {one.partition: one for one in load_all(open_lake(tenant.settings()), TABLE)}
    assert {
        p: replace(m, columns=(), fingerprint="", file_bytes=0, file_version="") for p, m in after.items()
    } == {p: replace(m, columns=(), fingerprint="", file_bytes=0, file_version="") for p, m in before.items()}
    assert differences(exact(tenant.landed(TABLE)), window_of_tenant(tenant, TABLE, WEEK)) == (0, 0)
    (again,) = json.loads(hunting(tenant, *arguments, "--json").stdout)
    assert again["partitions"] == []
    assert tenant.stats()["calls"] == 0
    assert hunting(tenant, "rewrite", TABLE, "--timestamp-unit", "ms").returncode == 2
