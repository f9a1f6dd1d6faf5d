"""Synthetic rows: repeatable by seed, limited by time before generation, with the volume of a working day."""

import json
import time
from collections import Counter
from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from hunting_emulator import ticks
from hunting_emulator.kql.bounds import ALWAYS, intersect, spans, unite
from hunting_emulator.kql.compiler import compile_query
from hunting_emulator.kql.parser import parse
from hunting_emulator.kql.syntax import Where
from hunting_emulator.schema import tables
from hunting_emulator.synthesis.volume import WEEK, Burst
from hunting_emulator.tenant import Tenant, TenantOptions

NOW = ticks.parse("2026-11-20T00:00:00Z")
MONTH_AGO = NOW - 30 * ticks.DAY


@pytest.fixture(scope="module")
def tenant() -> Iterator[Tenant]:
    burst = Burst(ticks.parse("2026-11-18T10:00:00Z"), 1, 5_000)
    found = Tenant(
        TenantOptions(now=NOW, rows={"DeviceNetworkEvents": 40_000}, bursts={"DeviceInfo": (burst,)})
    )
    yield found
    found.close()


def multiset(table: pa.Table) -> Counter[str]:
    """Return rows as a multiset, independent of their order."""
    with duckdb.connect() as database:
        database.register("bag", table.rename_columns([f"c{at}" for at in range(table.num_columns)]))
        counted = database.execute("SELECT hash(bag)::VARCHAR, count(*) FROM bag GROUP BY 1").fetchall()
    return Counter(dict(counted))


def test_a_seed_gives_the_same_rows_and_another_gives_others(tenant: Tenant) -> None:
    twin, other = Tenant(tenant.options), Tenant(TenantOptions(now=NOW, seed=8))
    for name in ("AlertInfo", "DeviceTvmSoftwareInventory", "EmailPostDeliveryEvents"):
        assert multiset(tenant.rows(name)) == multiset(twin.rows(name))
        assert multiset(tenant.rows(name)) != multiset(other.rows(name))


def test_bounds_cut_rows_off_without_changing_them(tenant: Tenant) -> None:
    start, end = ticks.parse("2026-11-10T09:07:00.1234567Z"), ticks.parse("2026-11-12T17:00:00Z")
    whole = tenant.rows("DeviceNetworkEvents")
    inside = [start <= at < end for at in whole.column("Timestamp").to_pylist()]
    part = tenant.rows("DeviceNetworkEvents", start, end)
    assert 0 < part.num_rows < whole.num_rows
    assert multiset(part) == multiset(whole.filter(pa.array(inside)))


def test_a_later_now_only_adds_rows(tenant: Tenant) -> None:
    later = Tenant(TenantOptions(now=NOW + ticks.HOUR, rows=tenant.options.rows))
    before = tenant.rows("DeviceNetworkEvents", MONTH_AGO)
    after = later.rows("DeviceNetworkEvents", MONTH_AGO, NOW + 1)
    assert multiset(before) == multiset(after)


def test_the_clock_hides_the_future_and_retention_the_past(tenant: Tenant) -> None:
    cursor = tenant.cursor()
    query = "DeviceNetworkEvents | summarize min(Timestamp), max(Timestamp)"
    compiled = compile_query(query, tenant.catalogue(cursor, 30 * ticks.DAY))
    low, high = cursor.execute(compiled.sql).fetchall()[0]
    assert MONTH_AGO <= low < MONTH_AGO + ticks.HOUR
    assert NOW - ticks.HOUR < high <= NOW


def test_volume_follows_the_working_day_and_is_near_the_requested_rows(tenant: Tenant) -> None:
    times = tenant.rows("DeviceNetworkEvents", MONTH_AGO).column("Timestamp").to_pylist()
    assert 34_000 < len(times) < 46_000
    hours = Counter(at // ticks.HOUR % 24 for at in times if at // ticks.DAY % 7 < 5)
    assert hours[10] > 2 * hours[3]
    assert any(at % 10 for at in times)
    assert sum(WEEK) == pytest.approx(168, abs=0.1)


def test_a_burst_can_be_one_tick(tenant: Tenant) -> None:
    at = ticks.parse("2026-11-18T10:00:00Z")
    rows = tenant.rows("DeviceInfo", at, at + 1)
    assert rows.num_rows == 5_000
    assert len(multiset(rows)) == 5_000


def test_late_rows_arrive_in_the_end() -> None:
    late = Tenant(TenantOptions(now=NOW, rows={"AlertInfo": 20_000}, late_share=0.2, late_seconds=86_400))
    then = late.rows("AlertInfo", NOW - ticks.DAY, NOW).num_rows
    late.configure(now=NOW + ticks.DAY)
    all_of_them = late.rows("AlertInfo", NOW - ticks.DAY, NOW).num_rows
    late.configure(late_share=0.0)
    assert then < all_of_them == late.rows("AlertInfo", NOW - ticks.DAY, NOW).num_rows


@pytest.mark.parametrize("name", sorted(tables()))
def test_every_table_makes_rows_of_its_types(tenant: Tenant, name: str) -> None:
    cursor = tenant.cursor()
    compiled = compile_query(f"{name} | take 40", tenant.catalogue(cursor))
    rows = cursor.sql(compiled.sql).to_arrow_table()
    storage = {"string": "string", "datetime": "int64", "bool": "bool", "int": "int32", "long": "int64"}
    storage |= {"real": "double", "guid": "string", "dynamic": "string"}
    assert rows.num_rows
    for at, (column, kind) in enumerate(tables()[name].columns):
        assert str(rows.field(at).type) == storage[kind], column
        if kind == "string":
            assert rows.column(at).null_count == 0
        if kind == "dynamic":
            for value in rows.column(at).to_pylist():
                assert value is None or isinstance(json.loads(value), dict | list)


def test_loaded_rows_replace_a_table(tenant: Tenant) -> None:
    given = pa.table(
        [
            pa.array([0, 639_000_000_000_000_001, None], pa.int64()),
            pa.array(["a", None, "a"]),
            pa.array([1, 2, 2], pa.int64()),
            pa.array([9_007_199_254_740_993, 4, 5], pa.int64()),
            pa.array(['{ "x": [1, 2] }', None, "[]"]),
        ],
        names=["Timestamp", "AccountName", "LogonId", "LogonID", "AdditionalFields"],
    )
    tenant.load("IdentityEvents", given)
    assert tenant.rows("IdentityEvents").to_pylist() != []
    assert tenant.rows("IdentityEvents").column_names == given.column_names
    assert tenant.rows("IdentityEvents").column(3).to_pylist() == [9_007_199_254_740_993, 4, 5]
    assert tenant.rows("IdentityEvents").column(1).to_pylist() == ["a", "", "a"]
    assert tenant.rows("IdentityEvents", 0, 1).num_rows == 1
    assert tenant.rows("IdentityEvents").column(4).to_pylist() == ['{"x":[1,2]}', None, "[]"]


def test_loaded_timestamps_keep_their_ticks(tenant: Tenant) -> None:
    moments = pa.array([1_795_000_000_123_456_700, None], pa.timestamp("ns", tz="UTC"))
    old = pa.array([-62_135_596_800_000_000, 0], pa.timestamp("us", tz="UTC"))
    tenant.load("CampaignInfo", pa.table([moments, old], names=["Timestamp", "Old"]))
    rows = tenant.rows("CampaignInfo")
    assert rows.column(0).to_pylist() == [ticks.UNIX_EPOCH + 17_950_000_001_234_567, None]
    assert rows.column(1).to_pylist() == [0, ticks.UNIX_EPOCH]


def test_an_arrival_hides_a_loaded_row_until_then(tenant: Tenant) -> None:
    arrivals = pa.array([NOW - 1, NOW, NOW + 1], pa.int64())
    tenant.load(
        "BehaviorInfo", pa.table([arrivals, pa.array(["a", "b", "c"])], names=["_arrival", "BehaviorId"])
    )
    assert sorted(tenant.rows("BehaviorInfo").column("BehaviorId").to_pylist()) == ["a", "b"]


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ("T >= datetime(0001-01-02) and T < datetime(0001-01-03)", ((ticks.DAY, 2 * ticks.DAY),)),
        ("T between (datetime(0001-01-02) .. datetime(0001-01-02))", ((ticks.DAY, ticks.DAY + 1),)),
        (
            "datetime(0001-01-02) > T or T == datetime(0001-01-03)",
            ((0, ticks.DAY), (2 * ticks.DAY, 2 * ticks.DAY + 1)),
        ),
        ("isnull(T)", ()),
        ("T < datetime(0001-01-02) and X == 1", ((0, ticks.DAY),)),
        ("T < datetime(0001-01-02) or X == 1", ALWAYS),
        ("not(T < datetime(0001-01-02))", ALWAYS),
    ],
)
def test_spans_of_a_predicate(predicate: str, expected: object) -> None:
    where = parse(f"A | where {predicate}").pipeline.operators[0]
    assert isinstance(where, Where)
    assert spans(where.predicate, "T", lambda expr: getattr(expr, "value", None)) == expected


def test_spans_meet_and_unite() -> None:
    assert intersect(((0, 10), (20, 30)), ((5, 25),)) == ((5, 10), (20, 25))
    assert unite([(5, 7), (0, 5), (9, 12), (10, 11)]) == ((0, 7), (9, 12))


def test_many_spans_hold_what_each_holds(tenant: Tenant) -> None:
    cursor = tenant.cursor()

    def count(predicate: str) -> int:
        compiled = compile_query(f"DeviceNetworkEvents | where {predicate} | count", tenant.catalogue(cursor))
        found: int = cursor.execute(compiled.sql).fetchall()[0][0]
        return found

    hours = [NOW - at * 7 * ticks.HOUR for at in range(1, 60)]
    parts = [
        f"(Timestamp >= datetime({ticks.text(at)}) and Timestamp < datetime({ticks.text(at + ticks.HOUR)}))"
        for at in hours
    ]
    assert count(" or ".join(parts * 20)) == count(" or ".join(parts))
    assert count(" or ".join(parts)) == sum(count(part) for part in parts) > 0


def test_a_clock_stands_still_or_runs() -> None:
    still, runs = Tenant(TenantOptions(now=NOW)), Tenant(TenantOptions(now=NOW, clock_runs=True))
    time.sleep(0.05)
    assert still.now() == NOW
    assert NOW < runs.now() < NOW + ticks.MINUTE
    runs.configure(now=NOW - ticks.DAY)
    assert runs.now() < NOW
