"""What commands print: tables for people, JSON for programs, progress on standard error."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hunting_pipeline.model import Progress as Told
from hunting_pipeline.model import Step

__all__ = ["bytes_of", "duration_of", "following", "print_json", "print_table", "warn"]

_PLAIN_WIDTH = 150
"""Characters in a line where there is no terminal to ask."""

_out = Console(highlight=False)
if not _out.is_terminal:
    _out = Console(highlight=False, width=_PLAIN_WIDTH)
_err = Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table; columns whose name ends in a blank are left-aligned, figures are right-aligned."""
    table = Table(title=title, title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right", no_wrap=position == 0)
    for row in rows:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    _out.print(table)


def warn(message: str) -> None:
    """One line on standard error, never wrapped."""
    _err.print(message, markup=False, soft_wrap=True)


def bytes_of(size: float) -> str:
    """`1.2 GB`, in powers of ten as the service counts."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError(size)


def duration_of(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s` or `4.1 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


@contextmanager
def following(quiet: bool) -> Iterator[Callable[[Told], None]]:
    """An observer of pulls: bars on a terminal, lines otherwise, nothing if `quiet`."""
    if quiet:
        yield lambda _told: None
    elif not _err.is_terminal:
        yield _line
    else:
        with Progress(
            TextColumn("{task.fields[table]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("slices · {task.fields[rows]:,} rows · {task.fields[message]}"),
            TimeElapsedColumn(),
            console=_err,
        ) as bars:
            yield _Bars(bars)


def _line(told: Told) -> None:
    warn(told.message if told.step is not Step.FETCHED else f"{told.message}, {told.rows:,} rows")


class _Bars:
    """A bar for each table."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def __call__(self, told: Told) -> None:
        if told.table not in self._tasks:
            self._tasks[told.table] = self._bars.add_task("", table=told.table, rows=0, message="")
        self._bars.update(
            self._tasks[told.table],
            completed=told.slices,
            total=max(told.slices_planned, told.slices),
            rows=told.rows,
            message=told.message.removeprefix(f"{told.table}: "),
        )


def facts(values: Mapping[str, object]) -> None:
    """A few named facts, one a line."""
    for name, value in values.items():
        _out.print(f"[bold]{name}[/bold] {value}", soft_wrap=True)
