"""One query, from KQL text to reply text, within the limits of a tenant."""

import tempfile
import threading
import time
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

# a reply waits for its reader in memory up to this size, on disk beyond
_SPOOL = 16_000_000
_BATCH_ROWS = 2_048


class ResultTooBig(Exception):  # noqa: N818 - named after what the service says
    """The rows take more bytes than a reply may."""


class RequestTimeout(Exception):  # noqa: N818
    """The query ran longer than a request may."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The inside of the `Results` array, the columns, and what it took. The reader closes `body`."""

    body: IO[bytes]
    columns: tuple[Column, ...]
    tables: tuple[str, ...]
    rows: int
    seconds: float


def answer(tenant: Tenant, query: str, limits: Limits, dialect: encoding.Dialect) -> Answer:
    """Run a query. Rows over the limit are dropped in silence; KqlError, ResultTooBig or RequestTimeout otherwise."""
    started = time.monotonic()
    cursor = tenant.cursor()
    alarm = threading.Timer(limits.request_seconds or threading.TIMEOUT_MAX, cursor.interrupt)
    alarm.daemon = True
    if limits.request_seconds is not None:
        alarm.start()
    body: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_SPOOL)  # noqa: SIM115 - the reader closes it
    try:
        retention = None if limits.retention_days is None else round(limits.retention_days * ticks.DAY)
        compiled = compile_query(query, tenant.catalogue(cursor, retention))
        order = " ORDER BY ord" if compiled.ordered else ""
        cap = "" if limits.rows is None else f" LIMIT {limits.rows}"
        capped = f"SELECT * FROM ({compiled.sql}){order}{cap}"
        text = f"SELECT {encoding.row_sql(compiled.columns, dialect)} FROM ({capped})"
        rows = _pour(cursor.sql(text).to_arrow_reader(_BATCH_ROWS), body, limits.bytes)
        return Answer(body, compiled.columns, compiled.tables, rows, time.monotonic() - started)
    except duckdb.InterruptException:
        body.close()
        raise RequestTimeout from None
    except (duckdb.Error, KqlError) as error:
        body.close()
        raise error if isinstance(error, KqlError) else KqlError(_first_line(error)) from None
    except ResultTooBig:
        body.close()
        raise
    finally:
        alarm.cancel()
        cursor.close()


def _pour(reader: pa.RecordBatchReader, body: IO[bytes], most: int | None) -> int:
    """Write the text of all rows, without the first comma; the number of rows."""
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


def _first_line(error: duckdb.Error) -> str:
    return f"Semantic error: {str(error).splitlines()[0]}"
