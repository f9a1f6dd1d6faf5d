"""The lake holds exactly the rows of the tenant."""

from dataclasses import replace
from pathlib import Path

import pytest

from hunting_pipeline.catalog import spec
from hunting_pipeline.model import Grain, Window, ticks_of
from places import Place
from support import NOW, WEEK, Emulated, days, differences, emulated, window_of_tenant

TABLES = ["DeviceProcessEvents", "EmailEvents", "IdentityLogonEvents", "AlertInfo", "CloudAppEvents"]
pytestmark = pytest.mark.stores


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Emulated:
    rows = {"DeviceLogonEvents": 20_000, **dict.fromkeys(TABLES, 12_000)}
    burst = {"DeviceLogonEvents": "2026-11-18T09:00:00Z/1h/120000"}
    with emulated(tmp_path_factory.mktemp("exact"), rows=rows, burst=burst) as tenant:
        yield tenant


@pytest.fixture
def tenant(running: Emulated, tmp_path: Path, place: Place) -> Emulated:
    """Return the same tenant with a separate lake and ledger for each test."""
    return Emulated(running.endpoint, running.tenant, tmp_path, place)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_equals_that_of_the_tenant_as_a_multiset(tenant: Emulated, table: str) -> None:
    tenant.pull(spec(table), WEEK)
    assert differences(tenant.landed(table), window_of_tenant(tenant, table, WEEK)) == (0, 0)


def test_an_hour_with_more_rows_than_a_reply_is_archived_completely(tenant: Emulated) -> None:
    table, asked = "DeviceLogonEvents", days("2026-11-17", "2026-11-20")
    report, _ = tenant.pull(spec(table), asked)
    landed = tenant.landed(table)
    assert landed.num_rows > 120_000
    assert differences(landed, window_of_tenant(tenant, table, asked)) == (0, 0)
    assert report.calls > 3


def test_a_snapshot_table_is_archived_completely(tenant: Emulated) -> None:
    table = "DeviceTvmSoftwareInventory"
    today = Window(ticks_of(NOW) - 1, ticks_of(NOW))
    tenant.pull(spec(table), today)
    assert differences(tenant.landed(table), window_of_tenant(tenant, table)) == (0, 0)


def test_hourly_partitions_hold_the_same_rows(tenant: Emulated) -> None:
    asked = days("2026-11-18", "2026-11-19")
    tenant.pull(spec("AlertInfo", grain=Grain.HOUR), asked)
    landed = tenant.landed("AlertInfo")
    assert differences(landed, window_of_tenant(tenant, "AlertInfo", asked)) == (0, 0)


@pytest.mark.parametrize("api", ["graph", "xdr", "endpoint"])
def test_every_api_gives_the_same_parquet(tenant: Emulated, api: str) -> None:
    asked = days("2026-11-17", "2026-11-18")
    graph, other = (replace(tenant, place=tenant.lake.at(name)) for name in ("first", "second"))
    graph.pull(spec("DeviceProcessEvents"), asked, api="graph")
    other.pull(spec("DeviceProcessEvents"), asked, api=api)
    rows, others = (one.landed("DeviceProcessEvents").sort_by("Timestamp") for one in (graph, other))
    assert rows.num_rows > 100
    assert others.schema == rows.schema
    assert others.equals(rows)
