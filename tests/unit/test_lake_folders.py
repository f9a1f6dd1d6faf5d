"""Programs that get only a table's folder read its rows. The tests execute the code of docs/downstream.md."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from lake_workshop import NOON, Workshop, day, reply, text
from test_lake_read import land_without_a_time

from hunting_pipeline.model import TableSpec

DOCUMENT = (Path(__file__).parents[2] / "docs" / "downstream.md").read_text("utf-8")
SPEC = TableSpec("EmailEvents", "Timestamp")
COLUMNS = ["Timestamp", "A", "_rescued_data", "date"]
NEW = "New"


def blocks() -> tuple[Sequence[str], Sequence[str]]:
    """Return the Python code for tables of one schema, and the code for tables whose schema has changed."""
    section = re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)
    (text_,) = [one for one in section if one.startswith("From other programs")]
    same, changed = text_.split("**A table whose schema has changed.**")
    found = [re.findall(r"^```python\n(.*?)^```", part, re.MULTILINE | re.DOTALL) for part in (same, changed)]
    return found[0], found[1]


READ, FOLDERS, CHANGED = blocks()[0][0], blocks()[0][1:], blocks()[1]


def executed(code: str, lake: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Execute a block beside the lake, and return its variables."""
    monkeypatch.chdir(lake.parent)
    variables: dict[str, Any] = {}
    exec(code, variables)  # the code of our own document
    return variables


def columns_and_values(rows: Any) -> tuple[list[str], list[str]]:
    """Return the sorted columns and the values of column A."""
    if isinstance(rows, pl.LazyFrame):
        rows = rows.collect()
    if isinstance(rows, pd.DataFrame):
        assert isinstance(rows["Timestamp"].dtype, pd.ArrowDtype), "times lose no digit"
        return sorted(rows.columns), sorted(rows["A"])
    names = rows.columns if isinstance(rows, pl.DataFrame) else rows.column_names
    return sorted(names), sorted(
        rows["A"].to_list() if isinstance(rows, pl.DataFrame) else rows["A"].to_pylist()
    )


@pytest.fixture
def same(tmp_path: Path) -> Workshop:
    """Commit two days of one schema and a row without a time, and leave what a killed run leaves."""
    shop = Workshop(tmp_path / "lake", SPEC)
    shop.land([NOON], columns={"A": text("x")})
    shop.land([day(1).window.start], columns={"A": text("y")}, partition=day(1, SPEC.name))
    land_without_a_time(shop)
    shop.stage(reply([NOON]), day().window)
    (shop.root / "_hunting" / "temporary" / "0123456789abcdef.tmp").write_bytes(b"half a file")
    return shop


@pytest.fixture
def changed(tmp_path: Path) -> Workshop:
    """Commit two days; the second one has one more column."""
    shop = Workshop(tmp_path / "lake", SPEC)
    shop.land([NOON], columns={"A": text("x")})
    columns = {"A": text("y"), NEW: text("n")}
    shop.land([day(1).window.start], columns=columns, partition=day(1, SPEC.name))
    return shop


def test_a_tables_folder_holds_only_parquet(same: Workshop) -> None:
    files = [path for path in (same.root / SPEC.name).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".parquet"}


@pytest.mark.parametrize("code", FOLDERS)
def test_the_documented_lines_read_the_dated_rows_of_a_folder(
    code: str, same: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = executed(code, same.root, monkeypatch)["rows"]
    assert columns_and_values(rows) == (sorted(COLUMNS), ["x", "y"])


def test_the_documents_show_four_programs() -> None:
    assert [re.findall(r"import (\w+)", code)[0] for code in FOLDERS] == [
        "polars",
        "pandas",
        "pyarrow",
        "duckdb",
    ]


def test_a_folder_of_one_schema_needs_no_option(same: Workshop) -> None:
    folder = same.root / SPEC.name
    assert sorted(pl.scan_parquet(folder).collect()["A"]) == ["x", "y"]
    assert sorted(pd.read_parquet(folder)["A"]) == ["x", "y"]
    assert sorted(ds.dataset(folder).to_table()["A"].to_pylist()) == ["x", "y"]
    assert sorted(duckdb.sql(f"SELECT A FROM read_parquet('{folder}/**')").fetchall()) == [("x",), ("y",)]


def test_the_documented_reader_also_reads_rows_without_a_time(
    same: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = executed(READ, same.root, monkeypatch)["rows"]
    assert columns_and_values(rows) == (sorted(COLUMNS), ["-", "x", "y"])


def test_the_documented_reader_reads_all_columns(changed: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = executed(READ, changed.root, monkeypatch)["rows"]
    assert columns_and_values(rows) == (sorted([*COLUMNS, NEW]), ["x", "y"])


@pytest.mark.parametrize("code", CHANGED)
def test_the_documented_options_read_all_columns(
    code: str, changed: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = executed(code, changed.root, monkeypatch)
    found = [variables[name] for name in ("rows", "frame", "lazy") if name in variables]
    assert found
    for rows in found:
        assert columns_and_values(rows) == (sorted([*COLUMNS, NEW]), ["x", "y"])


def test_without_an_option_polars_raises_and_the_others_leave_out_the_new_column(changed: Workshop) -> None:
    folder = changed.root / SPEC.name
    with pytest.raises(pl.exceptions.SchemaError, match=NEW):
        pl.scan_parquet(folder).collect()
    ignoring = pl.scan_parquet(folder, extra_columns="ignore")
    found: list[pl.LazyFrame | pd.DataFrame | pa.Table] = [
        ignoring,
        pd.read_parquet(folder, dtype_backend="pyarrow"),
        ds.dataset(folder, partitioning="hive").to_table(),
        duckdb.sql(f"FROM read_parquet('{folder}/**')").to_arrow_table(),
    ]
    for rows in found:
        assert columns_and_values(rows) == (sorted(COLUMNS), ["x", "y"])
