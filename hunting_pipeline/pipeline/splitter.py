"""The executor of the actions that `hunting_pipeline.split` decides: it sends their queries."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hunting_pipeline import plan, split
from hunting_pipeline.errors import ServiceFailed, SliceTooDense
from hunting_pipeline.kql import queries
from hunting_pipeline.lake.write import proof_of_reply
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import Column, Histogram, Proof, Slice, TableSpec, Window
from hunting_pipeline.pipeline.calls import Calls, TooBig
from hunting_pipeline.reply import Reply
from hunting_pipeline.split import Evidence, Reason

__all__ = ["Fetched", "Splitter"]


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
        return queries.read_proof(self.calls.ask_or_fail(queries.content_query(self.spec)))

    def recounted(self, slice_: Slice) -> Slice:
        """Count the slice again, and return it with the new count."""
        return slice_.recounted(
            queries.read_proof(self.calls.ask_or_fail(queries.proof_query(self.spec, slice_)))
        )

    def counted(self, windows: Sequence[Window], step: int, *, null_time: bool = False) -> list[Histogram]:
        """Count rows by bins of `step` ticks. Return several histograms if one is too big for the service."""
        try:
            reply = self.calls.ask(queries.histogram_query(self.spec, windows, step, null_time=null_time))
        except TooBig as error:
            halves = split.halves(windows, step)
            if halves is None:
                raise ServiceFailed(
                    f"{self.spec.name}: the service cannot count a single bin: {error}."
                    " Finished work is kept. Run again"
                ) from error
            first, second = halves
            return [*self.counted(first, step, null_time=null_time), *self.counted(second, step)]
        return [queries.read_histogram(reply, windows, step, null_time=null_time)]

    def fetch(self, slice_: Slice) -> Fetched | tuple[Slice, ...]:
        """Return the slice's rows, equal to the service's count; or smaller slices to fetch instead.

        A slice that the retention edge has reached is cut to the part that the service still holds. The
        returned slices may then begin later than `slice_`, and there may be none.

        Raises:
            SliceTooDense: the slice cannot be cut further.
            ServiceFailed: the slice's count keeps changing.
            HuntingError: as `Calls.ask`.
        """
        try:
            return _Attempt(self, slice_).run()
        except ServiceFailed:  # counts do not add up while the service deletes rows
            match split.remainder(slice_, self.evidence(), limits=self.limits):
                case None:
                    raise
                case split.Remainder(window, step, target):
                    return self.packed(window, step, target)
                case split.Replace(parts):
                    return parts

    def packed(self, window: Window, step: int, target: int) -> tuple[Slice, ...]:
        """Count a window by bins and pack the bins into slices."""
        histograms = self.counted([window], step)
        return tuple(plan.pack_all(histograms, target=lambda: target, table=self.spec.name))

    def evidence(self) -> Evidence:
        """Return the evidence before the first query for a slice."""
        return Evidence(self._width, self._retention_edge())

    def learn(self, reply: Reply) -> None:
        """Update the width of a row from a reply."""
        with self._lock:
            self._width = self._width.after(reply.table.num_rows, reply.body_bytes)

    def learn_from_refusal(self, slice_: Slice) -> None:
        """Update the width of a row after a refusal: the rows may be wider than assumed."""
        with self._lock:
            self._width = split.width_after_refusal(self._width, slice_, self.limits)


class _Attempt:
    """The execution of one slice's actions, from the first decision to the last."""

    def __init__(self, splitter: Splitter, slice_: Slice) -> None:
        self._splitter = splitter
        self._slice = slice_
        self._evidence = splitter.evidence()
        self._fetched: tuple[Reply, str] | None = None
        self._refusal: TooBig | None = None

    def run(self) -> Fetched | tuple[Slice, ...]:
        """Execute one action after the other; see `Splitter.fetch`."""
        reason = Reason.NEW
        while True:
            match self._decide(reason):
                case split.Accept():
                    return self._accepted()
                case split.Replace(parts) | split.Isolate(parts):
                    return parts
                case split.Remainder(window, step, target):
                    return self._splitter.packed(window, step, target)
                case split.GiveUp(message, dense):
                    raise (SliceTooDense if dense else ServiceFailed)(message) from self._refusal
                case cut:
                    reason = self._execute(cut)

    def _decide(self, reason: Reason) -> split.Action:
        now = self._splitter.evidence()
        self._evidence = replace(self._evidence, width=now.width, edge=now.edge)
        return split.next_action(
            self._slice,
            reason,
            self._evidence,
            limits=self._splitter.limits,
            grain=self._splitter.spec.grain,
        )

    def _execute(
        self, cut: split.Fetch | split.Recount | split.Distinct | split.ByTime | split.ByHash
    ) -> Reason:
        """Send the action's query, and add the result to the evidence."""
        match cut:
            case split.Fetch(persist):
                return self._fetch(persist=persist)
            case split.Recount():
                self._slice = self._splitter.recounted(self._slice)
                return Reason.RECOUNTED
            case split.Distinct():
                return self._fetch_distinct()
            case split.ByTime(window, step, target):
                self._evidence = replace(self._evidence, parts=self._splitter.packed(window, step, target))
                return Reason.BINS
            case split.ByHash(of):
                self._evidence = self._evidence.after_buckets(of, self._buckets(of))
                return Reason.BUCKETS

    def _accepted(self) -> Fetched:
        if self._fetched is None:
            raise AssertionError("a slice was accepted before a reply came")
        return Fetched(self._slice, *self._fetched)

    def _fetch(self, *, persist: bool) -> Reason:
        splitter = self._splitter
        text = queries.rows_query(splitter.spec, self._slice)
        ask = splitter.calls.ask_unsplittable if persist else splitter.calls.ask
        try:
            reply = ask(text)
        except TooBig as error:
            splitter.learn_from_refusal(self._slice)
            self._refusal = error
            self._evidence = replace(self._evidence, refusal=str(error))
            return error.reason
        splitter.learn(reply)
        self._evidence = self._evidence.after_reply(proof_of_reply(reply, splitter.spec))
        self._fetched = (reply, text)
        return Reason.ANSWERED

    def _fetch_distinct(self) -> Reason:
        splitter = self._splitter
        columns = splitter.calls.ask_or_fail(queries.schema_query(splitter.spec)).columns
        text = queries.distinct_query(splitter.spec, self._slice, _asked_for(splitter.spec, columns))
        try:
            reply = queries.read_distinct(splitter.calls.ask(text))
        except TooBig:
            return Reason.NOT_DISTINCT
        received = proof_of_reply(reply, splitter.spec)
        if received != self._slice.expected:
            return Reason.NOT_DISTINCT
        self._evidence = self._evidence.after_reply(received)
        self._fetched = (reply, text)
        return Reason.ANSWERED

    def _buckets(self, of: int) -> tuple[Slice, ...]:
        splitter = self._splitter
        reply = splitter.calls.ask_or_fail(queries.buckets_query(splitter.spec, self._slice, of))
        return plan.bucket_slices(self._slice, queries.read_buckets(reply, of))


def _asked_for(spec: TableSpec, columns: Sequence[Column]) -> Sequence[Column]:
    return [column for column in columns if not spec.columns or column.name in spec.columns]
