"""The executor of the actions that `hunting_pipeline.split` decides: it sends their queries."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import pyarrow as pa

from hunting_pipeline import actions, plan, split
from hunting_pipeline.actions import Blame, Evidence, Reason
from hunting_pipeline.errors import HuntingError, ReplyUnreadable, ServiceFailed, SliceTooDense
from hunting_pipeline.kql import queries
from hunting_pipeline.lake.write import proof_of_reply, schema_of_reply
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import Column, Histogram, Proof, Slice, TableSpec, Window
from hunting_pipeline.pipeline.calls import Calls, NotFetched
from hunting_pipeline.reply import Reply

__all__ = ["Fetched", "Splitter"]

_ERRORS: Mapping[Blame, type[HuntingError]] = MappingProxyType(
    {Blame.DENSE: SliceTooDense, Blame.UNREADABLE: ReplyUnreadable, Blame.FAILED: ServiceFailed}
)
"""The error for a slice that is given up."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An accepted slice with its final count, its reply and the query of the call."""

    slice_: Slice
    reply: Reply
    query: str


class Splitter:
    """Fetches the slices of one table. Safe to share between threads.

    The width of a row is measured in every reply. Slices that are cut afterwards use the new width.
    """

    def __init__(
        self, spec: TableSpec, calls: Calls, width: plan.Width, retention_edge: Callable[[], int]
    ) -> None:
        self.spec = spec
        self.calls = calls
        self._width = width
        self._retention_edge = retention_edge
        self._readable = self._unreadable = 0
        self._lock = threading.Lock()

    @property
    def width(self) -> plan.Width:
        """The width of the table's rows, as measured so far."""
        return self._width

    @property
    def limits(self) -> Limits:
        """The limits of one reply."""
        return self.calls.limits

    def target(self) -> int:
        """Return the target number of rows of a slice."""
        return plan.row_target(self.limits, self._width)

    def for_null_time(self, spec: TableSpec) -> "Splitter":
        """Return a splitter for the table's null-time rows, with the same calls and the current width."""
        return Splitter(spec, self.calls, self._width, self._retention_edge)

    def histograms(self, windows: Sequence[Window]) -> tuple[Histogram, ...]:
        """Count the rows of disjoint, ascending windows by bin.

        This is one call, or more if a finer histogram saves calls. A histogram that is too big is cut into
        halves. The first histogram also counts the null-time rows.
        """
        found: list[Histogram] = []
        step = plan.step_for(sum(window.ticks for window in windows))
        for coarse in self.counted(windows, step, null_time=True):
            finer = plan.finer_step(coarse, self.target())
            fine = [coarse] if finer is None else self.counted(coarse.windows, finer)
            found += [replace(fine[0], null_time=coarse.null_time), *fine[1:]]
        return tuple(found)

    def snapshot(self) -> Slice:
        """Count a table without a time column, and return it as one slice."""
        return self.recounted(Slice(self.spec.name, None, Proof(0, 0)))

    def fingerprint(self) -> Proof:
        """Return a fingerprint of all rows of a table without a time column.

        Two equal fingerprints mean that no row has changed between the two calls.
        """
        return self.calls.count_or_fail(queries.content_query(self.spec), queries.read_proof)

    def stated_schema(self) -> pa.Schema:
        """Return the schema of the table's rows, as the service states it in a reply without rows."""
        stated = self.calls.count_or_fail(queries.schema_query(self.spec), schema_of_reply)
        names = self.spec.columns or stated.names
        return pa.schema([field for field in stated if field.name in names])

    def recounted(self, slice_: Slice) -> Slice:
        """Count the slice again, and return it with the new count."""
        query = queries.proof_query(self.spec, slice_)
        return slice_.recounted(self.calls.count_or_fail(query, queries.read_proof))

    def counted(self, windows: Sequence[Window], step: int, *, null_time: bool = False) -> list[Histogram]:
        """Count rows by bins of `step` ticks. Return several histograms if one is too big for the service."""
        query = queries.histogram_query(self.spec, windows, step, null_time=null_time)

        def read(reply: Reply) -> Histogram:
            return queries.read_histogram(reply, windows, step, null_time=null_time)

        try:
            return [self.calls.count(query, read, persist=False)]
        except NotFetched as error:
            halves = None if error.reason is Reason.UNREADABLE else split.halves(windows, step)
            if halves is None:
                raise self.calls.failure(error) from error
            first, second = halves
            return [*self.counted(first, step, null_time=null_time), *self.counted(second, step)]

    def fetch(self, slice_: Slice) -> Fetched | tuple[Slice, ...]:
        """Return the slice's rows, equal to the service's count; or smaller slices to fetch instead.

        A slice that the retention edge has reached is cut to the part that the service still holds. The
        returned slices may then begin later than `slice_`, and there may be none.

        Raises:
            SliceTooDense: the slice cannot be cut further.
            ReplyUnreadable: a row of the slice is unreadable, or the slice's count and its rows differ.
            HuntingError: as `Calls.fetch`.
        """
        try:
            return _Attempt(self, slice_).run()
        except ReplyUnreadable:  # counts do not add up while the service deletes rows
            match split.remainder(slice_, self.evidence(), limits=self.limits):
                case None:
                    raise
                case actions.Remainder(window, step, target):
                    return self.packed(window, step, target)
                case actions.Replace(parts):
                    return parts

    def probe(self) -> None:
        """Fetch one row of the table, to see whether the service sends rows at all.

        Raises:
            ServiceFailed: it does not.
        """
        try:
            self.calls.count(queries.probe_query(self.spec), bool)
        except NotFetched as error:
            raise self.calls.outage(str(error)) from error

    def packed(self, window: Window, step: int, target: int) -> tuple[Slice, ...]:
        """Count a window by bins and pack the bins into slices."""
        histograms = self.counted([window], step)
        return tuple(plan.pack_all(histograms, target=lambda: target, table=self.spec.name))

    def evidence(self) -> Evidence:
        """Return the evidence before the first query for a slice."""
        return Evidence(self._width, self._retention_edge())

    @property
    def readable(self) -> int:
        """The number of readable replies with rows so far."""
        return self._readable

    @property
    def unreadable(self) -> int:
        """The number of unreadable replies since the last readable reply."""
        return self._unreadable

    def learn(self, reply: Reply) -> None:
        """Update the width of a row from a reply."""
        with self._lock:
            self._width = self._width.after(reply.table.num_rows, reply.body_bytes)
            self._readable += 1
            self._unreadable = 0

    def learn_from_failure(self, slice_: Slice, reason: Reason) -> None:
        """Count an unreadable reply, or update the width of a row: the rows may be wider than assumed."""
        with self._lock:
            if reason is Reason.UNREADABLE:
                self._unreadable += 1
            else:
                self._width = split.width_after_refusal(self._width, slice_, self.limits)


class _Attempt:
    """The execution of one slice's actions, from the first decision to the last."""

    def __init__(self, splitter: Splitter, slice_: Slice) -> None:
        self._splitter = splitter
        self._slice = slice_
        self._evidence = splitter.evidence()
        self._fetched: tuple[Reply, str] | None = None
        self._failure: Exception | None = None

    def run(self) -> Fetched | tuple[Slice, ...]:
        """Execute one action after the other; see `Splitter.fetch`."""
        reason = Reason.NEW
        while True:
            match self._decide(reason):
                case actions.Accept():
                    return self._accepted()
                case actions.Replace(parts) | actions.Isolate(parts):
                    return parts
                case actions.Remainder(window, step, target):
                    return self._splitter.packed(window, step, target)
                case actions.GiveUp(message, blame):
                    raise _ERRORS[blame](message) from self._failure
                case cut:
                    reason = self._execute(cut)

    def _decide(self, reason: Reason) -> actions.Action:
        now = self._splitter.evidence()
        self._evidence = replace(self._evidence, width=now.width, edge=now.edge)
        return split.next_action(
            self._slice,
            reason,
            self._evidence,
            limits=self._splitter.limits,
            grain=self._splitter.spec.grain,
        )

    def _execute(self, cut: actions.Query) -> Reason:
        """Send the action's query, and add the result to the evidence."""
        match cut:
            case actions.Fetch(persist):
                return self._fetch(persist=persist)
            case actions.Recount():
                before, self._slice = self._slice, self._splitter.recounted(self._slice)
                self._evidence = self._evidence.after_recount(same=before.expected == self._slice.expected)
                return Reason.RECOUNTED
            case actions.Probe():
                self._splitter.probe()
                return Reason.PROBED
            case actions.Distinct():
                return self._fetch_distinct()
            case actions.ByTime(window, step, target):
                self._evidence = replace(self._evidence, parts=self._splitter.packed(window, step, target))
                return Reason.BINS
            case actions.ByHash(of):
                self._evidence = self._evidence.after_buckets(of, self._buckets(of))
                return Reason.BUCKETS

    def _accepted(self) -> Fetched:
        if self._fetched is None:
            raise AssertionError("a slice was accepted before a reply came")
        return Fetched(self._slice, *self._fetched)

    def _fetch(self, *, persist: bool) -> Reason:
        splitter, readable = self._splitter, self._splitter.readable
        text = queries.rows_query(splitter.spec, self._slice)
        try:
            reply = splitter.calls.fetch(text, persist=persist)
            received = proof_of_reply(reply, splitter.spec)
        except NotFetched as error:
            return self._failed(error.reason, error, served=splitter.readable > readable)
        except ReplyUnreadable as error:
            return self._failed(Reason.UNREADABLE, error, served=splitter.readable > readable)
        splitter.learn(reply)
        self._evidence = self._evidence.after_reply(received)
        self._fetched = (reply, text)
        return Reason.ANSWERED

    def _failed(self, reason: Reason, error: Exception, *, served: bool) -> Reason:
        splitter = self._splitter
        splitter.learn_from_failure(self._slice, reason)
        self._failure = error
        self._evidence = self._evidence.after_failure(
            reason, str(error), served=served, unreadable=splitter.unreadable
        )
        return reason

    def _fetch_distinct(self) -> Reason:
        splitter = self._splitter
        columns = splitter.calls.count_or_fail(queries.schema_query(splitter.spec), lambda r: r.columns)
        text = queries.distinct_query(splitter.spec, self._slice, _asked_for(splitter.spec, columns))
        try:
            reply = queries.read_distinct(splitter.calls.fetch(text))
            received = proof_of_reply(reply, splitter.spec)
        except (NotFetched, ReplyUnreadable):
            return Reason.NOT_DISTINCT
        if received != self._slice.expected:
            return Reason.NOT_DISTINCT
        self._evidence = self._evidence.after_reply(received)
        self._fetched = (reply, text)
        return Reason.ANSWERED

    def _buckets(self, of: int) -> tuple[Slice, ...]:
        splitter = self._splitter
        query = queries.buckets_query(splitter.spec, self._slice, of)
        proofs = splitter.calls.count_or_fail(query, lambda reply: queries.read_buckets(reply, of))
        return plan.bucket_slices(self._slice, proofs)


def _asked_for(spec: TableSpec, columns: Sequence[Column]) -> Sequence[Column]:
    return [column for column in columns if not spec.columns or column.name in spec.columns]
