"""A pull of one table: resume, count, rows without a time, all other rows, publish, raise."""

from collections.abc import Iterator, Sequence

from hunting_pipeline import plan, window
from hunting_pipeline.errors import BeyondRetention, HuntingError, Misconfigured
from hunting_pipeline.model import NULL_TIME, Partition, Receipt, Report, Slice, TableSpec
from hunting_pipeline.pipeline.batch import OF_ONE_PARTITION, Batch
from hunting_pipeline.pipeline.landing import Landing
from hunting_pipeline.pipeline.splitter import Splitter
from hunting_pipeline.pipeline.tracker import Tracker
from hunting_pipeline.publish import Publisher

__all__ = ["Pull"]

_SHOWN = 5
"""Partitions that a message names before it says how many more there are."""


class Pull:
    """One table's partitions on their way into the lake.

    Iterate it once: it yields a `Receipt` as each partition is committed, oldest first as far as replies
    allow, and raises after everything that could be done is done. `report` says at any time what was done.
    Closing the iterator early stops after the calls that are under way; staged slices stay for the next run.
    """

    def __init__(
        self,
        splitter: Splitter,
        backlog: window.Backlog,
        *,
        landing: Landing,
        tracker: Tracker,
        workers: int,
        publishers: Sequence[Publisher] = (),
        discard: Sequence[Partition] = (),
    ) -> None:
        self.spec = splitter.spec
        self.backlog = backlog
        self._splitter = splitter
        self._landing = landing
        self._tracker = tracker
        self._workers = workers
        self._publishers = publishers
        self._discard = (*backlog.covered, *discard)
        self._batch = Batch(splitter, backlog.missing, landing=landing, tracker=tracker, workers=workers)

    @property
    def report(self) -> Report:
        """What has been done so far."""
        spent = self._tracker.spent
        return Report(
            table=self.spec.name,
            receipts=tuple(self._landing.receipts),
            calls=spent.calls,
            running_seconds=spent.running_seconds,
            waited_seconds=spent.waited_seconds,
            covered=self.backlog.covered,
            future=self.backlog.future,
            resumed=self._batch.resumed,
        )

    @property
    def width(self) -> plan.Width:
        """The table's width as learnt so far."""
        return self._splitter.width

    def dry_run(self) -> list[Slice]:
        """Return the slices that would be fetched; costs the calls of counting and writes nothing."""
        return list(self._batch.count())

    def __iter__(self) -> Iterator[Receipt]:
        yield from self._run(self._batch, discard=self._discard)
        errors = list(self._batch.errors)
        if not any(isinstance(error, Misconfigured) for error in errors):
            errors += self._publish()
        if forgotten := [*self.backlog.forgotten, *self._batch.todo.lost]:
            errors.append(_beyond_retention(forgotten, self.spec))
        if errors:
            raise _combined(errors)

    def _run(self, batch: Batch, *, discard: Sequence[Partition] = ()) -> Iterator[Receipt]:
        """Commit what can be committed; afterwards `batch.errors` says what went wrong."""
        yield from batch.resume(discard=discard)
        try:
            if wanted := batch.todo.partitions:
                self._landing.prove_writable(wanted[0])
            slices = batch.count()
            if wanted:
                self._landing.claim()
            yield from self._rows_without_a_time(batch)
            yield from batch.work(slices)
        except HuntingError as error:
            batch.errors.append(error)
            yield from batch.commit_whole()

    def _rows_without_a_time(self, batch: Batch) -> Iterator[Receipt]:
        """Fetch all rows whose time is null, if the service holds more than are archived.

        No slice of time holds these rows. If the service holds fewer, the archived rows stay: it is unknown
        which of them the service has forgotten. These rows come first, because they are counted only while
        something else is missing: a run that dies after them leaves that backlog to the next run.
        """
        partition = Partition(self.spec.name, NULL_TIME)
        if batch.null_time <= self._landing.archived_rows(partition):
            return
        null_time = Batch(
            self._splitter.for_null_time(window.null_time_spec(self.spec)),
            [(partition, NULL_TIME)],
            landing=self._landing,
            tracker=Tracker(self.spec.name, self._tracker.observe, self._tracker.spent),
            workers=self._workers,
        )
        yield from self._run(null_time)
        if null_time.errors:
            error = _combined(null_time.errors)
            if not isinstance(error, OF_ONE_PARTITION):
                raise error
            batch.errors.append(error)

    def _publish(self) -> list[HuntingError]:
        """Publish what the lake holds, once a run; return the errors, which undo no commit."""
        errors: list[HuntingError] = []
        receipts = tuple(self._landing.receipts)
        for publisher in self._publishers:
            try:
                publisher.publish(self._landing.store, self.spec, receipts)
            except HuntingError as error:
                errors.append(error)
        return errors


def _combined(errors: Sequence[HuntingError]) -> HuntingError:
    """Return what ended the run, with the other errors as notes; errors of single partitions go last.

    A run that is repeated because of the first error meets the other errors again.
    """
    of_partitions = (*OF_ONE_PARTITION, BeyondRetention)
    first, *others = sorted(errors, key=lambda error: isinstance(error, of_partitions))
    for other in others:
        first.add_note(other.marked)
    return first


def _beyond_retention(partitions: Sequence[Partition], spec: TableSpec) -> BeyondRetention:
    keys = ", ".join(partition.key for partition in partitions[:_SHOWN])
    more = f" and {len(partitions) - _SHOWN} more" if len(partitions) > _SHOWN else ""
    why = (
        "the table has no time column, so only today's snapshot can be taken"
        if spec.time_column is None
        else "the service has forgotten these partitions"
    )
    return BeyondRetention(
        f"{spec.name} {keys}{more}: {why}. They were not asked for, and their archive is untouched"
    )
