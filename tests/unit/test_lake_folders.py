"""Programs that get only a table's folder read its rows. The tests execute the code of docs/downstream.md.

The same code runs on a folder, on S3 and, where it differs, on Azure. DuckDB runs on object stores if
`make .venv-duckdb/.ready` has installed its extensions.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from lake_workshop import NOON, Workshop, day, reply, text
from object_servers import Bucket
from object_servers.signing import REGION
from test_lake_read import land_without_a_time

from hunting_pipeline.model import TableSpec

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "downstream.md").read_text("utf-8")
SPEC = TableSpec("EmailEvents", "Timestamp")
COLUMNS = ["Timestamp", "A", "_rescued_data", "date"]
NEW = "New"


def blocks(language: str) -> list[list[str]]:
    """Return the code for tables of one schema, for tables of several schemas, for S3 and for Azure."""
    section = re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)
    (text_,) = [one for one in section if one.startswith("From other programs")]
    parts = re.split(r"^\*\*(?:A table whose schema has changed|On S3|On Azure)", text_, flags=re.MULTILINE)
    return [re.findall(rf"^```{language}\n(.*?)^```", part, re.MULTILINE | re.DOTALL) for part in parts]


(READ, *FOLDERS), CHANGED, _, (ON_AZURE,) = blocks("python")
_, _, (SQL_ON_S3,), (SQL_ON_AZURE, _) = blocks("sql")
DUCKDB = ROOT / ".venv-duckdb" / "bin" / "python"
WITH_DUCKDB = pytest.mark.skipif(not DUCKDB.exists(), reason="needs `make .venv-duckdb/.ready`")


Place = Callable[[Workshop], Callable[[str], str]]
"""Puts a lake in its place. Returns a function from a documented block to one for this place."""


@pytest.fixture
def in_folder(monkeypatch: pytest.MonkeyPatch) -> Place:
    def put(shop: Workshop) -> Callable[[str], str]:
        monkeypatch.chdir(shop.root.parent)
        return lambda code: code

    return put


@pytest.fixture
def on_s3(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> Place:
    def put(shop: Workshop) -> Callable[[str], str]:
        s3.upload(shop.root)
        as_variables(s3, monkeypatch)
        variables = ("AWS_ENDPOINT_URL", s3.endpoint), ("AWS_REGION", REGION), ("AWS_DEFAULT_REGION", REGION)
        for name, value in variables:
            monkeypatch.setenv(name, value)
        return lambda code: code.replace("lake/", f"{s3.url}/")

    return put


def as_variables(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables of the lake."""
    for name, value in bucket.settings.items():
        monkeypatch.setenv(f"HUNTING_{name.upper()}", str(value))


@pytest.fixture(params=["in_folder", "on_s3"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HUNTING_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HUNTING_CONFIG", os.devnull)


def executed(code: str) -> dict[str, Any]:
    """Execute a block, and return its variables."""
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


@pytest.mark.parametrize("code", FOLDERS[:3])
def test_the_documented_lines_read_the_dated_rows(code: str, same: Workshop, place: Place) -> None:
    rows = executed(place(same)(code))["rows"]
    assert columns_and_values(rows) == (sorted(COLUMNS), ["x", "y"])


def test_the_documented_line_of_duckdb_reads_the_dated_rows(same: Workshop, in_folder: Place) -> None:
    rows = executed(in_folder(same)(FOLDERS[3]))["rows"]
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


def test_the_documented_reader_also_reads_rows_without_a_time(same: Workshop, place: Place) -> None:
    rows = executed(place(same)(READ))["rows"]
    assert columns_and_values(rows) == (sorted(COLUMNS), ["-", "x", "y"])


def test_the_documented_reader_reads_all_columns(changed: Workshop, place: Place) -> None:
    rows = executed(place(changed)(READ))["rows"]
    assert columns_and_values(rows) == (sorted([*COLUMNS, NEW]), ["x", "y"])


def test_the_documented_reader_reads_a_lake_on_azure(
    same: Workshop, azure: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    azure.upload(same.root)
    as_variables(azure, monkeypatch)
    assert columns_and_values(executed(READ)["rows"]) == (sorted(COLUMNS), ["-", "x", "y"])


def all_columns(variables: dict[str, Any], *names: str) -> None:
    for name in names:
        assert columns_and_values(variables[name]) == (sorted([*COLUMNS, NEW]), ["x", "y"]), name


def test_the_documented_options_read_all_columns(changed: Workshop, place: Place) -> None:
    all_columns(executed(place(changed)(CHANGED[1])), "rows", "frame", "lazy")


def test_the_documented_option_of_duckdb_reads_all_columns(changed: Workshop, in_folder: Place) -> None:
    all_columns(executed(in_folder(changed)(CHANGED[0])), "rows")


def test_the_documented_lines_for_azure_read_the_dated_rows(same: Workshop, azure: Bucket) -> None:
    azure.upload(same.root)
    found = executed(_at_emulator(ON_AZURE, azure))
    for name in ("rows", "frame", "lazy"):
        assert columns_and_values(found[name]) == (sorted(COLUMNS), ["x", "y"]), name


def test_the_documented_options_read_all_columns_on_azure(changed: Workshop, azure: Bucket) -> None:
    azure.upload(changed.root)
    opening, _ = ON_AZURE.split("rows = ")
    code = opening + CHANGED[1].replace('"lake/EmailEvents/"', "folder, filesystem=azure")
    all_columns(executed(_at_emulator(code, azure)), "rows", "frame", "lazy")


def _at_emulator(code: str, azure: Bucket) -> str:
    """Return the documented lines with the address of the emulator, which has one host for all accounts."""
    here, scheme = repr(urlsplit(azure.server).netloc), "http"
    address = f"blob_storage_authority={here}, dfs_storage_authority={here}"
    address += f", blob_storage_scheme={scheme!r}, dfs_storage_scheme={scheme!r}"
    code = code.replace("example-container", azure.name)
    code = code.replace("account_key=key", f"account_key=key, {address}")
    return code.replace('"account_key": key', f'"account_key": key, "endpoint": {azure.server!r}')


@WITH_DUCKDB
def test_the_documented_lines_of_duckdb_read_s3(changed: Workshop, on_s3: Place, s3: Bucket) -> None:
    code = on_s3(changed)(SQL_ON_S3.replace("s3://example-bucket/", ""))
    (another_server,) = re.findall("^-- for another server than AWS, add: (.*)$", code, re.MULTILINE)
    at = another_server.replace("host:port", urlsplit(s3.endpoint).netloc)
    by_duckdb(code.replace("credential_chain)", f"credential_chain, {at})"), "httpfs", "aws")


@WITH_DUCKDB
def test_the_documented_lines_of_duckdb_read_azure(changed: Workshop, azure: Bucket) -> None:
    azure.upload(changed.root)
    (with_key,) = re.findall("^-- with a key: (.*)$", SQL_ON_AZURE, re.MULTILINE)
    secret = with_key.replace("exampleaccount", azure.env["AZURE_STORAGE_ACCOUNT_NAME"])
    secret = secret.replace("AccountKey=…", f"AccountKey={azure.env['AZURE_STORAGE_ACCOUNT_KEY']}")
    secret = secret.replace("'Account", f"'DefaultEndpointsProtocol=http;BlobEndpoint={azure.server};Account")
    code = re.sub("^CREATE SECRET.*$", lambda _: f"{secret};", SQL_ON_AZURE, flags=re.MULTILINE)
    by_duckdb(code.replace("example-container", azure.name), "azure")


_PROGRAM = """
import json, sys, duckdb, duckdb_extensions
*statements, query = json.loads(sys.argv[1])
for extension in sys.argv[2:]:
    duckdb_extensions.import_extension(extension)
for statement in statements:
    duckdb.execute(statement)
rows = duckdb.sql(query)
print(json.dumps([sorted(rows.columns), sorted(value for (value,) in rows.select("A").fetchall())]))
"""


def by_duckdb(code: str, *extensions: str) -> None:
    """Execute the documented SQL where DuckDB's extensions are installed. It must read all columns."""
    code = re.sub(r"INSTALL \w+;|^--.*$", "", code, flags=re.MULTILINE)
    statements = json.dumps(re.split(r";\n", code.strip().removesuffix(";")))
    command = [DUCKDB, "-c", _PROGRAM, statements, *extensions]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [sorted([*COLUMNS, NEW]), ["x", "y"]]


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
