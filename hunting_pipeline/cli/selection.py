"""The selection on a command line: a tenant, tables, and a range of days."""

from dataclasses import dataclass

import typer

from hunting_pipeline.api import selected_tables
from hunting_pipeline.cli.names import Tables
from hunting_pipeline.cli.options import From, Tenant, To
from hunting_pipeline.model import Partition, TableSpec, Window, iso_of
from hunting_pipeline.moments import ticks_at
from hunting_pipeline.window import available, selected_partitions

__all__ = ["DateRange", "From", "Tables", "Tenant", "To", "selected_tables"]


@dataclass(frozen=True, slots=True)
class DateRange:
    """The half-open window of `--from` and `--to`.

    By default, it is the window that is available in the service. Without `--to`, the window of a snapshot
    table includes today's snapshot.
    """

    window: Window
    now: int
    open_end: bool

    @classmethod
    def of(cls, start: str | None, end: str | None, *, now: int, retention_days: int) -> "DateRange":
        """Read the options, see `moments.FORMS`. `now` is in ticks.

        Raises:
            typer.BadParameter: the window is empty, backwards or in the future.
            Misconfigured: a text is not a date.
        """
        whole = available(now, retention_days)
        first = ticks_at(start, now) if start else whole.start
        last = ticks_at(end, now) if end else whole.end
        if first >= last:
            first_name, last_name = start or iso_of(first), end or iso_of(last)
            raise typer.BadParameter(
                f"--from {first_name} is not before --to {last_name}: the window is empty"
            )
        if first >= now:
            raise typer.BadParameter(f"--from {start} is in the future")
        return cls(Window(first, last), now, end is None)

    def partitions(self, spec: TableSpec) -> tuple[Partition, ...]:
        """Return the partitions in the window. Of a snapshot table, return only today's if it is included."""
        return selected_partitions(spec, self.window, now=self.now, open_end=self.open_end)

    def __str__(self) -> str:
        return str(self.window)
