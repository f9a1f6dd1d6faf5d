"""The queries that the pipeline sends, and the readers of their replies. All functions are pure.

A function `…_query` returns the text of a query. The function `read_…` returns the values of the reply.

Kusto counts ticks from 0001-01-01 and aligns `bin` there. The model counts from 1970-01-01. The two origins
lie 719,162 whole days apart, so bins whose length divides one or two days start at the same instants in both.
Readers take the start of a bin from the reply and never compute it.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa

from hunting_pipeline.errors import Misconfigured, ReplyUnreadable
from hunting_pipeline.hunt import Bound
from hunting_pipeline.kql.literals import datetime_literal, name, predicate, timespan_literal, within
from hunting_pipeline.model import Bin, Column, Histogram, Proof, Slice, TableSpec, Window
from hunting_pipeline.reply import Reply
from hunting_pipeline.ticks import CHECKSUM_MODULUS, ticks_of_nanoseconds

__all__ = [
    "buckets_query",
    "content_query",
    "distinct_query",
    "histogram_query",
    "outside_query",
    "probe_query",
    "proof_query",
    "read_buckets",
    "read_distinct",
    "read_histogram",
    "read_proof",
    "rows_query",
    "schema_query",
]

_TIMES = "Times_"
_KEY = "Key_"
"""Names of added columns: the number of equal rows, and the text of dynamic values. No table has them."""


def schema_query(spec: TableSpec) -> str:
    """Ask for no rows. The reply contains the Schema, and shows that the table exists and is readable."""
    return _lines(_source(spec, None), "take 0")


def probe_query(spec: TableSpec) -> str:
    """Ask for one row of the table. The reply shows whether the service sends rows."""
    return _lines(_source(spec, None), "take 1")


def rows_query(spec: TableSpec, slice_: Slice) -> str:
    """Ask for the rows of one slice.

    Raises:
        Misconfigured: a name or the predicate of `spec` is not valid.
    """
    project = [f"project {', '.join(map(name, spec.columns))}"] if spec.columns else []
    return _lines(*_of_slice(spec, slice_), *project)


def proof_query(spec: TableSpec, slice_: Slice) -> str:
    """Ask for the number of rows in a slice, and for their checksum if the table has a time column.

    Raises:
        Misconfigured: as in `rows_query`.
    """
    return _lines(*_of_slice(spec, slice_), f"summarize {_counts(spec)}")


def outside_query(spec: TableSpec, window: Window) -> str:
    """Ask for the number of rows whose time is before or after a window.

    Raises:
        Misconfigured: as in `rows_query`, or the table has no time column.
    """
    column = _time(spec)
    start, end = datetime_literal(window.start), datetime_literal(window.end)
    outside = f"where {column} < {start} or {column} >= {end}"
    return _lines(_source(spec, None), outside, *_where(spec), "summarize Rows = count()")


def content_query(spec: TableSpec) -> str:
    """Ask for the number of rows of a whole table, and for a checksum over all values in any order.

    This query is for tables without a time column. Compare only checksums that were computed within a short
    time, because the service may change its hash function.

    Raises:
        Misconfigured: as in `rows_query`.
    """
    counts = f"Rows = count(), Checksum = sum({_hash(CHECKSUM_MODULUS)})"
    return _lines(_source(spec, None), *_where(spec), f"summarize {counts}")


def read_proof(reply: Reply) -> Proof:
    """Read the reply to `proof_query` or `content_query`.

    The checksum is 0 if the reply has no column Checksum, or if there are no rows.

    Raises:
        ReplyUnreadable: the reply does not have exactly one row, or has no count.
    """
    if reply.table.num_rows != 1:
        raise ReplyUnreadable(f"the reply to a count has {reply.table.num_rows} rows instead of one")
    return _proofs(reply)[0]


def buckets_query(spec: TableSpec, slice_: Slice, of: int) -> str:
    """Ask for the rows and the checksum of a slice in each of `of` hash buckets.

    Raises:
        Misconfigured: as in `rows_query`.
    """
    return _lines(*_of_slice(spec, slice_), f"summarize {_counts(spec)} by Bucket = {_hash(of)}")


def read_buckets(reply: Reply, of: int) -> tuple[Proof, ...]:
    """Read the reply to `buckets_query`: one proof for each bucket, zeros for a bucket without rows.

    Raises:
        ReplyUnreadable: a bucket is out of range or occurs twice, or a count is missing.
    """
    found = [Proof(0, 0)] * of
    seen: set[int] = set()
    for index, counted in zip(_integers(reply, "Bucket"), _proofs(reply), strict=True):
        if index is None or not 0 <= index < of or index in seen:
            raise ReplyUnreadable(
                f"the reply has bucket {index} of {of}, which is out of range or occurs twice"
            )
        seen.add(index)
        found[index] = counted
    return tuple(found)


def histogram_query(spec: TableSpec, windows: Sequence[Window], step: int, *, null_time: bool = False) -> str:
    """Ask for rows and checksums in bins of `step` ticks, over several windows in one call.

    If there are several windows, the column `Span` is the number of the window. A bin that overlaps two
    windows is thus counted in both.

    Args:
        spec: the table.
        windows: disjoint windows, ascending.
        step: the length of a bin in ticks.
        null_time: whether to count rows without a time too, in a bin that is null.

    Raises:
        Misconfigured: as in `rows_query`, or the table has no time column.
        ValueError: there are no windows, they are out of order, or the step is not positive.
    """
    if not windows or any(a.end > b.start for a, b in pairwise(windows)):
        raise ValueError("a histogram needs windows that are ascending and disjoint")
    column = _time(spec)
    bounds = " or ".join(f"({within(column, window)})" for window in windows)
    bounds += f" or isnull({column})" if null_time else ""
    span = f"Span = {_span(column, windows)}, " if len(windows) > 1 else ""
    occupied = Window(windows[0].start, windows[-1].end)
    return _lines(
        _source(spec, occupied, null_time=null_time),
        f"where {bounds}",
        *_where(spec),
        f"summarize {_counts(spec)} by {span}Bin = bin({column}, {timespan_literal(step)})",
    )


def read_histogram(
    reply: Reply, windows: Sequence[Window], step: int, *, null_time: bool = False
) -> Histogram:
    """Read the reply to `histogram_query` for the same windows and step. Bins are cut to their window.

    Raises:
        ReplyUnreadable: a bin lies outside its window, bins overlap, a span is unknown, a count is negative,
            or a column is missing or has another type.
    """
    starts = _times(reply, "Bin")
    spans = _integers(reply, "Span") if len(windows) > 1 else [0] * len(starts)
    found, without_time = [], 0
    for span, start, counted in zip(spans, starts, _proofs(reply, of_nulls=null_time), strict=True):
        if start is None and null_time:
            without_time += counted.rows
            continue
        if start is None:
            raise ReplyUnreadable("a histogram has a bin without a time, which was not requested")
        if span is None or not 0 <= span < len(windows):
            raise ReplyUnreadable(
                f"a histogram over {len(windows)} windows has a bin of window number {span}"
            )
        window = Window(start, start + step).intersection(windows[span])
        if window is None:
            raise ReplyUnreadable(f"a bin of a histogram lies outside its window {windows[span]}")
        found.append((start, Bin(window, counted)))
    found.sort(key=lambda pair: pair[1].window)
    for (start, earlier), (next_start, later) in pairwise(found):
        if earlier.window.end > later.window.start or start < next_start < start + step:
            raise ReplyUnreadable(f"two bins of a histogram overlap at {later.window}")
    return Histogram(tuple(windows), step, tuple(b for _, b in found if b.proof.rows), without_time)


def distinct_query(spec: TableSpec, slice_: Slice, columns: Sequence[Column]) -> str:
    """Ask for the distinct rows of a slice, each with the number of times that it occurs.

    This query is for equal rows, which a hash cannot separate. A dynamic value cannot be a group key, so its
    text is the key. `take_any` returns one of the values with this text.

    Args:
        spec: the table.
        slice_: the slice.
        columns: the Schema of the reply to `rows_query` for the same table.

    Raises:
        Misconfigured: as in `rows_query`.
    """
    dynamic = [name(column.name) for column in columns if column.kusto_type == "dynamic"]
    plain = [name(column.name) for column in columns if column.kusto_type != "dynamic"]
    taken = "".join(f", {column} = take_any({column})" for column in dynamic)
    keys = ", ".join(
        [*plain, *(f"{_KEY}{number} = tostring({column})" for number, column in enumerate(dynamic))]
    )
    return _lines(
        *_of_slice(spec, slice_),
        f"summarize {_TIMES} = count(){taken} by {keys}",
        f"project {', '.join([*(name(column.name) for column in columns), _TIMES])}",
    )


def read_distinct(reply: Reply) -> Reply:
    """Read the reply to `distinct_query`. Repeat each row by its count, as in the reply to `rows_query`.

    Raises:
        ReplyUnreadable: a count is missing or not positive.
    """
    times = _integers(reply, _TIMES)
    if any(count is None or count < 1 for count in times):
        raise ReplyUnreadable("the reply says that a row occurs less than once")
    indices = [row for row, count in enumerate(times) for _ in range(count or 0)]
    table = reply.table.take(pa.array(indices, pa.int64())).drop_columns([_TIMES])
    columns = tuple(column for column in reply.columns if column.name != _TIMES)
    return replace(reply, columns=columns, table=table)


def _lines(source: str, *operators: str) -> str:
    """Write each operator on its own line, so a comment at the end of one cannot hide the next one."""
    return "".join([source, *(f"\n| {operator}" for operator in operators)])


def _source(spec: TableSpec, window: Window | None, *, null_time: bool = False) -> str:
    """Return the table's name, or the hunt with its bounds set to the window.

    The bounds only reduce the work of the service. The filter on the window itself always follows them.
    """
    if spec.hunt is None:
        return name(spec.name)
    if window is None:
        return spec.hunt.text
    first, *parts = spec.hunt.parts
    bounds = (_bounded(bound, window, null_time=null_time) for bound in spec.hunt.bounds)
    return "".join([first, *(text for pair in zip(bounds, parts, strict=True) for text in pair)])


def _bounded(bound: Bound, window: Window, *, null_time: bool) -> str:
    """Return the `where` after one source. If times are rounded down, the ends are rounded up."""
    column = name(bound.column)
    start, end = (-(-edge // bound.step) * bound.step for edge in (window.start, window.end))
    or_null = f" or isnull({column})" if null_time else ""
    test = f"{column} >= {datetime_literal(start)} and {column} < {datetime_literal(end)}"
    return f"\n| where {test}{or_null}"


def _of_slice(spec: TableSpec, slice_: Slice) -> list[str]:
    """Return the source and the conditions of a slice."""
    parts = [_source(spec, slice_.window)]
    if slice_.window is not None:
        parts.append(f"where {within(_time(spec), slice_.window)}")
    parts += _where(spec)
    if slice_.bucket is not None:
        parts.append(f"where {_hash(slice_.bucket.of)} == {slice_.bucket.index}")
    return parts


def _where(spec: TableSpec) -> list[str]:
    return [f"where {predicate(spec.where)}"] if spec.where else []


def _time(spec: TableSpec) -> str:
    if spec.time_column is None:
        raise Misconfigured(f"{spec.name} has no time column, so it cannot be queried by time")
    return name(spec.time_column)


def _hash(of: int) -> str:
    """Return the expression of a row's bucket. It must come before `project`, because it uses all columns."""
    return f"hash(tostring(pack_all()), {of})"


def _counts(spec: TableSpec) -> str:
    if spec.time_column is None:
        return "Rows = count()"
    return f"Rows = count(), Checksum = sum(tolong({name(spec.time_column)}) % {CHECKSUM_MODULUS})"


def _span(column: str, windows: Sequence[Window]) -> str:
    """Return the expression of a row's window number. An earlier `where` removes rows between windows."""
    cases = "".join(
        f"{column} < {datetime_literal(window.end)}, {number}, " for number, window in enumerate(windows[:-1])
    )
    return f"case({cases}{len(windows) - 1})"


def _proofs(reply: Reply, *, of_nulls: bool = False) -> list[Proof]:
    """Return counts and checksums. With `of_nulls`, a checksum over null times only may be null."""
    counts = _integers(reply, "Rows")
    sums = _integers(reply, "Checksum") if "Checksum" in reply.table.column_names else [0] * len(counts)
    found = []
    for count, checksum in zip(counts, sums, strict=True):
        if count is None or count < 0 or (checksum is None and count and not of_nulls) or (checksum or 0) < 0:
            raise ReplyUnreadable(f"the reply to a count has {count} rows with checksum {checksum}")
        found.append(Proof(count, checksum or 0))
    return found


def _column(reply: Reply, column: str) -> pa.ChunkedArray:
    if reply.table.column_names.count(column) != 1:
        raise ReplyUnreadable(f"the reply to a count has no column {column}: {reply.table.column_names}")
    return reply.table.column(column)


def _integers(reply: Reply, column: str) -> list[int | None]:
    values = _column(reply, column)
    if not pa.types.is_integer(values.type):
        raise ReplyUnreadable(f"the reply has {values.type} in {column} instead of integers")
    found: list[int | None] = values.to_pylist()
    return found


def _times(reply: Reply, column: str) -> list[int | None]:
    """Return the ticks of a timestamp column."""
    values = _column(reply, column)
    if values.type != pa.timestamp("ns", "UTC"):
        raise ReplyUnreadable(f"the reply has {values.type} in {column} instead of times")
    nanoseconds: list[int | None] = values.cast(pa.int64()).to_pylist()
    return [None if time is None else ticks_of_nanoseconds(time) for time in nanoseconds]
