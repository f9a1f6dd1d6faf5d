"""The loop of a pull: cut missing spans into slices, stage slices as segments, commit complete partitions."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from hunting_pipeline import plan
from hunting_pipeline.errors import CommitRefused, HuntingError, ReplyUnreadable, ServiceFailed, SliceTooDense
from hunting_pipeline.lake.sources import StagedRefused
from hunting_pipeline.model import Histogram, Partition, Proof, Receipt, Slice, Staged, Window, merge_windows
from hunting_pipeline.pipeline.landing import Landing
from hunting_pipeline.pipeline.memory import release
from hunting_pipeline.pipeline.splitter import Fetched, Splitter
from hunting_pipeline.pipeline.todo import Todo
from hunting_pipeline.pipeline.tracker import Tracker

__all__ = ["OF_ONE_PARTITION", "Batch"]

OF_ONE_PARTITION = (SliceTooDense, ReplyUnreadable, CommitRefused)
"""Errors that concern one partition. The pull continues with the others and raises the error at the end."""


@dataclass(frozen=True, slots=True)
class _Landed:
    slice_: Slice
    segments: tuple[Staged, ...]


_Outcome = Future[_Landed | tuple[Slice, ...]]


class Batch:
    """The missing spans of one table in one pull. The main thread calls every public method.

    Call `resume`, `count` and `work` in this order. If one of them raises, call `commit_whole`.

    Attributes:
        todo: the spans to fetch and the staged segments.
        errors: the errors of single partitions so far.
        resumed: number of segments of an earlier run that are used.
        null_time: number of rows whose time is null, as last counted.
    """

    def __init__(
        self,
        splitter: Splitter,
        missing: Iterable[tuple[Partition, Window]],
        *,
        landing: Landing,
        tracker: Tracker,
        workers: int,
    ) -> None:
        self.todo = Todo.of(missing)
        self._first = frozenset(self.todo.wanted)
        self.errors: list[HuntingError] = []
        self.resumed = 0
        self.null_time = 0
        self._splitter = splitter
        self._spec = splitter.spec
        self._landing = landing
        self._tracker = tracker
        self._workers = workers
        self._fingerprint: Proof | None = None
        self._refused: set[Partition] = set()
        tracker.begin(self.todo.size)

    def resume(self, *, discard: Iterable[Partition]) -> Iterator[Receipt]:
        """Use the segments that earlier runs staged, and commit complete partitions.

        The segments of the partitions in `discard` are removed first, and all that no run can use.
        """
        self._landing.discard(self._spec.name, discard)
        for segment in self._landing.staged(self._spec, edge=self._splitter.evidence().edge):
            if self.todo.wants(segment):
                self.todo.add(segment)
                self.resumed += 1
        yield from self.commit_whole()

    def want(self, missing: Iterable[tuple[Partition, Window]]) -> None:
        """Replace the spans to fetch, before the first fetch. Partitions that `resume` took are left out."""
        taken = self._first - self.todo.wanted.keys()
        staged = [segment for segments in self.todo.segments.values() for segment in segments]
        self.todo = Todo.of(item for item in missing if item[0] not in taken)
        for segment in filter(self.todo.wants, staged):
            self.todo.add(segment)
        self._tracker.begin(self.todo.size)

    def count(self) -> Iterator[Slice]:
        """Count the missing rows and return their slices. Sends calls; writes nothing.

        The iterator cuts each slice when it is needed, with the width measured so far.
        """
        windows = merge_windows(self.todo.missing())
        if not windows:
            return iter(())
        if self._spec.time_column is None:
            snapshot = self._splitter.snapshot()
            self._tracker.planned(1, snapshot.expected.rows)
            return iter([snapshot])
        histograms = self._splitter.histograms(windows)
        self.null_time = sum(histogram.null_time for histogram in histograms)
        planned = list(self._packed(histograms))
        self._tracker.planned(len(planned), sum(slice_.expected.rows for slice_ in planned))
        return self._packed(histograms)

    def _packed(self, histograms: Sequence[Histogram]) -> Iterator[Slice]:
        return plan.pack_all(histograms, target=self._splitter.target, table=self._spec.name)

    def work(self, slices: Iterator[Slice]) -> Iterator[Receipt]:
        """Fetch the slices with all workers, and commit each partition as soon as it is complete.

        Spans whose staged segments were refused are fetched once more.
        """
        with ThreadPoolExecutor(self._workers, thread_name_prefix=self._spec.name) as pool:
            yield from self._work(pool, slices)
            if self._refused:
                yield from self._work(pool, self.count())

    def commit_whole(self) -> Iterator[Receipt]:
        """Commit the complete partitions: nothing of them is missing."""
        for partition in self.todo.whole():
            segments = self.todo.take(partition)
            try:
                self._refuse_mixture(partition)
                receipt = self._landing.commit(partition, self._spec, segments)
            except OF_ONE_PARTITION as error:
                if not self._fetch_again(partition, segments, error):
                    self.errors.append(error)
                continue
            self._tracker.committed(receipt)
            yield receipt

    def _fetch_again(self, partition: Partition, segments: Sequence[Staged], error: HuntingError) -> bool:
        """Put a partition back whose segments were refused, and return whether it was the first time."""
        if not isinstance(error, StagedRefused) or partition in self._refused:
            return False
        self._refused.add(partition)
        self.todo.want_again(segments, error.spans)
        self._fingerprint = None
        return True

    def _work(self, pool: ThreadPoolExecutor, slices: Iterator[Slice]) -> Iterator[Receipt]:
        divided: deque[Slice] = deque()
        running: dict[_Outcome, Slice] = {}
        try:
            while True:
                while len(running) <= self._workers:  # one more than can run, so no worker is idle
                    slice_ = divided.popleft() if divided else next(slices, None)
                    if slice_ is None:
                        break
                    if partitions := self.todo.touched(slice_):
                        self.todo.outstanding.add(slice_)
                        running[pool.submit(self._fetch, slice_, partitions)] = slice_
                    else:
                        self.todo.outstanding.discard(slice_)
                yield from self.commit_whole()
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    divided.extendleft(reversed(self._land(future, running.pop(future))))
        finally:  # calls in flight have used quota, so their rows are staged
            for future in running:
                future.cancel()
            for future in wait(running).done:
                if not future.cancelled() and future.exception() is None:
                    self._land(future, running[future])

    def _fetch(self, slice_: Slice, partitions: Sequence[Partition]) -> _Landed | tuple[Slice, ...]:
        """Fetch and stage one slice in a worker, or return the slices to fetch instead."""
        try:
            outcome = self._splitter.fetch(slice_)
            if not isinstance(outcome, Fetched):
                return outcome
            return _Landed(outcome.slice_, self._landing.stage(outcome, self._spec, partitions))
        finally:
            release()

    def _land(self, future: _Outcome, slice_: Slice) -> Sequence[Slice]:
        """Record a worker's result, and return the slices to fetch instead of `slice_`."""
        try:
            result = future.result()
        except OF_ONE_PARTITION as error:
            self.errors.append(error)
            self.todo.give_up(slice_)
            return ()
        self.todo.outstanding.discard(slice_)
        if not self.todo.touched(slice_):
            return ()
        if not isinstance(result, _Landed):
            return self._divide(slice_, result)
        for segment in result.segments:
            self.todo.add(segment)
        self._tracker.fetched(result.slice_.expected.rows)
        return ()

    def _divide(self, slice_: Slice, parts: Sequence[Slice]) -> Sequence[Slice]:
        """Record that `parts` are fetched instead of a slice.

        If they begin later than the slice, the service no longer holds the rows before them.
        """
        self.todo.outstanding.update(parts)
        if slice_.window is None and self._fingerprint is None:
            self._fingerprint = self._splitter.fingerprint()
        if slice_.window is not None:
            start = min((part.window.start for part in parts if part.window), default=slice_.window.end)
            if start > slice_.window.start:
                self.todo.forget(Window(slice_.window.start, start))
        self._tracker.split(slice_, len(parts))
        return parts

    def _refuse_mixture(self, partition: Partition) -> None:
        """Check that the table did not change while its snapshot was read in parts.

        Raises:
            ServiceFailed: the table changed.
        """
        if self._fingerprint is not None and self._splitter.fingerprint() != self._fingerprint:
            self._landing.discard(self._spec.name, [partition])
            raise ServiceFailed(
                f"{partition}: the table changed while its snapshot was read in parts. Nothing was committed."
                " Run again"
            )
