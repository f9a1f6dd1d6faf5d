"""pyarrow, pandas, DuckDB, polars and, if installed, Spark read the same rows from the lake."""

import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from lake_workshop import EVENTS, MIDNIGHT, NOON, Values, Workshop, day, reply, text

from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake.read import archived_ticks, dataset, frame
from hunting_pipeline.model import HOUR, NULL_TIME, Partition, TableSpec, Window
from hunting_pipeline.window import null_time_spec

TICKS = [MIDNIGHT, NOON + 1, NOON + 1, NOON + 1_234_567]
BIG = 2**53 + 1
EVERY_TYPE: Values = {
    "Text": text("a", "", None, "ü\n"),
    "Kind": text("x", "x", "x", None),
    "Flag": ("bool", pa.bool_(), [True, False, None, True]),
    "Small": ("int", pa.int32(), [1, -(2**31), None, 2**31 - 1]),
    "Large": ("long", pa.int64(), [BIG, -BIG, None, 0]),
    "Real": ("real", pa.float64(), [0.1, float("inf"), None, -0.0]),
    "Exact": ("decimal", pa.decimal128(38, 18), [Decimal("0.1"), Decimal(-3), None, Decimal(0)]),
    "Span": ("timespan", pa.duration("ns"), [100, -100, None, 0]),
    "Guid": ("guid", pa.string(), ["72f988bf-86f1-41af-91ab-2d7cd011db47", None, None, None]),
    "Dynamic": ("dynamic", pa.string(), ['{"a":[1]}', "7", None, "[]"]),
    "LogonId": ("long", pa.int64(), [1, 2, 3, 4]),
    "LogonID": ("long", pa.int64(), [10, 20, 30, 40]),
}
COMMON = ["Text", "Kind", "Flag", "Small", "Large", "Real", "Exact", "LogonId", "LogonID_1", "_rescued_data"]
"""Columns whose values compare equal in the types of every reader."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Commit two days. The first has a value that did not fit; the second lacks columns and has a new one."""
    shop = Workshop(tmp_path_factory.mktemp("read") / "lake")
    shop.commit(shop.stage(reply(TICKS, EVERY_TYPE, rescued=1), day().window))
    shop.land(
        [day(1).window.end - 1],
        columns={"Small": ("int", pa.int32(), [5]), "New": text("n")},
        partition=day(1),
    )
    shop.land([], columns={"New": text()}, partition=day(2))
    return shop


def expected() -> list[dict[str, Any]]:
    first = [
        {name.replace("LogonID", "LogonID_1"): values[n] for name, (_, _, values) in EVERY_TYPE.items()}
        for n in range(4)
    ]
    for row in first:
        row["_rescued_data"] = None
    first[0]["_rescued_data"] = '{"A":"99999999999"}'
    last = dict.fromkeys(first[0]) | {"Small": 5}
    return [{name: row[name] for name in COMMON} for row in [*first, last]]


def parquet(shop: Workshop) -> str:
    return str(shop.root / EVENTS.name / "**" / "*.parquet")


def times(column: pa.ChunkedArray) -> list[int]:
    assert column.type == pa.timestamp("ns", "UTC")
    return [moment // 100 for moment in column.cast(pa.int64()).to_pylist()]


def test_the_lake_holds_columns_with_a_dictionary_and_without(shop: Workshop) -> None:
    group = pq.ParquetFile(shop.file()).metadata.row_group(0)
    columns = {chunk.path_in_schema: chunk for chunk in map(group.column, range(group.num_columns))}
    assert columns["Kind"].has_dictionary_page
    assert not columns["Text"].has_dictionary_page


def test_pyarrow_reads_every_value(shop: Workshop) -> None:
    rows = dataset(shop.store, EVENTS.name).to_table().sort_by("Timestamp")
    assert times(rows["Timestamp"]) == [*TICKS, day(1).window.end - 1]
    assert rows.select(COMMON).to_pylist() == expected()
    assert rows["Exact"].to_pylist() == [*EVERY_TYPE["Exact"][2], None]
    assert rows["Span"].cast(pa.int64()).to_pylist() == [*EVERY_TYPE["Span"][2], None]
    assert rows["Dynamic"].to_pylist() == [*EVERY_TYPE["Dynamic"][2], None]
    assert rows["New"].to_pylist() == [None] * 4 + ["n"]
    assert [str(date) for date in rows["date"].to_pylist()] == ["2026-11-20"] * 4 + ["2026-11-21"]


def test_the_schema_is_that_of_all_files_with_the_lakes_own_columns_last(shop: Workshop) -> None:
    names = dataset(shop.store, EVENTS.name).schema.names
    assert names == [
        "Timestamp", "Text", "Kind", "Flag", "Small", "Large", "Real", "Exact", "Span", "Guid", "Dynamic",
        "LogonId", "LogonID_1", "New", "_rescued_data", "date",
    ]  # fmt: skip


def test_pandas_loses_no_tick_and_no_integer(shop: Workshop) -> None:
    rows = frame(shop.store, EVENTS.name).sort_values("Timestamp", kind="stable")
    assert all(isinstance(kind, pd.ArrowDtype) for kind in rows.dtypes)
    back = pa.Table.from_pandas(rows, preserve_index=False)
    assert times(back["Timestamp"]) == [*TICKS, day(1).window.end - 1]
    assert back.select(COMMON).to_pylist() == expected()


def test_duckdb_reads_the_folders(shop: Workshop) -> None:
    source = f"read_parquet('{parquet(shop)}', hive_partitioning = true, union_by_name = true)"
    query = f"SELECT * FROM {source} ORDER BY Timestamp, LogonId"
    rows = duckdb.connect().sql(query).to_arrow_table()
    assert rows.select(COMMON).to_pylist() == expected()
    nanoseconds = duckdb.connect().execute(f"SELECT epoch_ns(Timestamp) FROM {source} ORDER BY 1").fetchall()
    assert [moment // 100 for (moment,) in nanoseconds] == [*TICKS, day(1).window.end - 1]
    days = duckdb.connect().execute(f"SELECT DISTINCT date::VARCHAR FROM {source} ORDER BY 1").fetchall()
    assert days == [("2026-11-20",), ("2026-11-21",)]


def test_polars_reads_the_folders(shop: Workshop) -> None:
    lazy = pl.scan_parquet(
        parquet(shop), hive_partitioning=True, missing_columns="insert", extra_columns="ignore"
    )
    rows = lazy.collect().sort("Timestamp", maintain_order=True)
    assert [moment // 100 for moment in rows["Timestamp"].dt.epoch("ns")] == [*TICKS, day(1).window.end - 1]
    assert rows.select(COMMON).to_dicts() == expected()


def test_spark_reads_the_folders_with_times_as_nanoseconds(shop: Workshop) -> None:
    sql = pytest.importorskip("pyspark.sql", reason="Spark is not installed")
    if not shutil.which("java"):
        pytest.skip("Spark needs java")
    settings = {"spark.ui.enabled": "false", "spark.sql.legacy.parquet.nanosAsLong": "true"}
    spark = sql.SparkSession.builder.master("local[1]").config(map=settings).getOrCreate()
    try:
        lake = spark.read.option("mergeSchema", "true").parquet(str(shop.root / EVENTS.name))
        rows = [row.asDict() for row in lake.orderBy("Timestamp", "LogonId").collect()]
    finally:
        spark.stop()
    assert [row["Timestamp"] // 100 for row in rows] == [*TICKS, day(1).window.end - 1]
    assert [row["Span"] for row in rows] == [*EVERY_TYPE["Span"][2], None]
    assert [{name: row[name] for name in COMMON} for row in rows] == expected()
    assert [str(row["date"]) for row in rows] == ["2026-11-20"] * 4 + ["2026-11-21"]


def test_readers_that_take_a_folder_skip_what_is_not_parquet(shop: Workshop) -> None:
    folder = shop.root / EVENTS.name
    (folder / "date=2026-11-20" / "_0123456789abcdef.tmp").write_bytes(b"a file of another program")
    assert ds.dataset(folder, partitioning="hive").count_rows() == 5
    assert len(pd.read_parquet(folder, columns=["Timestamp"])) == 5


def test_a_span_of_a_table_can_be_opened(shop: Workshop) -> None:
    rows = dataset(shop.store, EVENTS.name, [day(2), day(1), day(77)]).to_table()
    assert rows.num_rows == 1
    assert rows.schema.names[-2:] == ["_rescued_data", "date"]
    assert len(frame(shop.store, EVENTS.name, [day()])) == 4


def test_rows_can_be_chosen_by_time(shop: Workshop) -> None:
    noon = pa.scalar((NOON + 2) * 100, pa.int64()).cast(pa.timestamp("ns", "UTC"))
    chosen = dataset(shop.store, EVENTS.name).to_table(filter=pc.field("Timestamp") < noon)
    assert times(chosen["Timestamp"]) == TICKS[:3]


@pytest.mark.parametrize("partitions", [None, [], [day(5)]])
def test_a_message_says_what_to_do_if_nothing_is_archived(
    tmp_path: Path, partitions: list[Partition] | None
) -> None:
    with pytest.raises(Misconfigured, match="hunting pull DeviceEvents"):
        dataset(Workshop(tmp_path).store, EVENTS.name, partitions)


def test_hours_are_a_column(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    for hour in (5, 13):
        window = Window(MIDNIGHT + hour * HOUR, MIDNIGHT + (hour + 1) * HOUR)
        shop.land([window.start], partition=Partition(EVENTS.name, window))
    rows = dataset(shop.store, EVENTS.name).to_table()
    assert rows["hour"].to_pylist() == [5, 13]
    query = f"SELECT hour::INT FROM read_parquet('{parquet(shop)}', hive_partitioning = true) ORDER BY 1"
    assert duckdb.connect().execute(query).fetchall() == [(5,), (13,)]


def land_without_a_time(shop: Workshop) -> None:
    """Commit a row whose time is null."""
    spec, shop.spec = shop.spec, null_time_spec(shop.spec)
    columns = {"Timestamp": ("datetime", pa.timestamp("ns", "UTC"), [None]), "A": text("-")}
    shop.land(None, columns=columns, partition=Partition(spec.name, NULL_TIME))
    shop.spec = spec


def test_rows_without_a_time_have_a_file_beside_the_tables_and_a_null_date(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    shop.land([NOON], columns={"A": text("dated")})
    land_without_a_time(shop)
    rows = dataset(shop.store, EVENTS.name).to_table().sort_by("A")
    assert rows["A"].to_pylist() == ["-", "dated"]
    assert [str(date) for date in rows["date"].to_pylist()] == ["None", "2026-11-20"]
    assert rows["Timestamp"].null_count == 1
    assert frame(shop.store, EVENTS.name).sort_values("A")["date"].isna().tolist() == [True, False]
    alone = dataset(shop.store, EVENTS.name, [Partition(EVENTS.name, NULL_TIME)]).to_table()
    assert alone["A"].to_pylist() == ["-"]
    source = f"read_parquet('{shop.root}/_hunting/null_time/{EVENTS.name}/*.parquet')"
    assert duckdb.connect().execute(f"SELECT A FROM {source}").fetchall() == [("-",)]


def test_the_times_of_a_partition_can_be_read_alone(shop: Workshop) -> None:
    assert archived_ticks(shop.store, day(), "Timestamp").tolist() == TICKS


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    shop.land([NOON])
    data = shop.file().read_bytes()
    shop.file().write_bytes(data[:4] + b"\xff" * (len(data) - 8) + data[-4:])
    for read in (
        lambda: dataset(shop.store, EVENTS.name),
        lambda: archived_ticks(shop.store, day(), "Timestamp"),
    ):
        with pytest.raises(CommitRefused, match=r"2026-11-20\.parquet (cannot be read|was not written)"):
            read()


def test_a_wider_type_reads_over_all_files(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, TableSpec("DeviceEvents", "Timestamp"))
    shop.land([NOON], columns={"N": ("int", pa.int32(), [1])})
    shop.land([day(1).window.start], columns={"N": ("long", pa.int64(), [BIG])}, partition=day(1))
    assert dataset(shop.store, EVENTS.name).to_table()["N"].to_pylist() == [1, BIG]
    query = f"SELECT N FROM read_parquet('{parquet(shop)}', union_by_name = true) ORDER BY N"
    assert duckdb.connect().execute(query).fetchall() == [(1,), (BIG,)]
