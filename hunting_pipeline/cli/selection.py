"""The selection on a command line: a tenant, tables, and a range of days."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import typer

from hunting_pipeline.api import selected_tables
from hunting_pipeline.model import Partition, TableSpec, Window, iso_of, ticks_of
from hunting_pipeline.settings import TENANT_VARIABLE
from hunting_pipeline.window import available, selected_partitions

__all__ = ["DateRange", "From", "Tables", "Tenant", "To", "selected_tables"]

Tables = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TABLE",
        help="names of tables, or paths of hunt files (.kql); default: all configured tables",
    ),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="DATE",
        help="start (UTC), included: YYYY-MM-DD or YYYY-MM-DDTHH; default: start of the retention",
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="DATE", help="end (UTC), excluded: YYYY-MM-DD or YYYY-MM-DDTHH; default: now"
    ),
]
Tenant = Annotated[
    str,
    typer.Option(
        "--tenant",
        envvar=TENANT_VARIABLE,
        metavar="NAME",
        help="name of the tenant, if several tenants are configured",
    ),
]


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
        """Read the options: `YYYY-MM-DD` or `YYYY-MM-DDTHH`, UTC. `now` is in ticks.

        Raises:
            typer.BadParameter: a text is not a date, or the window is empty, backwards or in the future.
        """
        whole = available(now, retention_days)
        first = _ticks(start, "--from") if start else whole.start
        last = _ticks(end, "--to") if end else whole.end
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


def _ticks(text: str, option: str) -> int:
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H"):
        try:
            return ticks_of(datetime.strptime(f"{text} +0000", f"{form} %z"))
        except ValueError:
            continue
    raise typer.BadParameter(
        f"{option} {text!r} is not a date: write YYYY-MM-DD, or YYYY-MM-DDTHH for an hour (UTC)"
    )
