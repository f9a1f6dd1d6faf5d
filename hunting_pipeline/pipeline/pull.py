"""A pull of one table: resume, count, fetch null-time rows, fetch all other rows, publish, raise errors."""

from collections.abc import Callable, Iterator, Sequence

from hunting_pipeline import plan, window
from hunting_pipeline.errors import BeyondRetention, CommitRefused, HuntingError, Misconfigured
from hunting_pipeline.http.service_clock import ServiceClock
from hunting_pipeline.model import NULL_TIME, Partition, Receipt, Report, Slice, TableSpec
from hunting_pipeline.pipeline.batch import OF_ONE_PARTITION, Batch
from hunting_pipeline.pipeline.health import list_some
from hunting_pipeline.pipeline.landing import Landing
from hunting_pipeline.pipeline.splitter import Splitter
from hunting_pipeline.pipeline.tracker import Tracker
from hunting_pipeline.publish import Publisher

__all__ = ["OF_PARTITIONS", "Pull", "combined"]

OF_PARTITIONS = (*OF_ONE_PARTITION, BeyondRetention)
"""Errors that concern some partitions. The others are archived before a run ends with such an error."""

_SHOWN = 5
"""Most partitions that a message names."""


class Pull:
    """A pull of one table's missing partitions into the lake.

    Iterate a `Pull` once. It yields a `Receipt` after the commit of each partition: the oldest first, if the
    replies arrive in this order. Errors are raised at the end, after all other work. `report` returns the
    results so far at any time. Closing the iterator early stops the pull after the calls in flight. Staged
    segments stay for the next run.

    The first reply may show that this machine's clock is wrong. Then the backlog is decided and counted again
    by the service's time, before rows are fetched.

    Args:
        splitter: fetches the slices.
        decide: decides the backlog by the current time.
        clock: the clock of the service.
        landing: stages and commits the rows.
        tracker: reports the progress.
        workers: number of simultaneous calls.
        publishers: the table formats to publish to.
        discard_staged: remove segments that an earlier run staged.
        refused: errors of requested partitions that the pull cannot replace, because a file is damaged.
    """

    def __init__(
        self,
        splitter: Splitter,
        decide: Callable[[], window.Backlog],
        *,
        clock: ServiceClock,
        landing: Landing,
        tracker: Tracker,
        workers: int,
        publishers: Sequence[Publisher] = (),
        discard_staged: bool = False,
        refused: Sequence[CommitRefused] = (),
    ) -> None:
        self.spec = splitter.spec
        self.backlog = backlog = decide()
        self._decide = decide
        self._clock = clock
        self._splitter = splitter
        self._landing = landing
        self._tracker = tracker
        self._workers = workers
        self._publishers = publishers
        self.refused = tuple(dict.fromkeys(refused))
        again = [partition for partition, _ in backlog.missing] if discard_staged else ()
        self._discard = (*backlog.covered, *again)
        self._batch = Batch(splitter, backlog.missing, landing=landing, tracker=tracker, workers=workers)

    def set_null_time(self, rows: int) -> None:
        """Set the number of null-time rows that the service holds, as a recount found it."""
        self._batch.null_time = rows

    @property
    def report(self) -> Report:
        """The results so far."""
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
        """The width of the table's rows, as measured so far."""
        return self._splitter.width

    def dry_run(self) -> list[Slice]:
        """Return the slices that a pull would fetch. Sends only the calls that count; writes nothing."""
        return list(self._count(self._batch))

    def __iter__(self) -> Iterator[Receipt]:
        yield from self._batch.resume(discard=self._discard)
        yield from self._run(self._batch)
        errors = [*self._batch.errors, *self.refused]
        if not any(isinstance(error, Misconfigured) for error in errors):
            errors += self._publish()
        if forgotten := [*self.backlog.forgotten, *self._batch.todo.lost]:
            errors.append(_beyond_retention(forgotten, self.spec))
        if errors:
            raise combined(errors)

    def _run(self, batch: Batch) -> Iterator[Receipt]:
        """Commit all partitions that can be committed. Afterwards `batch.errors` holds the errors."""
        try:
            if wanted := batch.todo.partitions:
                self._landing.prove_writable(wanted[0])
            slices = self._count(batch)
            if batch.todo.partitions:
                self._landing.claim()
            yield from self._rows_without_a_time(batch)
            yield from batch.work(slices)
        except HuntingError as error:
            batch.errors.append(error)
            yield from batch.commit_whole()

    def _count(self, batch: Batch) -> Iterator[Slice]:
        """Count the missing rows and return their slices. Decide and count again if the time was wrong."""
        time_known = self._clock.difference is not None
        slices = batch.count()
        if time_known or not self._clock.machine_wrong:
            return slices
        self.backlog = self._decide()
        batch.want(self.backlog.missing)
        return batch.count()

    def _rows_without_a_time(self, batch: Batch) -> Iterator[Receipt]:
        """Fetch all rows whose time is null, if the service holds more of them than are archived.

        No slice of time holds these rows. If the service holds fewer, the archived rows stay, because it is
        unknown which rows the service has deleted. A pull counts them only while other rows are missing, so
        they are fetched first. If a run dies later, the next run still has missing rows and counts again. A
        reconcile always counts them.
        """
        partition = Partition(self.spec.name, NULL_TIME)
        if batch.null_time and (damage := self._landing.damage(partition)):
            batch.errors.append(damage)
            return
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
            error = combined(null_time.errors)
            if not isinstance(error, OF_ONE_PARTITION):
                raise error
            batch.errors.append(error)

    def _publish(self) -> list[HuntingError]:
        """Publish the lake's table once per run, and return the errors. The commits stay after an error."""
        errors: list[HuntingError] = []
        receipts = tuple(self._landing.receipts)
        for publisher in self._publishers:
            try:
                publisher.publish(self._landing.store, self.spec, receipts)
            except HuntingError as error:
                errors.append(error)
        return errors


def combined(errors: Sequence[HuntingError]) -> HuntingError:
    """Return the error that ended the run, with the other errors as notes.

    Errors of single partitions go last: if the first error leads to a new run, that run raises them again.
    """
    first, *others = sorted(errors, key=lambda error: isinstance(error, OF_PARTITIONS))
    for other in others:
        for text in (other.marked, *getattr(other, "__notes__", ())):
            first.add_note(text)
    return first


def _beyond_retention(partitions: Sequence[Partition], spec: TableSpec) -> BeyondRetention:
    keys = list_some([partition.key for partition in partitions], shown=_SHOWN)
    why = (
        "the table has no time column, so only today's snapshot can be taken"
        if spec.time_column is None
        else "the service no longer holds these partitions"
    )
    return BeyondRetention(
        f"{spec.name} {keys}: {why}. They were not requested, and their archive is unchanged"
    )
