"""The questions the pipeline asks, each beside the reader of its answer. Pure: values in, values out.

Kusto counts datetime ticks from 0001-01-01 and aligns `bin` there, the model counts from 1970-01-01. The two
lie 719,162 whole days apart, so bins of a step that divides a day, or two days, start at the same instants in
both. Readers take a bin's start from the reply and never compute it.
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
    "buckets",
    "distinct",
    "fingerprint",
    "histogram",
    "probe",
    "proof",
    "read_buckets",
    "read_distinct",
    "read_histogram",
    "read_proof",
    "rows",
]

_TIMES = "Times_"
_KEY = "Key_"
"""Names that no hunting table has: how often a row occurs, and the text of its dynamic values."""


def probe(spec: TableSpec) -> str:
    """No rows, but the Schema: does the table exist, and may we read it?"""
    return _lines(_source(spec, None), "take 0")


def rows(spec: TableSpec, slice_: Slice) -> str:
    """The rows of one slice.

    Raises:
        Misconfigured: a name or the predicate of `spec` cannot stand in a query.
    """
    project = [f"project {', '.join(map(name, spec.columns))}"] if spec.columns else []
    return _lines(*_of_slice(spec, slice_), *project)


def proof(spec: TableSpec, slice_: Slice) -> str:
    """How many rows the slice holds, and their checksum if the table has a time column.

    Raises:
        Misconfigured: as in `rows`.
    """
    return _lines(*_of_slice(spec, slice_), f"summarize {_counts(spec)}")


def fingerprint(spec: TableSpec) -> str:
    """Rows of the whole table and an order-free checksum over all their values: for a table without a time.

    The hash is only good for comparing with itself a little later.

    Raises:
        Misconfigured: as in `rows`.
    """
    counts = f"Rows = count(), Checksum = sum({_hash(CHECKSUM_MODULUS)})"
    return _lines(_source(spec, None), *_where(spec), f"summarize {counts}")


def read_proof(reply: Reply) -> Proof:
    """The answer to `tally`; without a Checksum column, or with a null one over no rows, the checksum is 0.

    Raises:
        ReplyUnreadable: not one row, or no count.
    """
    if reply.table.num_rows != 1:
        raise ReplyUnreadable(f"a count answered {reply.table.num_rows} rows instead of one")
    return _proofs(reply)[0]


def buckets(spec: TableSpec, slice_: Slice, of: int) -> str:
    """The slice counted by hash bucket, `of` in all.

    Raises:
        Misconfigured: as in `rows`.
    """
    return _lines(*_of_slice(spec, slice_), f"summarize {_counts(spec)} by Bucket = {_hash(of)}")


def read_buckets(reply: Reply, of: int) -> tuple[Proof, ...]:
    """The answer to `buckets`, by bucket; those that hold nothing are not in the reply and are zero here.

    Raises:
        ReplyUnreadable: a bucket out of range or named twice, or no count.
    """
    found = [Proof(0, 0)] * of
    seen: set[int] = set()
    for index, counted in zip(_integers(reply, "Bucket"), _proofs(reply), strict=True):
        if index is None or not 0 <= index < of or index in seen:
            raise ReplyUnreadable(f"bucket {index} of {of} is impossible or named twice")
        seen.add(index)
        found[index] = counted
    return tuple(found)


def histogram(spec: TableSpec, windows: Sequence[Window], step: int, *, null_time: bool = False) -> str:
    """Rows and checksum by bins of `step` ticks, over ascending disjoint windows: all in one call.

    Several windows are told apart by `Span`, so that a bin which two of them share is counted for each. With
    `undated`, the rows whose time is null are counted too: they fall into a bin that is null.

    Raises:
        Misconfigured: as in `rows`, or the table has no time column.
        ValueError: no windows, windows out of order, or a step that is not positive.
    """
    if not windows or any(a.end > b.start for a, b in pairwise(windows)):
        raise ValueError("a histogram needs windows, ascending and disjoint")
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
    """The answer to `histogram` for the same windows and step; bins are cut to their window.

    Raises:
        ReplyUnreadable: a bin outside its window, bins that overlap, an unknown span, a negative count, or a
            column missing or of another type.
    """
    starts = _moments(reply, "Bin")
    spans = _integers(reply, "Span") if len(windows) > 1 else [0] * len(starts)
    found, without_time = [], 0
    for span, start, counted in zip(spans, starts, _proofs(reply, of_nulls=null_time), strict=True):
        if start is None and null_time:
            without_time += counted.rows
            continue
        if start is None:
            raise ReplyUnreadable("a histogram has a bin without a time, and none was asked for")
        if span is None or not 0 <= span < len(windows):
            raise ReplyUnreadable(f"a histogram over {len(windows)} windows answered for number {span}")
        window = Window(start, start + step).intersection(windows[span])
        if window is None:
            raise ReplyUnreadable(f"a histogram's bin lies outside its window {windows[span]}")
        found.append((start, Bin(window, counted)))
    found.sort(key=lambda pair: pair[1].window)
    for (start, earlier), (next_start, later) in pairwise(found):
        if earlier.window.end > later.window.start or start < next_start < start + step:
            raise ReplyUnreadable(f"two bins of a histogram overlap at {later.window}")
    return Histogram(tuple(windows), step, tuple(b for _, b in found if b.proof.rows), without_time)


def distinct(spec: TableSpec, slice_: Slice, columns: Sequence[Column]) -> str:
    """The slice's different rows, each once, with how often it occurs: for rows that no hash parts.

    A dynamic value cannot be a key, so its text is, and any one of the equal values stands for them.

    Args:
        columns: the Schema of `rows` for the same table.

    Raises:
        Misconfigured: as in `rows`.
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
    """The answer to `distinct` as `rows` would have given it: every row as often as it occurs.

    Raises:
        ReplyUnreadable: a count is missing or not positive.
    """
    times = _integers(reply, _TIMES)
    if any(count is None or count < 1 for count in times):
        raise ReplyUnreadable("a row is said to occur less than once")
    indices = [row for row, count in enumerate(times) for _ in range(count or 0)]
    table = reply.table.take(pa.array(indices, pa.int64())).drop_columns([_TIMES])
    columns = tuple(column for column in reply.columns if column.name != _TIMES)
    return replace(reply, columns=columns, table=table)


def _lines(source: str, *operators: str) -> str:
    """Each operator on a line of its own, so that a trailing comment swallows nothing."""
    return "".join([source, *(f"\n| {operator}" for operator in operators)])


def _source(spec: TableSpec, window: Window | None, *, null_time: bool = False) -> str:
    """The table's name; or the hunt, its sources held to what the window's rows are made of.

    That only spares the service work. The window itself is always asked for behind it.
    """
    if spec.hunt is None:
        return name(spec.name)
    if window is None:
        return spec.hunt.text
    first, *parts = spec.hunt.parts
    bounds = (_bounded(bound, window, null_time=null_time) for bound in spec.hunt.bounds)
    return "".join([first, *(text for pair in zip(bounds, parts, strict=True) for text in pair)])


def _bounded(bound: Bound, window: Window, *, null_time: bool) -> str:
    """The `where` of one source. For times that are rounded down, the ends are rounded up."""
    column = name(bound.column)
    start, end = (-(-edge // bound.step) * bound.step for edge in (window.start, window.end))
    or_null = f" or isnull({column})" if null_time else ""
    test = f"{column} >= {datetime_literal(start)} and {column} < {datetime_literal(end)}"
    return f"\n| where {test}{or_null}"


def _of_slice(spec: TableSpec, slice_: Slice) -> list[str]:
    """The source and the conditions that make up the slice."""
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
        raise Misconfigured(f"{spec.name} has no time column and cannot be asked for a span of time")
    return name(spec.time_column)


def _hash(of: int) -> str:
    """A row's bucket. It depends on every column, so it is taken before any is projected away."""
    return f"hash(tostring(pack_all()), {of})"


def _counts(spec: TableSpec) -> str:
    if spec.time_column is None:
        return "Rows = count()"
    return f"Rows = count(), Checksum = sum(tolong({name(spec.time_column)}) % {CHECKSUM_MODULUS})"


def _span(column: str, windows: Sequence[Window]) -> str:
    """The number of the window a row lies in. Rows between windows are already gone, so ends suffice."""
    cases = "".join(
        f"{column} < {datetime_literal(window.end)}, {number}, " for number, window in enumerate(windows[:-1])
    )
    return f"case({cases}{len(windows) - 1})"


def _proofs(reply: Reply, *, of_nulls: bool = False) -> list[Proof]:
    """Counts and checksums; `of_nulls` allows that a sum over times which are all null is null."""
    counts = _integers(reply, "Rows")
    sums = _integers(reply, "Checksum") if "Checksum" in reply.table.column_names else [0] * len(counts)
    found = []
    for count, checksum in zip(counts, sums, strict=True):
        if count is None or count < 0 or (checksum is None and count and not of_nulls) or (checksum or 0) < 0:
            raise ReplyUnreadable(f"a count answered {count} rows with checksum {checksum}")
        found.append(Proof(count, checksum or 0))
    return found


def _column(reply: Reply, column: str) -> pa.ChunkedArray:
    if reply.table.column_names.count(column) != 1:
        raise ReplyUnreadable(f"a count answered without a column {column}: {reply.table.column_names}")
    return reply.table.column(column)


def _integers(reply: Reply, column: str) -> list[int | None]:
    values = _column(reply, column)
    if not pa.types.is_integer(values.type):
        raise ReplyUnreadable(f"{column} came as {values.type} instead of whole numbers")
    found: list[int | None] = values.to_pylist()
    return found


def _moments(reply: Reply, column: str) -> list[int | None]:
    """Ticks of a timestamp column."""
    values = _column(reply, column)
    if values.type != pa.timestamp("ns", "UTC"):
        raise ReplyUnreadable(f"{column} came as {values.type}")
    nanoseconds: list[int | None] = values.cast(pa.int64()).to_pylist()
    return [None if moment is None else ticks_of_nanoseconds(moment) for moment in nanoseconds]
