"""The rows of a query as text and files: no value changes, and a file appears whole or not at all."""

import csv
import io
import json
import math
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hunting_pipeline.cli.export import Format, whole_file, write
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.model import Column
from hunting_pipeline.pipeline import Result

BIG = 9_007_199_254_740_993
TABLE = pa.table({
    "Time": pa.array([1_700_000_000_123_456_700, None], pa.timestamp("ns", "UTC")),
    "Text": pa.array(['a "quoted", line\nbreak', ""]),
    "Long": pa.array([BIG, None], pa.int64()),
    "Real": pa.array([0.1, math.nan]),
    "Flag": pa.array([True, None]),
    "Span": pa.array([-(86_400 * 10**9 + 3_723_000_000_100), 5_000_000_000], pa.duration("ns")),
    "Exact": pa.array([Decimal("1.25"), None], pa.decimal128(38, 18)),
    "Bag": pa.array(['{"a":[1,2.50]}', None]),
    "_rescued_data": pa.array(['{"Long":"x"}', None]),
})  # fmt: skip
KINDS = ["datetime", "string", "long", "real", "bool", "timespan", "decimal", "dynamic"]
COLUMNS = tuple(Column(name, kind) for name, kind in zip(TABLE.column_names[:-1], KINDS, strict=True))
FIRST = {
    "Time": "2023-11-14T22:13:20.123456700Z",
    "Text": 'a "quoted", line\nbreak',
    "Long": BIG,
    "Real": 0.1,
    "Flag": True,
    "Span": "-1.01:02:03.0000001",
    "Exact": "1.250000000000000000",
    "Bag": {"a": [1, 2.5]},
    "_rescued_data": {"Long": "x"},
}
EMPTY = dict.fromkeys(TABLE.column_names)
SECOND = EMPTY | {"Text": "", "Real": "nan", "Span": "00:00:05"}


def result(table: pa.Table = TABLE) -> Result:
    return Result(COLUMNS, table.schema, table.num_rows, table.to_batches)


def written(form: Format, table: pa.Table = TABLE) -> bytes:
    file = io.BytesIO()
    write(result(table), form, file, Path("rows"))
    return file.getvalue()


def test_json_keeps_every_value() -> None:
    assert json.loads(written(Format.JSON)) == [FIRST, SECOND]
    assert b'"Bag":{"a":[1,2.50]}' in written(Format.JSON), "the text of a dynamic value is kept"
    assert json.loads(written(Format.JSON, TABLE.slice(0, 0))) == []


def test_ndjson_is_one_object_a_line() -> None:
    lines = written(Format.NDJSON).decode().splitlines()
    assert [json.loads(line) for line in lines] == [FIRST, SECOND]


def test_csv_keeps_every_value() -> None:
    first, second = csv.DictReader(io.StringIO(written(Format.CSV).decode(), newline=""))
    texts = {"Bag": '{"a":[1,2.50]}', "_rescued_data": '{"Long":"x"}', "Flag": "true"}
    assert first == {name: str(value) for name, value in FIRST.items()} | texts
    assert second == dict.fromkeys(EMPTY, "") | {"Real": "nan", "Span": "00:00:05"}
    assert written(Format.CSV, TABLE.slice(0, 0)).decode().count("\n") == 1, "the header"


def test_parquet_keeps_every_type() -> None:
    read = pq.read_table(io.BytesIO(written(Format.PARQUET)))
    assert read.schema.equals(TABLE.schema)
    assert read.drop_columns(["Real"]).equals(TABLE.drop_columns(["Real"]))


def test_a_table_shows_the_first_rows_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    many = pa.table({"Port": list(range(50_001, 50_202))})
    write(Result((), many.schema, 201, many.to_batches), Format.TABLE, io.BytesIO(), Path("stdout"))
    shown = capsys.readouterr()
    assert "50001" in shown.out
    assert "50101" not in shown.out
    assert shown.err == "hunting: the first 100 of 201 rows are shown. `--format csv` prints all rows\n"


def test_a_file_replaces_another_at_the_end_and_only_its_user_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")
    with whole_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [*tmp_path.iterdir()] == [path]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.write(b"%d" % (1 / 0))
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"absent/rows\.csv: the file cannot be written"):
        whole_file(tmp_path / "absent" / "rows.csv").__enter__()


_CHILD = """
import os, resource, sys
from pathlib import Path
import pyarrow as pa
from hunting_pipeline.cli.export import Format, whole_file, write
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.pipeline import Result

path, form, way = Path(sys.argv[1]), Format(sys.argv[2]), sys.argv[3]
batch = pa.record_batch({"a": [os.urandom(500).hex() for _ in range(1000)]})

def batches():
    yield batch
    if way == "kill":
        os.kill(os.getpid(), 9)
    yield batch

if way == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with whole_file(path) as file:
        write(Result((), batch.schema, 2000, batches), form, file, path)
except Misconfigured as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("form", [Format.CSV, Format.JSON, Format.NDJSON, Format.PARQUET])
@pytest.mark.parametrize("way", ["kill", "full"])
def test_a_kill_or_a_full_disk_leaves_no_partial_file(tmp_path: Path, form: Format, way: str) -> None:
    path = tmp_path / "rows"
    program = [sys.executable, "-c", _CHILD, str(path)]
    done = subprocess.run([*program, form, way], capture_output=True, text=True, check=False, env=os.environ)
    assert not path.exists()
    if way == "kill":
        assert done.returncode == -signal.SIGKILL
    else:
        assert done.returncode == 1
        assert "rows: the file cannot be written: File too large. No file was written" in done.stderr
        assert [*tmp_path.iterdir()] == []
