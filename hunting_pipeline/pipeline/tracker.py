"""The progress of a pull: a `Progress` for the observer at every step."""

from collections.abc import Callable
from dataclasses import dataclass

from hunting_pipeline.model import Progress, Receipt, Slice, Step
from hunting_pipeline.pipeline.calls import Spent

__all__ = ["Observer", "Tracker", "new_tracker"]

Observer = Callable[[Progress], None]
"""Called after every step of a pull."""


@dataclass(slots=True)
class Tracker:
    """The figures of a pull, sent to its observer.

    Attributes:
        table: the table's name.
        observe: the observer.
        spent: the cost of the calls.
    """

    table: str
    observe: Observer
    spent: Spent
    _slices: int = 0
    _slices_planned: int = 0
    _rows: int = 0
    _rows_planned: int = 0
    _partitions: int = 0
    _partitions_planned: int = 0

    def begin(self, partitions: int) -> None:
        """Set the number of partitions to commit."""
        self._partitions_planned = partitions

    def waiting(self, message: str) -> None:
        """Report a wait for quota."""
        self._report(Step.WAITING, message)

    def planned(self, slices: int, rows: int) -> None:
        """Report the result of counting."""
        self._slices_planned, self._rows_planned = self._slices + slices, self._rows + rows
        self._report(Step.PLANNED, f"{rows:,} rows in about {slices} slices")

    def fetched(self, rows: int) -> None:
        """Report a slice that was fetched and staged."""
        self._slices += 1
        self._rows += rows
        self._report(Step.FETCHED, f"{self._slices} of about {self._slices_planned} slices")

    def split(self, slice_: Slice, parts: int) -> None:
        """Report a slice that is replaced by smaller slices."""
        self._slices_planned += parts - 1
        self._report(Step.SPLIT, f"{slice_} is cut into {parts} slices")

    def committed(self, receipt: Receipt) -> None:
        """Report a commit."""
        self._partitions += 1
        message = f"{receipt.partition.key} committed, {receipt.proof.rows:,} rows"
        self._report(Step.COMMITTED, message)

    def _report(self, step: Step, message: str) -> None:
        self.observe(
            Progress(
                table=self.table,
                step=step,
                message=f"{self.table}: {message}",
                slices=self._slices,
                slices_planned=self._slices_planned,
                rows=self._rows,
                rows_planned=self._rows_planned,
                partitions=self._partitions,
                partitions_planned=self._partitions_planned,
                calls=self.spent.calls,
            )
        )


def new_tracker(table: str, observe: Observer | None) -> Tracker:
    """Return the tracker of a new pull or query. Without an observer, it reports to no one."""
    return Tracker(table, observe or _ignore, Spent())


def _ignore(progress: Progress) -> None:
    del progress
