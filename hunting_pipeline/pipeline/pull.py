"""The one loop: owed spans become slices, slices become staged pieces, whole partitions are committed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial

from hunting_pipeline import plan, window
from hunting_pipeline.errors import BeyondRetention, CommitRefused, HuntingError, SliceTooDense
from hunting_pipeline.lake.commit import Author, commit, known_schema
from hunting_pipeline.lake.manifest import Manifest, merge_windows
from hunting_pipeline.lake.store import Store
from hunting_pipeline.lake.write import Origin, stage, staged_pieces
from hunting_pipeline.model import (
    Histogram,
    Partition,
    Progress,
    Receipt,
    Report,
    Slice,
    Staged,
    Step,
    TableSpec,
    Window,
)
from hunting_pipeline.pipeline.calls import Calls
from hunting_pipeline.pipeline.cutting import Cutter, Fetched

__all__ = ["Pull"]

_DEFERRED = (SliceTooDense, CommitRefused)
"""Errors that concern one partition: the others go on, and the error is raised at the end."""

_SHOWN = 5
"""Partitions that a message names before it says how many more there are."""


@dataclass(frozen=True)
class Lake:
    """Where a pull writes, and in whose name."""

    store: Store
    author: Author
    now_ticks: Callable[[], int]


@dataclass(slots=True)
class _Count:
    slices: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class _Landed:
    slice_: Slice
    pieces: tuple[Staged, ...]


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
        debt: window.Debt,
        archive: dict[Partition, Manifest],
        calls: Callable[[Callable[[str], None]], Calls],
        width: plan.Width,
        lake: Lake,
        workers: int,
        force: bool,
        observe: Callable[[Progress], None],
    ) -> None:
        self.spec = spec
        self.debt = debt
        self._archive = archive
        self._calls = calls(partial(self._tell, Step.WAITING))
        self._cutter = Cutter(spec, self._calls, width)
        self._lake = lake
        self._workers = workers
        self._force = force
        self._observe = observe
        self._todo = _Todo.of(debt)
        self._receipts: list[Receipt] = []
        self._resumed = 0
        self._fetched = _Count()
        self._planned = _Count()
        self._errors: list[HuntingError] = []

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
            covered=self.debt.covered,
            future=self.debt.future,
            resumed=self._resumed,
        )

    @property
    def width(self) -> plan.Width:
        """What is known of the table's width now."""
        return self._cutter.width

    def dry_run(self) -> list[Slice]:
        """The slices that would be fetched; costs the calls that counting needs and writes nothing."""
        return list(self._slices())

    def __iter__(self) -> Iterator[Receipt]:
        self._resume()
        yield from self._commit_whole_ones()
        try:
            slices = self._slices()
            with ThreadPoolExecutor(self._workers, thread_name_prefix=self.spec.name) as pool:
                yield from self._work(pool, slices)
        except HuntingError as error:
            self._errors.append(error)
            yield from self._commit_whole_ones()
        self._raise()

    def _resume(self) -> None:
        """Take up what an earlier run staged."""
        for partition in self._todo.partitions:
            for piece in staged_pieces(self._lake.store, partition, self.spec.shape):
                if self._todo.wants(piece):
                    self._todo.add(piece)
                    self._resumed += 1

    def _slices(self) -> Iterator[Slice]:
        """Count what is left, and cut it lazily, so that every reply's width helps the next slice."""
        windows = merge_windows(self._todo.missing())
        if not windows:
            return iter(())
        if self.spec.time_column is None:
            slices = [self._cutter.snapshot()]
            self._plan(len(slices), sum(s.expected.rows for s in slices))
            return iter(slices)
        histograms = self._cutter.histograms(windows)
        now = list(self._pack(histograms))
        self._plan(len(now), sum(slice_.expected.rows for slice_ in now))
        return self._pack(histograms)

    def _pack(self, histograms: Sequence[Histogram]) -> Iterator[Slice]:
        for histogram in histograms:
            for window_ in histogram.windows:
                yield from plan.pack(histogram, window_, target=self._cutter.target, table=self.spec.name)

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
                    self._todo.outstanding.add(slice_)
                    running[pool.submit(self._fetch, slice_)] = slice_
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    divided.extendleft(reversed(self._land(future, running.pop(future))))
                yield from self._commit_whole_ones()
        finally:  # what is under way has been paid for: let it land
            for future in running:
                future.cancel()
            for future in wait(running).done:
                if not future.cancelled() and future.exception() is None:
                    self._land(future, running[future])

    def _fetch(self, slice_: Slice) -> _Landed | tuple[Slice, ...]:
        """In a worker: one slice, staged; or the slices to fetch in its place."""
        outcome = self._cutter.fetch(slice_)
        if not isinstance(outcome, Fetched):
            return outcome
        pieces = stage(
            self._lake.store,
            outcome.reply,
            slice_=outcome.slice_,
            spec=self.spec,
            partitions=self._todo.touched(slice_),
            origin=Origin(outcome.query, self._lake.now_ticks()),
        )
        return _Landed(outcome.slice_, pieces)

    def _land(self, future: _Outcome, slice_: Slice) -> Sequence[Slice]:
        """Take a worker's result; returns the slices that must be fetched in its place."""
        try:
            result = future.result()
        except _DEFERRED as error:
            self._errors.append(error)
            self._todo.give_up(slice_)
            return ()
        self._todo.outstanding.discard(slice_)
        if not isinstance(result, _Landed):
            self._todo.outstanding.update(result)
            self._planned.slices += len(result) - 1
            self._tell(Step.SPLIT, f"{slice_} is too much for one reply: cut into {len(result)}")
            return result
        for piece in result.pieces:
            self._todo.add(piece)
        self._fetched.slices += 1
        self._fetched.rows += result.slice_.expected.rows
        self._tell(Step.FETCHED, f"{self._fetched.slices} of about {self._planned.slices} slices")
        return ()

    def _commit_whole_ones(self) -> Iterator[Receipt]:
        for partition in self._todo.whole():
            try:
                receipt = self._commit(partition)
            except _DEFERRED as error:
                self._errors.append(error)
                continue
            self._receipts.append(receipt)
            self._tell(Step.COMMITTED, f"{partition.key} committed, {receipt.tally.rows:,} rows")
            yield receipt

    def _commit(self, partition: Partition) -> Receipt:
        store = self._lake.store
        newest = max(self._archive.values(), key=lambda manifest: manifest.committed_at, default=None)
        return commit(
            store,
            partition,
            staged=self._todo.take(partition),
            archived=self._archive.get(partition),
            known=known_schema(store, newest),
            spec=self.spec,
            author=self._lake.author,
            now=self._lake.now_ticks(),
            force=self._force,
        )

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
        """Raise what went wrong, the first as the error and the others as its notes."""
        if self.debt.forgotten:
            self._errors.append(_beyond_retention(self.debt.forgotten, self.spec))
        if self._errors:
            first, *others = self._errors
            for other in others:
                first.add_note(str(other))
            raise first


@dataclass(slots=True)
class _Todo:
    """What is owed of each partition, and the pieces that have come; kept by the main thread.

    `outstanding` are the slices begun and not landed: a bucketed slice is only whole with its last bucket.
    """

    owed: dict[Partition, list[Window]]
    pieces: dict[Partition, list[Staged]]
    size: int
    outstanding: set[Slice] = field(default_factory=set)

    @classmethod
    def of(cls, debt: window.Debt) -> "_Todo":
        owed: dict[Partition, list[Window]] = {}
        for partition, span in debt.owed:
            owed.setdefault(partition, []).append(span)
        return cls(owed, {partition: [] for partition in owed}, len(owed))

    @property
    def partitions(self) -> tuple[Partition, ...]:
        return tuple(self.owed)

    def wants(self, piece: Staged) -> bool:
        """Whether a staged piece lies within what is owed."""
        spans = self.owed[piece.partition]
        return piece.span is not None and any(span.contains(piece.span) for span in spans)

    def add(self, piece: Staged) -> None:
        self.pieces[piece.partition].append(piece)

    def missing(self) -> list[Window]:
        """The spans that no piece covers yet."""
        return [
            gap
            for partition, spans in self.owed.items()
            for span in spans
            for gap in window.subtract(span, _spans(self.pieces[partition]))
        ]

    def touched(self, slice_: Slice) -> tuple[Partition, ...]:
        """The partitions a slice has rows for."""
        if slice_.window is None:
            return tuple(self.owed)
        return tuple(p for p in self.owed if p.window.intersection(slice_.window))

    def whole(self) -> Iterator[Partition]:
        """Partitions of which nothing is missing any more, oldest first."""
        for partition in sorted(self.owed):
            if not self._open(partition):
                yield partition

    def _open(self, partition: Partition) -> bool:
        spans = _spans(self.pieces[partition])
        return any(window.subtract(span, spans) for span in self.owed[partition]) or any(
            slice_.window is None or slice_.window.intersection(partition.window)
            for slice_ in self.outstanding
        )

    def take(self, partition: Partition) -> list[Staged]:
        """The pieces of a whole partition, which is then done with."""
        del self.owed[partition]
        return self.pieces.pop(partition)

    def give_up(self, slice_: Slice) -> None:
        """A slice cannot be had: its partitions stay as they are."""
        for partition in self.touched(slice_):
            del self.owed[partition]


def _spans(pieces: Iterable[Staged]) -> list[Window]:
    """The spans of pieces; a snapshot piece stands for its whole day."""
    return [piece.span or piece.partition.window for piece in pieces]


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
