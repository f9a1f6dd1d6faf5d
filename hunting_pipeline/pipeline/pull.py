"""The one loop: owed spans become slices, slices become staged pieces, whole partitions are committed."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

from hunting_pipeline import plan, window
from hunting_pipeline.errors import BeyondRetention, CommitRefused, HuntingError, ServiceFailed, SliceTooDense
from hunting_pipeline.lake.commit import Writer, claim, commit, known_schema, prove_writable
from hunting_pipeline.lake.manifest import Manifest, load
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.lake.write import Origin, stage, staged_segments, unstage
from hunting_pipeline.model import (
    NULL_TIME,
    Histogram,
    Partition,
    Progress,
    Proof,
    Receipt,
    Report,
    Slice,
    Staged,
    Step,
    TableSpec,
    Window,
    merge_windows,
)
from hunting_pipeline.pipeline.calls import Calls
from hunting_pipeline.pipeline.memory import release
from hunting_pipeline.pipeline.splitter import Fetched, Splitter
from hunting_pipeline.pipeline.todo import Todo

__all__ = ["Pull"]

_DEFERRED = (SliceTooDense, CommitRefused)
"""Errors that concern one partition: the others go on, and the error is raised at the end."""

_SHOWN = 5
"""Partitions that a message names before it says how many more there are."""


@dataclass(frozen=True)
class Lake:
    """Where a pull writes, in whose name, and when (ticks).

    `forgotten_before` is the instant that the retention edge has reached.
    """

    store: Store
    writer: Writer
    now: Callable[[], int]
    forgotten_before: Callable[[], int]


@dataclass(slots=True)
class _Count:
    slices: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class _Landed:
    slice_: Slice
    segments: tuple[Staged, ...]


_Outcome = Future[_Landed | tuple[Slice, ...]]


class Pull:
    """One table's partitions on their way into the lake.

    Iterate it once: it yields a `Receipt` as each partition is committed, oldest first as far as replies
    allow, and raises after everything that could be done is done. `report` tells at any time what was done.
    Closing the iterator early stops after the calls that are under way; staged slices stay for the next run.
    """

    def __init__(
        self,
        spec: TableSpec,
        *,
        backlog: window.Backlog,
        archive: dict[Partition, Manifest],
        calls: Callable[[Callable[[str], None]], Calls],
        width: plan.Width,
        lake: Lake,
        workers: int,
        force: bool,
        observe: Callable[[Progress], None],
    ) -> None:
        self.spec = spec
        self._archive = archive
        self._newest = max(archive.values(), key=lambda one: one.committed_at, default=None)
        self._calls = calls(partial(self._tell, Step.WAITING))
        self.splitter = Splitter(spec, self._calls, width, lake.forgotten_before)
        self._lake = lake
        self._workers = workers
        self._force = force
        self._observe = observe
        self.owe(backlog)
        self._receipts: list[Receipt] = []
        self._resumed = 0
        self._fetched = _Count()
        self._planned = _Count()
        self._null_time = 0
        self._fingerprint: Proof | None = None
        self._errors: list[HuntingError] = []

    def owe(self, backlog: window.Backlog, *, afresh: bool = False) -> None:
        """What to fetch; before the first iteration. `afresh` throws away what an earlier run staged."""
        self.backlog = backlog
        self._afresh = afresh
        self._todo = Todo.of(backlog)

    @property
    def report(self) -> Report:
        """What has been done so far."""
        spent = self._calls.spent
        return Report(
            table=self.spec.name,
            receipts=tuple(self._receipts),
            calls=spent.calls,
            running_seconds=spent.running_seconds,
            waited_seconds=spent.waited_seconds,
            covered=self.backlog.covered,
            future=self.backlog.future,
            resumed=self._resumed,
        )

    @property
    def width(self) -> plan.Width:
        """What is known of the table's width now."""
        return self.splitter.width

    def dry_run(self) -> list[Slice]:
        """The slices that would be fetched; costs the calls that counting needs and writes nothing."""
        return list(self._slices())

    def __iter__(self) -> Iterator[Receipt]:
        self._resume()
        yield from self._commit_whole_ones()
        try:
            if owed := self._todo.partitions:
                prove_writable(self._lake.store, owed[0])
            slices = self._slices()
            if self._todo.partitions:  # what is staged has an owner, too
                claim(self._lake.store, self._lake.writer.tenant, write=True)
            yield from self._pull_null_time()
            with ThreadPoolExecutor(self._workers, thread_name_prefix=self.spec.name) as pool:
                yield from self._work(pool, slices)
        except HuntingError as error:
            self._errors.append(error)
            yield from self._commit_whole_ones()
        self._raise()

    def _resume(self) -> None:
        """Take up what an earlier run staged; sweep what it left behind after its commit."""
        for partition in (*self.backlog.covered, *(self._todo.partitions if self._afresh else ())):
            unstage(self._lake.store, partition)
        for partition in self._todo.partitions:
            for segment in staged_segments(self._lake.store, partition, self.spec.query_hash):
                if self._todo.wants(segment):
                    self._todo.add(segment)
                    self._resumed += 1

    def _slices(self) -> Iterator[Slice]:
        """Count what is left, and cut it lazily, so that every reply's width helps the next slice."""
        windows = merge_windows(self._todo.missing())
        if not windows:
            return iter(())
        if self.spec.time_column is None:
            slices = [self.splitter.snapshot()]
            self._plan(len(slices), sum(s.expected.rows for s in slices))
            return iter(slices)
        histograms = self.splitter.histograms(windows)
        self._null_time = sum(histogram.null_time for histogram in histograms)
        now = list(self._pack(histograms))
        self._plan(len(now), sum(slice_.expected.rows for slice_ in now))
        return self._pack(histograms)

    def _pack(self, histograms: Sequence[Histogram]) -> Iterator[Slice]:
        for histogram in histograms:
            for window_ in histogram.windows:
                yield from plan.pack(histogram, window_, target=self.splitter.target, table=self.spec.name)

    def _pull_null_time(self) -> Iterator[Receipt]:
        """Rows without a time fall through every slice: fetch them whole when there are more than archived.

        Fewer are left alone: which of the archived ones the service has forgotten, nobody can tell. They come
        first, since they are only counted while something else is owed: a run that dies after them leaves
        that debt to the next.
        """
        partition = Partition(self.spec.name, NULL_TIME)
        archived = self._archive.get(partition)
        if self._null_time <= (archived.proof.rows if archived else 0):
            return
        pull = Pull(
            window.null_time_spec(self.spec),
            backlog=window.Backlog(((partition, NULL_TIME),), (), (), ()),
            archive={partition: archived} if archived else {},
            calls=lambda _on_wait: self._calls,
            width=self.width,
            lake=self._lake,
            workers=self._workers,
            force=self._force,
            observe=self._observe,
        )
        pull._newest = self._newest
        try:
            for receipt in pull:
                self._receipts.append(receipt)
                self._newest = pull._newest
                yield receipt
        except _DEFERRED as error:
            self._errors.append(error)

    def _plan(self, slices: int, rows: int) -> None:
        self._planned.slices, self._planned.rows = slices, rows
        self._tell(Step.PLANNED, f"{rows:,} rows in about {slices} slices")

    def _work(self, pool: ThreadPoolExecutor, slices: Iterator[Slice]) -> Iterator[Receipt]:
        """Keep every worker busy; commit a partition as soon as nothing of it is missing."""
        divided: deque[Slice] = deque()
        running: dict[_Outcome, Slice] = {}
        try:
            while True:
                while len(running) <= self._workers:  # one more than can run, so that none ever idles
                    slice_ = divided.popleft() if divided else next(slices, None)
                    if slice_ is None:
                        break
                    if partitions := self._todo.touched(slice_):
                        self._todo.outstanding.add(slice_)
                        running[pool.submit(self._fetch, slice_, partitions)] = slice_
                    else:
                        self._todo.outstanding.discard(slice_)
                yield from self._commit_whole_ones()
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    divided.extendleft(reversed(self._land(future, running.pop(future))))
        finally:  # what is under way has been paid for: let it land
            for future in running:
                future.cancel()
            for future in wait(running).done:
                if not future.cancelled() and future.exception() is None:
                    self._land(future, running[future])

    def _fetch(self, slice_: Slice, partitions: Sequence[Partition]) -> _Landed | tuple[Slice, ...]:
        """In a worker: one slice, staged; or the slices to fetch in its place."""
        try:
            return self._staged(slice_, partitions)
        finally:
            release()

    def _staged(self, slice_: Slice, partitions: Sequence[Partition]) -> _Landed | tuple[Slice, ...]:
        outcome = self.splitter.fetch(slice_)
        if not isinstance(outcome, Fetched):
            return outcome
        segments = stage(
            self._lake.store,
            outcome.reply,
            slice_=outcome.slice_,
            spec=self.spec,
            partitions=partitions,
            origin=Origin(outcome.query, self._lake.now()),
        )
        return _Landed(outcome.slice_, segments)

    def _land(self, future: _Outcome, slice_: Slice) -> Sequence[Slice]:
        """Take a worker's result; returns the slices that must be fetched in its place."""
        try:
            result = future.result()
        except _DEFERRED as error:
            self._errors.append(error)
            self._todo.give_up(slice_)
            return ()
        self._todo.outstanding.discard(slice_)
        if not self._todo.touched(slice_):
            return ()
        if not isinstance(result, _Landed):
            return self._divide(slice_, result)
        for segment in result.segments:
            self._todo.add(segment)
        self._fetched.slices += 1
        self._fetched.rows += result.slice_.expected.rows
        self._tell(Step.FETCHED, f"{self._fetched.slices} of about {self._planned.slices} slices")
        return ()

    def _divide(self, slice_: Slice, parts: Sequence[Slice]) -> Sequence[Slice]:
        """Fetch `parts` in place of a slice. What of it they leave out, the service has forgotten."""
        self._todo.outstanding.update(parts)
        if slice_.window is None and self._fingerprint is None:
            self._fingerprint = self.splitter.fingerprint()
        self._planned.slices += len(parts) - 1
        if slice_.window is not None:
            start = min((part.window.start for part in parts if part.window), default=slice_.window.end)
            if start > slice_.window.start:
                self._todo.forget(Window(slice_.window.start, start))
        self._tell(Step.SPLIT, f"{slice_} is cut into {len(parts)}")
        return parts

    def _commit_whole_ones(self) -> Iterator[Receipt]:
        for partition in self._todo.whole():
            try:
                receipt = self._commit(partition)
            except _DEFERRED as error:
                self._errors.append(error)
                continue
            self._receipts.append(receipt)
            self._tell(Step.COMMITTED, f"{partition.key} committed, {receipt.proof.rows:,} rows")
            yield receipt

    def _refuse_mixture(self, partition: Partition) -> None:
        """A snapshot that was read in parts must be one snapshot."""
        if self._fingerprint is not None and self.splitter.fingerprint() != self._fingerprint:
            unstage(self._lake.store, partition)
            raise ServiceFailed(
                f"{partition}: the table changed while its snapshot was read in parts; nothing was committed."
                " Safe to run again"
            )

    def _commit(self, partition: Partition) -> Receipt:
        self._refuse_mixture(partition)
        store = self._lake.store
        receipt = commit(
            store,
            partition,
            staged=self._todo.take(partition),
            archived=self._archive.get(partition),
            known=known_schema(store, self._newest.partition if self._newest else None),
            spec=self.spec,
            writer=self._lake.writer,
            now=self._lake.now(),
            force=self._force,
        )
        self._newest = load(store, partition)
        release()
        return receipt

    def _tell(self, step: Step, message: str) -> None:
        self._observe(
            Progress(
                table=self.spec.name,
                step=step,
                message=f"{self.spec.name}: {message}",
                slices=self._fetched.slices,
                slices_planned=self._planned.slices,
                rows=self._fetched.rows,
                rows_planned=self._planned.rows,
                partitions=len(self._receipts),
                partitions_planned=self._todo.size,
                calls=self._calls.spent.calls,
            )
        )

    def _raise(self) -> None:
        """Raise what went wrong, what ended the run as the error and the others as its notes.

        Whoever runs it again for that meets the others once more.
        """
        if forgotten := [*self.backlog.forgotten, *self._todo.lost]:
            self._errors.append(_beyond_retention(forgotten, self.spec))
        if self._errors:
            of_partitions = (*_DEFERRED, BeyondRetention)
            first, *others = sorted(self._errors, key=lambda error: isinstance(error, of_partitions))
            for other in others:
                first.add_note(other.marked)
            raise first


def _beyond_retention(partitions: Sequence[Partition], spec: TableSpec) -> BeyondRetention:
    keys = ", ".join(partition.key for partition in partitions[:_SHOWN])
    more = f" and {len(partitions) - _SHOWN} more" if len(partitions) > _SHOWN else ""
    why = (
        "it has no time column, so only today's snapshot can be taken"
        if spec.time_column is None
        else "the service has forgotten them"
    )
    return BeyondRetention(
        f"{spec.name} {keys}{more}: {why}; they were not asked for, their archive is untouched"
    )
