"""The selection on a command line: a tenant, tables, and a range of days."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from hunting_pipeline.catalog import catalog, spec
from hunting_pipeline.hunt_files import SUFFIX, hunt_file
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.lake.table_schema import load_schema
from hunting_pipeline.model import Partition, TableSpec, Window, iso_of, ticks_of
from hunting_pipeline.settings import TENANT_VARIABLE, Settings
from hunting_pipeline.window import available, partition_of, partitions_in

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


def selected_tables(names: Sequence[str], settings: Settings, store: Store) -> list[TableSpec]:
    """Return the named tables, else those of the setting `tables`, else all tables that are not deprecated.

    A name that ends in `.kql` is the path of a hunt file. The grain of a table is the grain of its archive.
    The grain of a hunt comes from its file. The settings complete both.

    Raises:
        Misconfigured: a name is not a hunting table, or a hunt file is wrong.
    """
    chosen = names or settings.tables or [entry.name for entry in catalog().values() if not entry.deprecated]
    return [
        settings.completed(
            hunt_file(Path(name)).spec if name.endswith(SUFFIX) else _as_archived(spec(name), store)
        )
        for name in dict.fromkeys(chosen)
    ]


def _as_archived(spec: TableSpec, store: Store) -> TableSpec:
    schema = load_schema(store, spec.name)
    return replace(spec, grain=schema.grain) if schema else spec


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
        overlapping = partitions_in(spec, self.window)
        if spec.time_column is None:
            today = partition_of(spec, self.now)
            return (today,) if self.open_end or today in overlapping else overlapping
        return overlapping

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
