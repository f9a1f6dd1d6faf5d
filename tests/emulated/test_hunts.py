"""A hunt that is pulled in slices has exactly the rows that the whole query returns."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hunting_pipeline.errors import Misconfigured, Refused
from hunting_pipeline.hunt_files import HuntFile, hunt_file
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.model import DAY, HOUR, RESCUED, Grain, TableSpec, Window, ticks_of
from hunting_pipeline.pipeline import Pipeline, open_lake
from hunting_pipeline.pipeline.calls import Spent
from hunting_pipeline.pipeline.tracker import Tracker
from hunting_pipeline.quota.rules import Priority
from hunting_pipeline.window import available, partitions_in
from places import Place
from support import DOTNET_EPOCH, NOW, Emulated, Shifted, emulated

EXAMPLES = sorted((Path(__file__).parents[2] / "assets" / "hunts").glob("*.kql"))
SLICED = [path for path in EXAMPLES if path.stem != "device_inventory"]
pytestmark = pytest.mark.stores
NOW_TICKS = ticks_of(NOW)
ROWS = {
    "DeviceProcessEvents": 8_000,
    "DeviceLogonEvents": 6_000,
    "DeviceNetworkEvents": 1_500,
    "DeviceRegistryEvents": 4_000,
    "DeviceFileEvents": 4_000,
    "DeviceEvents": 4_000,
    "DeviceInfo": 1_000,
    "EmailEvents": 5_000,
    "UrlClickEvents": 3_000,
    "CloudAppEvents": 4_000,
    "AlertEvidence": 1_500,
    "IdentityLogonEvents": 4_000,
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """Start a tenant whose rows are generated once, except the rows that a test delays."""
    home = tmp_path_factory.mktemp("hunts")
    with emulated(home, rows=ROWS) as tenant:
        made = {name: str(home / f"{name}.parquet") for name in ROWS if name != "DeviceLogonEvents"}
        for name, path in made.items():
            pq.write_table(tenant.tenant.rows(name), path)
        tenant.post("config", load=made)
        yield tenant


@pytest.fixture
def tenant(running: Emulated, tmp_path: Path, place: Place) -> Emulated:
    running.post("reset")
    return Emulated(running.endpoint, running.tenant, tmp_path, place)


@contextmanager
def small_replies(tenant: Emulated, rows: int) -> Iterator[Pipeline]:
    """Open a pipeline with a low row limit. The service itself has the usual limit."""
    with tenant.open() as pipeline:
        yield replace(pipeline, limits=replace(pipeline.limits, rows=rows))


def lately(spec: TableSpec) -> Window:
    """Return the last days that can be asked for; of an hourly hunt the last hours."""
    end = available(NOW_TICKS, 30, spec).end
    return Window(
        end // DAY * DAY - 4 * DAY if spec.grain is Grain.DAY else end // HOUR * HOUR - 20 * HOUR, end
    )


def pulled(tenant: Emulated, spec: TableSpec, *, rows: int = 100_000, asked: Window | None = None) -> int:
    """Pull a window, and return the number of calls."""
    partitions = partitions_in(spec, asked or lately(spec))
    with small_replies(tenant, rows) as pipeline, pipeline.pull(spec, partitions, renew=True) as pull:
        list(pull)
        return pull.report.calls


def answered(tenant: Emulated, query: str, *, clock: Shifted | None = None) -> pa.Table:
    """Return the reply of the service to an unchanged text."""
    with tenant.open(clock=clock) as pipeline:
        tracker = Tracker("a person", lambda _: None, Spent())
        calls = pipeline.calls(tracker, Priority.FRESH)
        return calls.fetch(query).table


def within(table: pa.Table, spec: TableSpec, window: Window | None = None) -> pa.Table:
    """Return the rows whose time lies in a window."""
    window = window or lately(spec)
    times = table[spec.time_column].cast(pa.int64()).to_numpy() // 100
    return table.filter(pa.array((times >= window.start) & (times < window.end)))


def differences(one: pa.Table, other: pa.Table) -> tuple[int, int]:
    """Count the rows that only one table has, as multisets. The examples have no lists of undefined order."""
    left = one.drop_columns([name for name in (RESCUED,) if name in one.column_names])
    right = other.drop_columns([name for name in (RESCUED,) if name in other.column_names])
    assert left.column_names == right.column_names
    database = duckdb.connect()
    database.register("a", left)
    database.register("b", right.cast(left.schema.remove_metadata()))
    counts = [
        database.execute(f"SELECT count(*) FROM (FROM {x} EXCEPT ALL FROM {y})").fetchall()[0][0]
        for x, y in (("a", "b"), ("b", "a"))
    ]
    return counts[0], counts[1]


@pytest.mark.parametrize("path", SLICED, ids=lambda path: path.stem)
def test_an_example_pulled_in_slices_is_the_whole_query(tenant: Emulated, path: Path) -> None:
    hunt = hunt_file(path)
    whole = within(answered(tenant, hunt.text), hunt.spec)
    assert whole.num_rows > 10, "nothing to compare"
    calls = pulled(tenant, hunt.spec, rows=max(5, whole.num_rows // 2))
    assert differences(tenant.landed(hunt.spec.name), whole) == (0, 0)
    assert calls > 3, "counted once, and fetched in three slices at least"


def hunt_of(folder: Path, text: str, name: str = "h") -> HuntFile:
    path = folder / f"{name}.kql"
    path.write_text(text)
    return hunt_file(path)


def test_a_snapshot_hunt_is_the_whole_query(tenant: Emulated) -> None:
    hunt = hunt_file(next(path for path in EXAMPLES if path not in SLICED))
    pulled(tenant, hunt.spec, asked=Window(NOW_TICKS - 1, NOW_TICKS))
    assert differences(tenant.landed(hunt.spec.name), answered(tenant, hunt.text)) == (0, 0)


def test_a_hunt_with_more_rows_than_a_reply_is_archived_completely(tenant: Emulated) -> None:
    text = "DeviceLogonEvents\n| where ActionType != ''\n| project Timestamp, DeviceId, ActionType // all"
    spec = hunt_of(tenant.home, text).spec
    span = lately(spec)
    tenant.post("config", limits={"rows": 200})
    try:
        calls = pulled(tenant, spec, rows=200)
    finally:
        tenant.post("config", limits={"rows": 100_000})
    landed = tenant.landed(spec.name)
    there = tenant.tenant.rows("DeviceLogonEvents", span.start + DOTNET_EPOCH, span.end + DOTNET_EPOCH)
    assert landed.num_rows == there.num_rows > 800
    assert sorted(landed["DeviceId"].to_pylist()) == sorted(there["DeviceId"].to_pylist())
    assert calls > 5


def test_bounds_reach_the_tables(tenant: Emulated) -> None:
    """The manifest keeps the query with its bounds."""
    failed = "let failed = DeviceLogonEvents | where ActionType == 'LogonFailed';"
    text = f"{failed}\nfailed | project Timestamp, DeviceId"
    spec = hunt_of(tenant.home, text).spec
    day = Window(NOW_TICKS // DAY * DAY - 2 * DAY, NOW_TICKS // DAY * DAY - DAY)
    pulled(tenant, spec, asked=day)
    (manifest,) = load_all(open_lake(tenant.settings()), spec.name)
    bound = (
        "| where Timestamp >= datetime(2026-11-18T00:00:00Z) and Timestamp < datetime(2026-11-19T00:00:00Z)"
    )
    assert manifest.segments[0].query == (
        f"let failed = DeviceLogonEvents\n{bound} | where ActionType == 'LogonFailed';\n"
        f"failed | project Timestamp, DeviceId\n{bound}"
    )


def test_a_second_pull_makes_no_call_and_a_changed_query_fetches_again(tenant: Emulated) -> None:
    day = Window(NOW_TICKS // DAY * DAY - 2 * DAY, NOW_TICKS // DAY * DAY - DAY)
    first = hunt_of(tenant.home, "DeviceLogonEvents | where ActionType == 'LogonFailed'").spec
    pulled(tenant, first, asked=day)
    few = tenant.landed(first.name).num_rows
    tenant.post("reset")
    again = hunt_of(
        tenant.home, "// description: said better\nDeviceLogonEvents | where ActionType == 'LogonFailed' // !"
    )
    pulled(tenant, again.spec, asked=day)
    assert tenant.stats()["calls"] == 0
    wider = hunt_of(tenant.home, "DeviceLogonEvents | where ActionType startswith 'Logon'").spec
    pulled(tenant, wider, asked=day)
    landed = tenant.landed(first.name)
    assert landed.num_rows > few
    assert differences(landed, within(answered(tenant, wider.hunt.text), wider, day)) == (0, 0)


def test_an_error_of_the_query_is_reported_with_the_message_of_the_service(tenant: Emulated) -> None:
    day = Window(NOW_TICKS // DAY * DAY - 2 * DAY, NOW_TICKS // DAY * DAY - DAY)
    for text, said in (
        ("DeviceLogonEvents | where ActionTyp == 'LogonFailed'", "ActionTyp"),
        ("DeviceLogonEvents | where ActionType ==", "Syntax error"),
        ("DeviceLogonEvnts | where ActionType == 'x'", "Failed to resolve table"),
    ):
        with pytest.raises(Refused, match=said):
            pulled(tenant, hunt_of(tenant.home, text).spec, asked=day)
    assert tenant.lake.objects() == []


def test_a_bin_that_has_not_ended_is_archived_later(tenant: Emulated) -> None:
    text = (
        "// settle: 1h\n// time: At\nDeviceLogonEvents | summarize Rows = count() by At = bin(Timestamp, 6h)"
    )
    spec = hunt_of(tenant.home, text).spec
    today = Window(NOW_TICKS // DAY * DAY, NOW_TICKS)
    pulled(tenant, spec, asked=today)
    assert tenant.landed(spec.name).num_rows == 2, "15:00: two of six hours have ended and settled"
    tenant.post("config", now="2026-11-20T19:30:00Z")
    try:
        later = Shifted(NOW.timestamp() + 4.5 * 3600)
        with (
            tenant.open(clock=later) as pipeline,
            pipeline.pull(spec, partitions_in(spec, today)) as pull,
        ):
            assert len(list(pull)) == 1
        whole = answered(tenant, text, clock=later)
    finally:
        tenant.post("config", now=NOW.strftime("%Y-%m-%dT%H:%M:%SZ"))
    landed = tenant.landed(spec.name)
    assert landed.num_rows == 3
    counts = dict(zip(whole["At"].to_pylist(), whole["Rows"].to_pylist(), strict=True))
    assert [counts[at] for at in landed["At"].to_pylist()] == landed["Rows"].to_pylist()


LAGGING = "DeviceLogonEvents | extend Timestamp = Timestamp - 5h | project Timestamp, DeviceId, ReportId"


@pytest.mark.parametrize(("settle", "whole_at_once"), [("6h", True), ("1h", False)])
def test_rows_that_come_hours_after_their_time_are_archived_after_the_chosen_delay(
    tenant: Emulated, settle: str, whole_at_once: bool
) -> None:
    """A reconcile finds the rows that come after a delay that is too short."""
    with pytest.raises(Misconfigured, match="set `settle` to the longest time"):
        hunt_of(tenant.home, LAGGING)
    spec = hunt_of(tenant.home, f"// settle: {settle}\n{LAGGING}").spec
    today = Window(NOW_TICKS // DAY * DAY, NOW_TICKS // DAY * DAY + DAY)
    try:
        for hours in range(0, 16, 3):
            now = NOW + timedelta(hours=hours)
            tenant.post("config", now=now.strftime("%Y-%m-%dT%H:%M:%SZ"))
            with (
                tenant.open(clock=Shifted(now.timestamp())) as pipeline,
                pipeline.pull(spec, partitions_in(spec, today)) as pull,
            ):
                list(pull)
        whole = within(answered(tenant, LAGGING, clock=Shifted(now.timestamp())), spec, today)
        assert (differences(tenant.landed(spec.name), whole) == (0, 0)) is whole_at_once
        with (
            tenant.open(clock=Shifted(now.timestamp())) as pipeline,
            pipeline.reconcile(spec, partitions_in(spec, today)) as (found, pull),
        ):
            assert found.equal is whole_at_once
            list(pull)
    finally:
        tenant.post("config", now=NOW.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert differences(tenant.landed(spec.name), whole) == (0, 0)


def test_a_reconcile_fetches_values_again_whose_change_counts_cannot_show(tenant: Emulated) -> None:
    """Late rows change the values of a summary, but neither the number of rows nor their times."""
    text = "// time: At\nDeviceLogonEvents | summarize Rows = count() by At = bin(Timestamp, 1d)"
    spec = hunt_of(tenant.home, text).spec
    day = Window(NOW_TICKS // DAY * DAY - 2 * DAY, NOW_TICKS // DAY * DAY - DAY)
    tenant.post("config", late_share=0.4, late_seconds=3 * 86_400)
    try:
        pulled(tenant, spec, asked=day)
        early = tenant.landed(spec.name)["Rows"].to_pylist()
    finally:
        tenant.post("config", late_share=0.0, late_seconds=0)
    with tenant.open() as pipeline, pipeline.reconcile(spec, partitions_in(spec, day)) as (found, pull):
        assert found.equal, "the counts say that all is well"
        assert [receipt.partition.key for receipt in pull] == ["2026-11-18"]
    (late,) = tenant.landed(spec.name)["Rows"].to_pylist()
    assert late > early[0]


def test_a_hunt_for_another_api_makes_no_call(tenant: Emulated) -> None:
    spec = hunt_of(tenant.home, "// api: xdr\nDeviceLogonEvents").spec
    with pytest.raises(Misconfigured, match="written for the API 'xdr'"):
        pulled(tenant, spec)
    with tenant.open() as pipeline:
        with pytest.raises(Misconfigured, match="written for the API 'xdr'"):
            pipeline.plan(spec, partitions_in(spec, lately(spec)))
        with pytest.raises(Misconfigured, match="written for the API 'xdr'"):
            pipeline.probe(spec)
    assert tenant.stats()["calls"] == 0
