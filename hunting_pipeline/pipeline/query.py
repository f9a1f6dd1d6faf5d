"""A query that is asked once and not archived: as it is, and in slices only if one reply does not hold it.

The first call sends the query unchanged. If its reply holds fewer rows than the service's limit, the reply is
the result. Otherwise rows may be missing. Then the query is read as a hunt, and its slices are counted and
fetched as in a pull. If the query cannot be cut by time exactly, it is refused, or its result says that it is
truncated. All calls go through the tenant's ledger.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from hunting_pipeline import plan
from hunting_pipeline.actions import Reason
from hunting_pipeline.errors import BeyondRetention, HuntingError, ResultTooLarge
from hunting_pipeline.kql import queries
from hunting_pipeline.kql.reading import Unsliceable
from hunting_pipeline.model import Slice, TableSpec
from hunting_pipeline.pipeline.calls import Calls, NotFetched
from hunting_pipeline.pipeline.result import Result, Spool
from hunting_pipeline.pipeline.session import Pipeline
from hunting_pipeline.pipeline.splitter import Fetched, Splitter
from hunting_pipeline.pipeline.tracker import Observer, Tracker, new_tracker
from hunting_pipeline.quota.rules import Priority
from hunting_pipeline.reply import Reply
from hunting_pipeline.window import available, null_time_spec, retention_edge

__all__ = ["QUERY", "ask"]

QUERY = "query"
"""The name of all such queries in the ledger and in messages."""


def ask(
    pipeline: Pipeline,
    text: str,
    sliced: Callable[[Sequence[str]], TableSpec],
    *,
    allow_truncated: bool = False,
    observe: Observer | None = None,
) -> Result:
    """Ask a query, and return all rows of its result.

    Args:
        pipeline: the tenant.
        text: the KQL.
        sliced: reads the query as a hunt. The argument is the names of the datetime columns in the result, if
            they are known. Raises `Unsliceable`.
        allow_truncated: return the rows of a reply that was cut, if the query cannot be cut by time.
        observe: called after every step.

    Raises:
        ResultTooLarge: one reply does not hold the result, and the query cannot be cut by time.
        Refused: the service refuses the query. The message quotes the service.
        HuntingError: as in a pull. Nothing was returned.
    """
    tracker = new_tracker(QUERY, observe)
    calls = pipeline.calls(tracker, Priority.FRESH)
    reply, failure = _first(calls, text)
    if reply and not calls.is_cut(reply):
        return _of_one(reply, calls, truncated=False)
    try:
        spec = sliced(_times(reply) if reply else ())
    except Unsliceable as error:
        if reply and allow_truncated:
            return _of_one(reply, calls, truncated=True)
        raise _too_large(calls, reply, failure, error) from failure
    return _in_slices(pipeline, calls, spec, reply, tracker)


def _first(calls: Calls, text: str) -> tuple[Reply | None, NotFetched | None]:
    """Return the reply to the unchanged query, or the reason why there is none."""
    try:
        return calls.ask(text), None
    except NotFetched as error:
        return None, error


def _of_one(reply: Reply, calls: Calls, *, truncated: bool) -> Result:
    table = reply.table
    return Result(
        columns=reply.columns,
        schema=table.schema,
        rows=table.num_rows,
        batches=table.to_batches,
        truncated=truncated,
        calls=calls.spent.calls,
    )


def _times(reply: Reply) -> list[str]:
    return [column.name for column in reply.columns if column.kusto_type == "datetime"]


def _too_large(
    calls: Calls, reply: Reply | None, failure: NotFetched | None, why: Unsliceable
) -> HuntingError:
    """Return the error for a query that one reply does not hold and that cannot be cut."""
    cannot = (
        f"The query cannot be cut by time: line {why.line}: {why.reason}. Nothing was returned."
        " Narrow the query, for example to `between (datetime(…) .. datetime(…))`, so its result fits"
    )
    if reply:
        return ResultTooLarge(
            f"the reply holds {reply.table.num_rows:,} rows. The service sends no more, so rows may be"
            f" missing. {cannot}. To accept missing rows, use `--allow-truncated` (Python:"
            " `allow_truncated=True`)"
        )
    if failure and failure.reason is not Reason.REFUSED:
        return calls.failure(failure)
    return ResultTooLarge(f"the service sent no rows, because the query is too large: {failure}. {cannot}")


def _in_slices(
    pipeline: Pipeline, calls: Calls, spec: TableSpec, reply: Reply | None, tracker: Tracker
) -> Result:
    """Count the query over the available window, and fetch its slices one after the other."""
    days = pipeline.limits.retention_days
    head = reply or calls.count_or_fail(queries.schema_query(spec), lambda stated: stated)
    window = available(pipeline.now(), days, spec)
    splitter = Splitter(
        spec, calls, plan.Width(spec.bytes_per_row), lambda: retention_edge(pipeline.now(), days)
    )
    spool = Spool(head.columns, head.table.select([column.name for column in head.columns]).schema)
    histograms = splitter.histograms([window])
    pack = partial(plan.pack_all, histograms, target=splitter.target, table=QUERY)
    planned = list(pack())
    tracker.planned(len(planned), sum(slice_.expected.rows for slice_ in planned))
    for fetched in _fetched(splitter, pack(), tracker):  # packed again, because replies show the row width
        spool.add(fetched.reply)
    if any(histogram.null_time for histogram in histograms):
        spool.add(_null_time(splitter))
    outside = calls.count_or_fail(queries.outside_query(spec, window), queries.read_proof).rows
    return spool.result(window=window, outside=outside, calls=calls.spent.calls)


def _fetched(splitter: Splitter, slices: Iterable[Slice], tracker: Tracker) -> Iterator[Fetched]:
    """Yield the slices with their rows, oldest first. A slice that is too big is replaced by its parts.

    Raises:
        BeyondRetention: the service deleted rows of a slice meanwhile.
    """
    coming, parts = iter(slices), deque[Slice]()
    while slice_ := parts.popleft() if parts else next(coming, None):
        found = splitter.fetch(slice_)
        if isinstance(found, Fetched):
            tracker.fetched(found.slice_.expected.rows)
            yield found
            continue
        start = min((part.window.start for part in found if part.window), default=None)
        if slice_.window and start != slice_.window.start:
            raise BeyondRetention(
                f"{slice_}: the service deleted rows during the query, because they are older than its"
                " retention. Nothing was returned. Run again"
            )
        tracker.split(slice_, len(found))
        parts.extendleft(reversed(found))


def _null_time(splitter: Splitter) -> Reply:
    """Fetch the rows whose time is null. No slice of time holds these rows."""
    without = splitter.for_null_time(null_time_spec(splitter.spec))
    found = without.fetch(without.snapshot())
    if not isinstance(found, Fetched):
        column = splitter.spec.time_column
        raise ResultTooLarge(
            f"the rows whose {column} is null do not fit one reply, and they cannot be cut by time."
            f" Nothing was returned. Add `| where isnotnull({column})` to the query"
        )
    return found.reply
