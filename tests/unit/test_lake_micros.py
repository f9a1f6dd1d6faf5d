"""Times in microseconds: exact ticks stand beside them, so no tick is lost by any step of an archive."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from lake_workshop import EVENTS, MIDNIGHT, NOON, SNAPSHOT, TIME, Values, Workshop, day, reply, text

from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.lake.inspect import inspect
from hunting_pipeline.lake.layout import manifest_path
from hunting_pipeline.lake.manifest import Manifest, load
from hunting_pipeline.lake.micros import unit_of
from hunting_pipeline.lake.read import archived_ticks, dataset, frame
from hunting_pipeline.lake.verify import verify
from hunting_pipeline.model import (
    NULL_TIME,
    Bucket,
    Partition,
    TableSpec,
    TimestampUnit,
    Window,
)
from hunting_pipeline.pipeline.coverage import archive_of
from hunting_pipeline.pipeline.rewrite import rewrite_of
from hunting_pipeline.window import null_time_spec

NS, US = TimestampUnit.NS, TimestampUnit.US
MICROS = replace(EVENTS, timestamp_unit=US)
NANOS = replace(EVENTS, timestamp_unit=NS)
MORNING, AFTERNOON = Window(MIDNIGHT, NOON), Window(NOON, day().window.end)
TICKS = [MIDNIGHT, MIDNIGHT + 9, MIDNIGHT + 1_234_567, NOON - 1, NOON + 3, day().window.end - 1]
"""Most of them end in a digit below a microsecond."""
SEEN = [None, -1, -10, 15, 0, MIDNIGHT + 7]
"""Ticks of a second column of times: null, and before 1970 too."""


def more(ticks: list[int] = TICKS) -> Values:
    seen = [None if tick is None else tick * 100 for tick in SEEN[: len(ticks)]]
    return {"Seen": ("datetime", TIME, seen), "A": text(*map(str, ticks))}


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "lake", MICROS)


def exact(shop: Workshop, partition: Partition | None = None) -> list[int]:
    return archived_ticks(shop.store, partition or day(), "Timestamp").tolist()


def archived(shop: Workshop, partition: Partition | None = None) -> Manifest:
    found = load(shop.store, partition or day())
    assert found is not None
    return found


def rewritten(shop: Workshop, spec: TableSpec) -> list[Manifest]:
    found = list(rewrite_of(shop.store, spec))
    assert all(isinstance(one, Manifest) for one in found), found
    return [one for one in found if isinstance(one, Manifest)]


def floored(ticks: list[int | None]) -> list[int | None]:
    return [None if tick is None else tick // 10 for tick in ticks]


def test_each_time_has_microseconds_rounded_down_beside_its_exact_ticks(shop: Workshop) -> None:
    shop.land(TICKS, columns=more())
    rows = shop.rows()
    assert rows.schema.names == ["Timestamp", "Timestamp_ticks", "Seen", "Seen_ticks", "A", "_rescued_data"]
    for name, ticks in (("Timestamp", TICKS), ("Seen", SEEN)):
        assert rows.schema.field(name).type == pa.timestamp("us", "UTC")
        assert rows.schema.field(f"{name}_ticks").type == pa.int64()
        assert rows[name].cast(pa.int64()).to_pylist() == floored(ticks)
        assert rows[f"{name}_ticks"].to_pylist() == ticks
    assert unit_of(archived(shop).columns) is US


def test_the_file_proves_the_checksum_of_the_service(shop: Workshop) -> None:
    receipt = shop.land(TICKS, columns=more())
    inspected = inspect(shop.store, day(), MICROS)
    assert inspected.proof == receipt.proof == archived(shop).segments[0].proof
    assert receipt.time_range == (TICKS[0], TICKS[-1])
    assert inspected.bins[11:13] == (1, 1)
    (compared,) = verify(shop.store, MICROS, archive_of(shop.store, MICROS, None)).comparisons
    assert compared.equal
    assert exact(shop) == TICKS


def test_a_manifest_from_the_footer_has_the_unit(shop: Workshop) -> None:
    shop.land(TICKS)
    before = archived(shop)
    (shop.root / manifest_path(day())).unlink()
    assert archived(shop) == before
    with pytest.raises(Misconfigured, match="unit"):
        archive_of(shop.store, NANOS, None)


def test_an_archive_is_extended_and_cut_exactly(shop: Workshop) -> None:
    """The rows on both sides of a replaced span differ from its edges by less than a microsecond."""
    shop.land([MIDNIGHT, NOON - 1], MORNING, more([1, 2]))
    shop.land([NOON, NOON + 9], AFTERNOON, more([3, 4]))
    assert exact(shop) == [MIDNIGHT, NOON - 1, NOON, NOON + 9]
    cut = Window(NOON - 1, NOON + 9)
    shop.land([NOON - 1, NOON + 4, NOON + 8], cut, more([5, 6, 7]))
    assert exact(shop) == [MIDNIGHT, NOON - 1, NOON + 4, NOON + 8, NOON + 9]
    assert shop.rows()["A"].to_pylist() == ["1", "5", "6", "7", "4"]
    assert sum(segment.proof.rows for segment in archived(shop).segments) == 5


def test_a_day_is_replaced_with_late_rows_and_never_by_fewer(shop: Workshop) -> None:
    shop.land(TICKS)
    receipt = shop.land([*TICKS, NOON + 5])
    assert (receipt.previous_rows, exact(shop)) == (6, sorted([*TICKS, NOON + 5]))
    with pytest.raises(CommitRefused, match="the service now holds 3 rows"):
        shop.land(TICKS[:3])


def test_hash_buckets_of_one_tick_are_joined(shop: Workshop) -> None:
    window = Window(NOON + 3, NOON + 4)
    staged = [
        segment
        for index in range(2)
        for segment in shop.stage(reply([NOON + 3] * 2, more([1, 2])), window, bucket=Bucket(index, 2))
    ]
    shop.commit(staged)
    shop.land([NOON + 4], Window(NOON + 4, NOON + 5))
    assert exact(shop) == [NOON + 3] * 4 + [NOON + 4]


def test_new_columns_and_new_times_are_added(shop: Workshop) -> None:
    shop.land([MIDNIGHT], columns={"N": ("int", pa.int32(), [1])})
    tomorrow = day(1).window.start
    columns: Values = {"N": ("long", pa.int64(), [2**40]), "Last": ("datetime", TIME, [tomorrow * 100 + 500])}
    shop.land([tomorrow], columns=columns, partition=day(1))
    shop.land([NOON + 1, NOON + 2], Window(NOON, NOON + 3))
    names = ["Timestamp", "Timestamp_ticks", "N", "Last", "Last_ticks", "_rescued_data"]
    assert shop.rows(day(1)).schema.names == names
    assert dataset(shop.store, EVENTS.name).schema.names == [*names, "date"]
    assert exact(shop) == [MIDNIGHT, NOON + 1, NOON + 2]
    rows = frame(shop.store, EVENTS.name).sort_values("Timestamp_ticks")
    assert rows["Timestamp_ticks"].tolist() == [MIDNIGHT, NOON + 1, NOON + 2, tomorrow]
    assert rows["Last_ticks"].dropna().tolist() == [tomorrow + 5]
    assert rows["N"].dropna().tolist() == [1, 2**40]


def test_a_column_of_the_service_keeps_its_name_beside_the_ticks(shop: Workshop) -> None:
    """Whoever is first keeps the name; the other gets a number, in every later file and after a rewrite."""
    shop.land([MIDNIGHT], columns={"Seen_ticks": text("service"), "Seen": ("datetime", TIME, [500])})
    rows = shop.rows()
    assert rows["Seen_ticks"].to_pylist() == ["service"]
    assert rows["Seen_ticks_1"].to_pylist() == [5]
    assert rows["Timestamp_ticks"].to_pylist() == [MIDNIGHT]
    tomorrow = day(1).window.start
    late: Values = {"timestamp_Ticks": text("late"), "Seen_ticks": text("service")}
    shop.land([tomorrow], columns=late, partition=day(1))
    rows = shop.rows(day(1))
    assert rows["Timestamp_ticks"].to_pylist() == [tomorrow]
    assert rows["timestamp_Ticks_1"].to_pylist() == ["late"]
    assert rows["Seen_ticks"].to_pylist() == ["service"]
    names = rows.schema.names
    rewritten(shop, NANOS)
    rewritten(shop, MICROS)
    assert shop.rows(day(1)).equals(rows)
    assert shop.rows().schema.names == names
    assert len({name.lower() for name in names}) == len(names)


def test_rows_without_a_time_have_no_ticks(shop: Workshop) -> None:
    null_time = Partition(EVENTS.name, NULL_TIME)
    shop.spec = null_time_spec(MICROS)
    columns: Values = {"Timestamp": ("datetime", TIME, [None]), "Seen": ("datetime", TIME, [700])}
    shop.land(None, columns=columns, partition=null_time)
    shop.spec = MICROS
    shop.land([NOON + 1])
    for spec in (NANOS, MICROS):
        assert {one.partition for one in rewritten(shop, spec)} == {day(), null_time}
    rows = shop.rows(null_time)
    assert rows["Timestamp"].to_pylist() == rows["Timestamp_ticks"].to_pylist() == [None]
    assert rows["Seen_ticks"].to_pylist() == [7]
    whole = dataset(shop.store, EVENTS.name).to_table()
    assert sorted(whole["Timestamp_ticks"].to_pylist(), key=str) == [NOON + 1, None]


def test_a_snapshot_has_ticks_too(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, replace(SNAPSHOT, timestamp_unit=US))
    shop.land(None, columns={"Seen": ("datetime", TIME, [700, None]), "A": text("x", "y")})
    assert shop.rows()["Seen_ticks"].to_pylist() == [7, None]
    rewritten(shop, replace(SNAPSHOT, timestamp_unit=NS))
    assert shop.rows()["Seen"].cast(pa.int64()).to_pylist() == [700, None]


def test_nanoseconds_survive_a_rewrite_to_microseconds_and_back(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    shop.land(TICKS[:4], MORNING, more(TICKS[:4]))
    shop.land(TICKS[4:], AFTERNOON, more(TICKS[4:]))
    before, rows = archived(shop), shop.rows()
    (micros,) = rewritten(shop, MICROS)
    assert shop.rows()["Timestamp_ticks"].to_pylist() == TICKS
    assert replace(
        micros, columns=before.columns, fingerprint=before.fingerprint, file_bytes=before.file_bytes,
        file_version=before.file_version,
    ) == before  # fmt: skip
    assert archived(shop) == micros
    (shop.root / manifest_path(day())).unlink()
    assert archived(shop) == micros
    assert rewritten(shop, MICROS) == []
    rewritten(shop, NANOS)
    back = shop.rows()
    assert back.equals(rows)
    assert back.schema.remove_metadata().equals(rows.schema.remove_metadata(), check_metadata=True)
    assert shop.rows().schema.field("Timestamp").type == TIME
    assert archived(shop).fingerprint == before.fingerprint


def test_the_unit_of_the_archive_is_kept_if_none_is_set(shop: Workshop) -> None:
    shop.land([MIDNIGHT + 3], MORNING)
    shop.spec = EVENTS
    shop.land([NOON + 4], AFTERNOON)
    shop.land([day(1).window.start + 5], partition=day(1))
    assert {unit_of(one.columns) for one in load_all(shop.store, EVENTS.name)} == {US}
    assert exact(shop) == [MIDNIGHT + 3, NOON + 4]
    archive_of(shop.store, EVENTS, None)


def test_another_unit_is_refused_by_name(shop: Workshop) -> None:
    shop.land(TICKS)
    with pytest.raises(Misconfigured) as caught:
        archive_of(shop.store, NANOS, None)
    words = str(caught.value)
    assert "DeviceEvents is archived with the unit of times us, and timestamp_unit" in words
    assert "`hunting rewrite DeviceEvents --timestamp-unit ns`" in words
    assert not caught.value.everything


@pytest.mark.parametrize("spec", [EVENTS, NANOS, MICROS])
def test_a_mixed_archive_is_refused_until_the_rewrite_is_complete(tmp_path: Path, spec: TableSpec) -> None:
    shop = Workshop(tmp_path)
    for number in range(2):
        shop.land([day(number).window.start + 1], partition=day(number))
    next(iter(rewrite_of(shop.store, MICROS)))
    for refused in (
        lambda: archive_of(shop.store, spec, None),
        lambda: dataset(shop.store, EVENTS.name),
    ):
        with pytest.raises(Misconfigured, match="`hunting rewrite DeviceEvents --timestamp-unit`"):
            refused()
    assert dataset(shop.store, EVENTS.name, [day(1)]).count_rows() == 1
    assert [one.partition for one in rewritten(shop, MICROS)] == [day(1)]
    archive_of(shop.store, EVENTS, None)


def test_a_rewrite_that_was_killed_before_its_first_file_can_be_taken_back(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    shop.land([MIDNIGHT + 1])
    before = shop.contents()
    rewrite_of(shop.store, MICROS)._register()
    with pytest.raises(Misconfigured, match="`hunting rewrite DeviceEvents --timestamp-unit`"):
        archive_of(shop.store, EVENTS, None)
    assert rewritten(shop, NANOS) == []
    archive_of(shop.store, EVENTS, None)
    assert shop.contents() == before


@pytest.mark.parametrize("ticks", [TICKS[:2], TICKS[:3]])
def test_a_rewrite_never_replaces_the_file_of_another_run(shop: Workshop, ticks: list[int]) -> None:
    """The other file may have the same row count and checksum."""
    shop.land(TICKS[:2])
    planned = rewrite_of(shop.store, NANOS)
    shop.land(ticks, columns={"A": text(*["new"] * len(ticks))})
    before = shop.file().read_bytes()
    (error,) = planned
    assert isinstance(error, CommitRefused)
    assert shop.file().read_bytes() == before


def test_a_damaged_file_is_named_and_the_others_are_rewritten(shop: Workshop) -> None:
    for number in range(2):
        shop.land([day(number).window.start + 1], partition=day(number))
    shop.file().write_bytes(b"PAR1")
    plan = rewrite_of(shop.store, NANOS)
    assert [one.partition for one in plan if isinstance(one, Manifest)] == [day(1)]
    (error,) = plan.damaged
    assert "2026-11-20" in str(error)


@pytest.mark.slow
def test_a_rewrite_killed_at_any_file_operation_is_completed_by_the_next() -> None:
    program = Path(__file__).parent / "lake_rewrite_killed.py"
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 10, "the kills did not happen where files are touched"


def test_readers_of_the_folder_need_no_option(shop: Workshop) -> None:
    shop.land(TICKS, columns=more())
    folder = shop.root / EVENTS.name
    query = f"SELECT Timestamp_ticks FROM read_parquet('{folder}/**')"
    found = {
        "polars": pl.scan_parquet(folder).collect()["Timestamp_ticks"].to_list(),
        "pandas": pd.read_parquet(folder)["Timestamp_ticks"].tolist(),
        "pyarrow": ds.dataset(folder, partitioning="hive").to_table()["Timestamp_ticks"].to_pylist(),
        "duckdb": [row[0] for row in duckdb.connect().execute(query).fetchall()],
    }
    assert {reader: rows for reader, rows in found.items() if rows != TICKS} == {}
    assert str(pd.read_parquet(folder)["Timestamp"].dtype) == "datetime64[us, UTC]"
    kinds = duckdb.connect().execute(f"DESCRIBE FROM read_parquet('{folder}/**')").fetchall()
    assert kinds[0][:2] == ("Timestamp", "TIMESTAMP WITH TIME ZONE")
    assert pq.read_schema(shop.file()).field("Timestamp").type == pa.timestamp("us", "UTC")


@pytest.mark.parametrize(
    "expression",
    ["date_trunc('hour', Timestamp)", "Timestamp - INTERVAL 1 HOUR", "Timestamp >= now()::TIMESTAMPTZ"],
)
def test_duckdb_calculates_with_microseconds_and_needs_a_cast_of_nanoseconds(
    shop: Workshop, expression: str
) -> None:
    """The documentation of the readers states this."""
    shop.land(TICKS)
    query = f"SELECT {{}} FROM read_parquet('{shop.root}/{EVENTS.name}/**')"
    assert len(duckdb.connect().execute(query.format(expression)).fetchall()) == 6
    rewritten(shop, NANOS)
    with pytest.raises(duckdb.BinderException, match="TIMESTAMPTZ_NS"):
        duckdb.connect().execute(query.format(expression))
    cast = expression.replace("Timestamp", "Timestamp::TIMESTAMPTZ")
    assert len(duckdb.connect().execute(query.format(cast)).fetchall()) == 6


def test_spark_reads_microseconds_without_an_option(shop: Workshop) -> None:
    sql = pytest.importorskip("pyspark.sql", reason="Spark is not installed")
    if not shutil.which("java"):
        pytest.skip("Spark needs java")
    shop.land(TICKS, columns=more())
    settings = {"spark.ui.enabled": "false", "spark.sql.session.timeZone": "UTC"}
    spark = sql.SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()
    try:
        lake = spark.read.parquet(str(shop.root / EVENTS.name))
        kinds = dict(lake.dtypes)
        rows = lake.selectExpr("unix_micros(Timestamp) AS micros", "Timestamp_ticks").collect()
    finally:
        spark.stop()
    assert (kinds["Timestamp"], kinds["Timestamp_ticks"]) == ("timestamp", "bigint")
    assert sorted(row["Timestamp_ticks"] for row in rows) == TICKS
    assert sorted(row["micros"] for row in rows) == floored([*TICKS])
