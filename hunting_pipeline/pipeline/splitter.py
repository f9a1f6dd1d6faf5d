"""A slice is fetched exactly, or cut: the one splitter for every way a slice can be too big."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hunting_pipeline import plan
from hunting_pipeline.errors import ServiceFailed, SliceTooDense
from hunting_pipeline.kql import queries
from hunting_pipeline.lake.write import proof_of_reply
from hunting_pipeline.model import SECOND, Column, Histogram, Proof, Slice, TableSpec, Window, subtract
from hunting_pipeline.pipeline.calls import Calls, TooBig
from hunting_pipeline.reply import Reply

__all__ = ["Fetched", "Splitter"]

_ROUNDS = 4
"""Times a slice whose count does not settle is counted and fetched before it is cut smaller."""

_EDGE_STEP = 600 * SECOND
"""Ticks by which a slice is cut back from the retention edge: time to count it and fetch it."""

_MOST_BUCKETS = 65_536
"""Rows that more buckets than this cannot part are alike."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An accepted slice, its final count, and the query that brought it."""

    slice_: Slice
    reply: Reply
    query: str


class Splitter:
    """Fetches the slices of one table; safe to share between threads.

    The width of a row is learnt from every reply and used by everything that is cut afterwards.
    """

    def __init__(
        self, spec: TableSpec, calls: Calls, width: plan.Width, forgotten_before: Callable[[], int]
    ) -> None:
        self.spec = spec
        self._calls = calls
        self._width = width
        self._forgotten_before = forgotten_before
        self._lock = threading.Lock()

    @property
    def width(self) -> plan.Width:
        """What is known of the table's width now."""
        return self._width

    def target(self) -> int:
        """Rows to plan a slice to."""
        return plan.row_target(self._calls.limits, self._width)

    def histograms(self, windows: Sequence[Window]) -> tuple[Histogram, ...]:
        """Count the rows of disjoint, ascending windows by bin: one call, and more where that saves calls.

        A histogram that is too heavy for the service is asked again over halves. One of them counts the
        rows without a time as well.
        """
        found: list[Histogram] = []
        step = plan.step_for(sum(window.ticks for window in windows))
        for coarse in self.counted(windows, step, null_time=True):
            finer = plan.finer_step(coarse, self.target())
            fine = [coarse] if finer is None else self.counted(coarse.windows, finer)
            found += [replace(fine[0], null_time=coarse.null_time), *fine[1:]]
        return tuple(found)

    def snapshot(self) -> Slice:
        """A table without a time column as one slice, counted."""
        return self._recounted(Slice(self.spec.name, None, Proof(0, 0)))

    def fingerprint(self) -> Proof:
        """Of a whole table without a time column: equal twice means that nothing changed in between."""
        return queries.read_proof(self._calls.ask_whole(queries.fingerprint(self.spec)))

    def _recounted(self, slice_: Slice) -> Slice:
        """The slice with the service's present count."""
        return slice_.recounted(queries.read_proof(self._calls.ask_whole(queries.proof(self.spec, slice_))))

    def counted(self, windows: Sequence[Window], step: int, *, null_time: bool = False) -> list[Histogram]:
        """Rows by bins of `step` ticks; several histograms where one is too heavy for the service."""
        try:
            reply = self._calls.ask(queries.histogram(self.spec, windows, step, null_time=null_time))
        except TooBig as error:
            halves = _halves(windows, step)
            if halves is None:
                raise ServiceFailed(f"{self.spec.name}: even one bin cannot be counted: {error}") from error
            first, second = halves
            return [*self.counted(first, step, null_time=null_time), *self.counted(second, step)]
        return [queries.read_histogram(reply, windows, step, null_time=null_time)]

    def fetch(self, slice_: Slice) -> Fetched | tuple[Slice, ...]:
        """The slice's rows, equal to the service's count of them; or the smaller slices to fetch instead.

        Slices that the retention edge has reached are cut to what is still there, so the slices returned may
        begin later than `slice_`, and may be none at all.

        Raises:
            SliceTooDense: it cannot be cut further.
            ServiceFailed: its count does not settle.
            HuntingError: whatever `Calls.ask` raises.
        """
        if self._fading(slice_):
            return self._remainder(slice_)
        if not plan.fits(slice_, self._calls.limits, self._width):
            return self._split(slice_)
        try:
            outcome = self._fetch(slice_)
        except (ServiceFailed, SliceTooDense):
            if not self._fading(slice_):  # no count adds up while rows go
                raise
            return self._remainder(slice_)
        return self._remainder(slice_) if self._fading(slice_) else outcome

    def _fading(self, slice_: Slice) -> bool:
        """Whether rows of the slice may have been forgotten by now."""
        return slice_.window is not None and slice_.window.start < self._forgotten_before()

    def _remainder(self, slice_: Slice) -> tuple[Slice, ...]:
        """What is left of a slice behind the moving edge, counted anew."""
        if slice_.window is None:
            return (slice_,)
        start = self._forgotten_before() + _EDGE_STEP
        if start >= slice_.window.end:
            return ()
        rest = Window(start, slice_.window.end)
        histograms = self.counted([rest], plan.step_for(rest.ticks))
        return self._packed(histograms, self.target())

    def _packed(self, histograms: Sequence[Histogram], target: int) -> tuple[Slice, ...]:
        return tuple(
            part
            for histogram in histograms
            for window in histogram.windows
            for part in plan.pack(histogram, window, target=lambda: target, table=self.spec.name)
        )

    def _fetch(self, slice_: Slice) -> Fetched | tuple[Slice, ...]:
        text = queries.rows(self.spec, slice_)
        for _ in range(_ROUNDS):
            try:
                reply = self._rows(slice_, text)
            except TooBig as error:
                self._learn_too_wide(slice_)
                return self._split(slice_, error)
            self._learn(reply)
            received = proof_of_reply(reply, self.spec)
            if received == slice_.expected:
                return Fetched(slice_, reply, text)
            slice_ = self._recounted(slice_)
            if received == slice_.expected:
                return Fetched(slice_, reply, text)
        return self._split(slice_)

    def _rows(self, slice_: Slice, text: str) -> Reply:
        return self._calls.ask(text) if slice_.expected.rows > 1 else self._calls.ask_for_least(text)

    def _learn(self, reply: Reply) -> None:
        with self._lock:
            self._width = self._width.after(reply.table.num_rows, reply.body_bytes)

    def _learn_too_wide(self, slice_: Slice) -> None:
        """A slice that was expected to fill half a reply or more may have failed for its bytes."""
        limit, rows = self._calls.limits.reply_bytes, slice_.expected.rows
        if limit is not None and rows * self._width.bytes_per_row > limit / 2:
            with self._lock:
                self._width = self._width.after(rows, limit)

    def _split(self, slice_: Slice, cause: TooBig | None = None) -> Fetched | tuple[Slice, ...]:
        """Smaller slices that together are `slice_`."""
        rows = slice_.expected.rows
        if rows <= 1 and cause is None:
            raise ServiceFailed(f"{slice_} cannot be fetched: its count does not settle")
        if rows <= 1:
            if slice_.bucket is None and (alone := self._alone(slice_)):
                return alone
            raise SliceTooDense(
                f"{slice_} cannot be cut further: {cause}; its partition stays a gap"
            ) from cause
        target = max(1, min(self.target(), (rows + 1) // 2))
        if slice_.bucket is None and slice_.window and slice_.occupied and slice_.occupied.ticks > 1:
            return self._packed(self.counted([slice_.window], plan.step_for(slice_.occupied.ticks)), target)
        if slice_.bucket is not None and (alike := self._multiplied(slice_)):
            return alike
        if slice_.bucket is None and (alone := self._alone(slice_)):
            return alone
        return self._bucketed(slice_, target)

    def _alone(self, slice_: Slice) -> tuple[Slice, ...]:
        """A dense tick cut off from the other partitions that its slice touches, so that only its own is at
        stake; none where it touches no other."""
        if slice_.window is None or slice_.occupied is None:
            return ()
        length = self.spec.grain.ticks
        start = slice_.occupied.start // length * length
        own = slice_.window.intersection(Window(start, start + length))
        if own is None or own == slice_.window:
            return ()
        rest = [replace(slice_, window=part, expected=Proof(0, 0), occupied=None)
                for part in subtract(slice_.window, [own])]  # fmt: skip
        return (replace(slice_, window=own), *rest)

    def _multiplied(self, slice_: Slice) -> Fetched | None:
        """A bucket that is fuller than chance allows holds equal rows: ask for each once, with its number.

        None if that does not bring exactly what was counted.
        """
        columns = self._calls.ask_whole(queries.probe(self.spec)).columns
        text = queries.distinct(self.spec, slice_, self._asked_for(columns))
        try:
            reply = queries.read_distinct(self._calls.ask(text))
        except TooBig:
            return None
        return Fetched(slice_, reply, text) if proof_of_reply(reply, self.spec) == slice_.expected else None

    def _asked_for(self, columns: Sequence[Column]) -> Sequence[Column]:
        wanted = self.spec.columns
        return [column for column in columns if not wanted or column.name in wanted]

    def _most_counted(self, slice_: Slice) -> int:
        """Buckets that one reply can count: those of the slice itself must stay below the row cap."""
        own = slice_.bucket.of if slice_.bucket else 1
        return own << max(1, (self._calls.limits.rows - 1).bit_length() - 1)

    def _bucketed(self, slice_: Slice, target: int) -> tuple[Slice, ...]:
        of = min(plan.buckets_needed(slice_, target), self._most_counted(slice_))
        if of > _MOST_BUCKETS:
            raise SliceTooDense(
                f"{slice_}: more rows than one reply carries, and no hash parts them;"
                " its partition stays a gap"
            )
        for _ in range(_ROUNDS):
            parts = plan.bucket_slices(
                slice_,
                queries.read_buckets(self._calls.ask_whole(queries.buckets(self.spec, slice_, of)), of),
            )
            if sum(part.expected.rows for part in parts) == slice_.expected.rows:
                return parts
            slice_ = self._recounted(slice_)
        raise ServiceFailed(f"{slice_}: its hash buckets do not add up to its count")


def _halves(windows: Sequence[Window], step: int) -> tuple[Sequence[Window], Sequence[Window]] | None:
    """The windows in two parts of about the same length, cut at a bin's edge; None if there is one bin."""
    if len(windows) > 1:
        middle = len(windows) // 2
        return windows[:middle], windows[middle:]
    (window,) = windows
    edge = (window.start + window.ticks // 2) // step * step
    if not window.start < edge < window.end:
        return None
    return [Window(window.start, edge)], [Window(edge, window.end)]
