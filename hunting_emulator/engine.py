# ruff: noqa: S608 - the SQL is compiled from a syntax tree, and one function quotes its literals
"""The execution of one query, from KQL text to reply text, within the limits of a tenant."""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import duckdb
import pyarrow as pa

from hunting_emulator import encoding, ticks
from hunting_emulator.kql.compiler import compile_query
from hunting_emulator.kql.errors import KqlError
from hunting_emulator.kql.typed import Column
from hunting_emulator.limits import Limits
from hunting_emulator.tenant import Tenant

# a reply is buffered in memory up to this size, and on disk above it
_SPOOL = 16_000_000
_BATCH_ROWS = 2_048


class ResultTooBig(Exception):
    """The rows need more bytes than a reply may have."""


class RequestTimeout(Exception):
    """The query ran longer than the limit of a request."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of the `Results` array, the columns and the cost. The reader must close `body`."""

    body: IO[bytes]
    columns: tuple[Column, ...]
    tables: tuple[str, ...]
    rows: int
    seconds: float


def answer(tenant: Tenant, query: str, limits: Limits, dialect: encoding.Dialect) -> Answer:
    """Run a query. Rows beyond the limit are dropped without an error, as in the service.

    Raises:
        KqlError: the query cannot be compiled.
        ResultTooBig: the rows need more bytes than a reply may have.
        RequestTimeout: the query ran longer than the limit of a request.
    """
    started = time.monotonic()
    cursor = tenant.cursor()
    body: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOL)  # noqa: SIM115 - the reader closes it
    try:
        with _deadline(cursor, limits.request_seconds):
            columns, tables, text = _sql(tenant, cursor, query, limits, dialect)
            rows = _pour(cursor.sql(text).to_arrow_reader(_BATCH_ROWS), body, limits.bytes)
        return Answer(body, columns, tables, rows, time.monotonic() - started)
    except BaseException as error:
        body.close()
        if isinstance(error, duckdb.Error):
            raise KqlError(f"Semantic error: {str(error).splitlines()[0]}") from None
        raise
    finally:
        cursor.close()


def _sql(
    tenant: Tenant, cursor: duckdb.DuckDBPyConnection, query: str, limits: Limits, dialect: encoding.Dialect
) -> tuple[tuple[Column, ...], tuple[str, ...], str]:
    """Return columns and tables of the query, and SQL for its rows as JSON text, with the limit of rows."""
    retention = None if limits.retention_days is None else round(limits.retention_days * ticks.DAY)
    compiled = compile_query(query, tenant.catalogue(cursor, retention))
    order = " ORDER BY ord" if compiled.ordered else ""
    cap = "" if limits.rows is None else f" LIMIT {limits.rows}"
    capped = f"SELECT * FROM ({compiled.sql}){order}{cap}"
    return (
        compiled.columns,
        compiled.tables,
        f"SELECT {encoding.row_sql(compiled.columns, dialect)} FROM ({capped})",
    )


@contextmanager
def _deadline(cursor: duckdb.DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    """Call `interrupt` after `seconds`, repeatedly: an interrupt between two statements has no effect."""
    over, late = threading.Event(), threading.Event()

    def watch() -> None:
        if not over.wait(seconds):
            late.set()
            while not over.wait(0.02):
                cursor.interrupt()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except duckdb.InterruptException:
        raise RequestTimeout from None
    finally:
        over.set()
        watcher.join()
    if late.is_set():
        raise RequestTimeout


def _pour(reader: pa.RecordBatchReader, body: IO[bytes], most: int | None) -> int:
    """Write the text of all rows, without the first comma. Return the number of rows."""
    rows = size = 0
    for batch in reader:
        if not batch.num_rows:
            continue
        texts = batch.column(0).cast(pa.large_string())
        offsets = memoryview(texts.buffers()[1]).cast("q")
        start, end = offsets[texts.offset], offsets[texts.offset + len(texts)]
        size += end - start
        if most is not None and size > most:
            raise ResultTooBig
        body.write(memoryview(texts.buffers()[2])[start if rows else start + 1 : end])
        rows += batch.num_rows
    body.seek(0)
    return rows
