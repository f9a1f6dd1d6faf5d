"""The result of a query, with the types of the service's own Schema.

A result that came in slices lies in a temporary file without a name, so memory holds one batch at a time.
The file disappears with the result, also if the process is killed.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.ipc

from hunting_pipeline.errors import Misconfigured, ReplyUnreadable
from hunting_pipeline.model import RESCUED, Column, Window
from hunting_pipeline.reply import Reply

__all__ = ["Result", "Spool"]

_BATCH_ROWS = 10_000
"""Most rows of a batch in the temporary file."""


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of a query. Iterate a result for its rows, as dictionaries.

    Attributes:
        columns: the columns, in the order of the reply, with Kusto's names of types.
        schema: the Arrow schema. A last column `_rescued_data` exists if a value did not fit its type.
        rows: number of rows.
        batches: a function that returns the rows as record batches, each time from the first row on.
        truncated: whether rows may be missing, because the reply has as many rows as the service sends.
        window: the span of the time column if the query was cut into slices; None if it was not cut.
        outside: number of rows with a time before or after `window`, which the result does not hold.
        calls: number of calls that the query took.
    """

    columns: tuple[Column, ...]
    schema: pa.Schema
    rows: int
    batches: Callable[[], Iterable[pa.RecordBatch]]
    truncated: bool = False
    window: Window | None = None
    outside: int = 0
    calls: int = 1

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.batches():
            yield from batch.to_pylist()

    def arrow(self) -> pa.Table:
        """Return all rows as an Arrow table."""
        return pa.Table.from_batches(self.batches(), self.schema)

    def pandas(self) -> pd.DataFrame:
        """Return all rows as a pandas frame. Its types are Arrow types, so times keep their 100 ns."""
        frame: pd.DataFrame = self.arrow().to_pandas(types_mapper=pd.ArrowDtype)
        return frame

    def polars(self) -> Any:
        """Return all rows as a polars frame.

        Raises:
            Misconfigured: polars is not installed.
        """
        try:
            import polars  # noqa: PLC0415 # optional
        except ImportError:
            raise Misconfigured(
                "the package polars is not installed. Run `pip install polars`, or use `arrow()`"
            ) from None
        return polars.from_arrow(self.arrow())


class Spool:
    """The replies of slices, in a temporary file that has no name.

    Args:
        columns: the columns of every reply.
        schema: the Arrow types of these columns.
    """

    def __init__(self, columns: Sequence[Column], schema: pa.Schema) -> None:
        self._columns = tuple(columns)
        self._schema = pa.schema([*schema, pa.field(RESCUED, pa.string())])
        self._rows = self._rescued = 0
        with _disk():
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 # it lives as long as the result
            self._writer = pa.ipc.new_file(self._file, self._schema)

    def add(self, reply: Reply) -> None:
        """Append the rows of a reply.

        Raises:
            ReplyUnreadable: the reply has other columns or other types than the first reply.
            Misconfigured: the temporary file cannot be written.
        """
        table = reply.table
        if RESCUED not in table.column_names:
            table = table.append_column(RESCUED, pa.nulls(table.num_rows, pa.string()))
        try:
            table = table.cast(self._schema)
        except (pa.ArrowInvalid, ValueError) as error:
            raise ReplyUnreadable(
                f"the columns of the query changed between two calls: {error}."
                " Nothing was returned. Run again"
            ) from None
        self._rows += table.num_rows
        self._rescued += reply.rescued
        with _disk():
            self._writer.write_table(table, max_chunksize=_BATCH_ROWS)

    def result(self, *, window: Window, outside: int, calls: int) -> Result:
        """Return the result of all replies. Add no reply afterwards."""
        with _disk():
            self._writer.close()
            self._file.flush()
        reader = pa.ipc.open_file(self._file)
        names = self._schema.names if self._rescued else self._schema.names[:-1]

        def batches() -> Iterator[pa.RecordBatch]:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number).select(names)

        return Result(
            columns=self._columns,
            schema=pa.schema([self._schema.field(name) for name in names]),
            rows=self._rows,
            batches=batches,
            window=window,
            outside=outside,
            calls=calls,
        )


@contextmanager
def _disk() -> Iterator[None]:
    """Convert an error of the disk to an error that names the folder."""
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"{tempfile.gettempdir()}: the folder for temporary files cannot be written: {error.strerror}."
            " Nothing was returned. Free space, or set TMPDIR to another folder"
        ) from error
