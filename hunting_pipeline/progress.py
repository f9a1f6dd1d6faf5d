"""Progress bars of pulls and queries, in a terminal or a notebook."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from hunting_pipeline.model import Progress

__all__ = ["BarPerTable", "bars"]


class BarPerTable:
    """An observer that draws one bar for each table."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        """Draw one step."""
        if progress.table not in self._tasks:
            self._tasks[progress.table] = self._bars.add_task("", table=progress.table, rows=0, message="")
        message = progress.message.removeprefix(f"{progress.table}: ")
        self._bars.update(
            self._tasks[progress.table],
            completed=progress.slices,
            total=max(progress.slices_planned, progress.slices),
            rows=progress.rows,
            message="".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message),
        )


@contextmanager
def bars(console: Console) -> Iterator[BarPerTable | None]:
    """Yield an observer that draws bars; None if the console is neither a terminal nor a notebook.

    A notebook needs the package ipywidgets, or it shows a warning instead of bars.
    """
    if not (console.is_terminal or (console.is_jupyter and find_spec("ipywidgets"))):
        yield None
        return
    with Bars(
        TextColumn("{task.fields[table]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("slices · {task.fields[rows]:,} rows · {task.fields[message]}", markup=False),
        TimeElapsedColumn(),
        console=console,
    ) as drawn:
        yield BarPerTable(drawn)
