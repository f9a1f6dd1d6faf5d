"""Progress of pulls, on standard error."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, track
from rich.progress import Progress as Bars

from hunting_pipeline.cli.text import visible, warn
from hunting_pipeline.model import Progress, Step

__all__ = ["counted", "reporting"]

T = TypeVar("T")


def counted(items: Iterable[T], *, total: int, label: str, quiet: bool) -> Iterator[T]:
    """Yield items while a bar on a terminal, or lines elsewhere, show their number, unless `quiet`."""
    console = Console(stderr=True, highlight=False)
    if quiet or console.is_terminal:
        yield from track(items, label, total=total, console=console, disable=quiet)
        return
    for number, item in enumerate(items, 1):
        warn(f"{label}: {number:,} of {total:,}")
        yield item


@contextmanager
def reporting(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield an observer of pulls. It draws bars on a terminal and prints lines elsewhere, unless `quiet`."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda _progress: None
    elif not console.is_terminal:
        yield _print_line
    else:
        with Bars(
            TextColumn("{task.fields[table]}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("slices · {task.fields[rows]:,} rows · {task.fields[message]}", markup=False),
            TimeElapsedColumn(),
            console=console,
        ) as bars:
            yield _BarPerTable(bars)


def _print_line(progress: Progress) -> None:
    rows = f", {progress.rows:,} rows" if progress.step is Step.FETCHED else ""
    warn(f"{progress.message}{rows}")


class _BarPerTable:
    """An observer that draws one bar for each table."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def __call__(self, progress: Progress) -> None:
        if progress.table not in self._tasks:
            self._tasks[progress.table] = self._bars.add_task("", table=progress.table, rows=0, message="")
        self._bars.update(
            self._tasks[progress.table],
            completed=progress.slices,
            total=max(progress.slices_planned, progress.slices),
            rows=progress.rows,
            message=visible(progress.message.removeprefix(f"{progress.table}: ")),
        )
