"""The rows of a query as text, or as a file that appears whole or not at all."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from hunting_pipeline.cli.log import warn
from hunting_pipeline.cli.show import print_table
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.model import RESCUED
from hunting_pipeline.pipeline import Result

__all__ = ["Format", "whole_file", "write"]

_SHOWN = 100
"""Most rows that are printed as a table."""


class Format(StrEnum):
    """The form of a query's rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"
    PARQUET = "parquet"


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file beside `path`, and rename it to `path` at the end. After an error, remove it.

    Only the user can read the file.

    Raises:
        Misconfigured: the file cannot be written.
    """
    with _writing(path):
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115 # renamed below
            dir=path.parent, prefix=f".{path.name}.", suffix=".tmp", delete=False
        )
    try:
        yield file
        with _writing(path):
            file.flush()
            os.fsync(file.fileno())
            file.close()
            Path(file.name).replace(path)
    finally:
        with suppress(OSError):  # a full disk fails again when the buffer is written
            file.close()
        Path(file.name).unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"{path}: the file cannot be written: {error.strerror or error}. No file was written or replaced."
            " Free space, or choose another path in `--out`"
        ) from error


def write(result: Result, form: Format, file: IO[bytes], path: Path) -> None:
    """Write all rows to a file. A table shows the first rows only, on standard output.

    Raises:
        Misconfigured: the file at `path` cannot be written.
    """
    with _writing(path):
        _WRITERS[form](result, file)


def _table(result: Result, file: IO[bytes]) -> None:
    del file
    shown = [
        [str(value) if value is not None else "" for value in row.values()]
        for row, _ in zip(_texts(result), range(_SHOWN), strict=False)
    ]
    print_table(f"{result.rows:,} rows", result.schema.names, shown)
    if result.rows > _SHOWN:
        warn(f"hunting: the first {_SHOWN} of {result.rows:,} rows are shown. `--format csv` prints all rows")


def _csv(result: Result, file: IO[bytes]) -> None:
    schema = pa.schema([pa.field(field.name, _plain_type(field.type)) for field in result.schema])
    with pyarrow.csv.CSVWriter(file, schema) as writer:
        for batch in result.batches():
            writer.write_batch(_plain(batch))


def _json(result: Result, file: IO[bytes]) -> None:
    before = "["
    for line in _lines(result):
        file.write(f"{before}\n{line}".encode())
        before = ","
    file.write(b"\n]\n" if result.rows else b"[]\n")


def _ndjson(result: Result, file: IO[bytes]) -> None:
    for line in _lines(result):
        file.write(f"{line}\n".encode())


def _parquet(result: Result, file: IO[bytes]) -> None:
    with pq.ParquetWriter(file, result.schema, compression="zstd") as writer:
        for batch in result.batches():
            writer.write_batch(batch)


_WRITERS: Mapping[Format, Callable[[Result, IO[bytes]], None]] = {
    Format.TABLE: _table,
    Format.CSV: _csv,
    Format.JSON: _json,
    Format.NDJSON: _ndjson,
    Format.PARQUET: _parquet,
}
"""The writer of each format."""


def _lines(result: Result) -> Iterator[str]:
    """Yield each row as a JSON object. The text of a dynamic value is JSON, and stays as it is."""
    raw = {column.name for column in result.columns if column.kusto_type not in _NOT_JSON} | {RESCUED}
    keys = {name: json.dumps(name, ensure_ascii=False) for name in result.schema.names}
    for row in _texts(result):
        values = (
            f"{keys[name]}:{value if name in raw and value is not None else _json_of(value)}"
            for name, value in row.items()
        )
        yield "{" + ",".join(values) + "}"


_NOT_JSON = frozenset({"string", "guid", "datetime", "timespan", "bool", "int", "long", "real", "decimal"})
"""Kusto types whose values are not JSON text in Arrow. All other types are."""


def _json_of(value: Any) -> str:
    """Return a value as JSON. A real that is not finite has no form in JSON, and becomes text."""
    if isinstance(value, float) and value - value != 0:
        value = str(value)
    return json.dumps(value, ensure_ascii=False)


def _texts(result: Result) -> Iterator[dict[str, Any]]:
    for batch in result.batches():
        yield from _plain(batch).to_pylist()


def _plain_type(kind: pa.DataType) -> pa.DataType:
    special = pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_decimal(kind)
    return pa.string() if special else kind


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with times, timespans and decimals as text."""
    columns = [_plain_values(column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _plain_values(values: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(values.type):
        return pc.strftime(values, format="%Y-%m-%dT%H:%M:%SZ")
    if pa.types.is_duration(values.type):
        spans = values.cast(pa.int64()).to_pylist()
        return pa.array([None if span is None else _timespan(span) for span in spans], pa.string())
    return values.cast(_plain_type(values.type))


def _timespan(nanoseconds: int) -> str:
    """Return a timespan as Kusto writes it: `[-][d.]hh:mm:ss[.fffffff]`."""
    seconds, fraction = divmod(abs(nanoseconds), 1_000_000_000)
    days, seconds = divmod(seconds, 86_400)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    sign, whole = "-" if nanoseconds < 0 else "", f"{days}." if days else ""
    return sign + whole + text + (f".{fraction // 100:07d}" if fraction else "")
