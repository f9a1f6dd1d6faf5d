"""What a command line asks for: tables, and a window of days."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import typer

from hunting_pipeline.catalog import catalog, spec
from hunting_pipeline.lake.manifest import archived_partitions
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import HOUR, Grain, Partition, TableSpec, Window, iso_of, ticks_of
from hunting_pipeline.settings import Settings
from hunting_pipeline.window import available, partition_of, partitions_in

__all__ = ["Asked", "asked_specs"]


def asked_specs(names: Sequence[str], settings: Settings, store: Store) -> list[TableSpec]:
    """The named tables; else those of the setting TABLES; else every table that is not deprecated.

    Each is asked for in the grain in which the lake holds it.

    Raises:
        Misconfigured: a name is no hunting table.
    """
    chosen = names or settings.tables or [entry.name for entry in catalog().values() if not entry.deprecated]
    return [_as_archived(spec(name), store) for name in dict.fromkeys(chosen)]


def _as_archived(spec: TableSpec, store: Store) -> TableSpec:
    hourly = any(partition.window.ticks == HOUR for partition in archived_partitions(store, spec.name))
    return replace(spec, grain=Grain.HOUR) if hourly else spec


@dataclass(frozen=True, slots=True)
class Asked:
    """The half-open window of `--from` and `--to`.

    What is not given is the edge of what the service holds; then a snapshot table means today's snapshot.
    """

    window: Window
    now: int
    open_end: bool

    @classmethod
    def of(cls, start: str | None, end: str | None, *, now: int, retention_days: int) -> "Asked":
        """Read the options: `YYYY-MM-DD` or `YYYY-MM-DDTHH`, UTC. `now` is in ticks.

        Raises:
            typer.BadParameter: no date, or a window that is empty, backwards or in the future.
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
        """The partitions that the window touches; of a snapshot table today's, if it is among them."""
        touched = partitions_in(spec, self.window)
        if spec.time_column is None:
            today = partition_of(spec, self.now)
            return (today,) if self.open_end or today in touched else touched
        return touched

    def __str__(self) -> str:
        return str(self.window)


def _ticks(text: str, option: str) -> int:
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H"):
        try:
            return ticks_of(datetime.strptime(f"{text} +0000", f"{form} %z"))
        except ValueError:
            continue
    raise typer.BadParameter(
        f"{option} {text!r} is no date: write YYYY-MM-DD, or YYYY-MM-DDTHH for an hour (UTC)"
    )
