"""Progress of pulls, on standard error."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from hunting_pipeline.cli.log import inform, is_json
from hunting_pipeline.model import Progress, Step
from hunting_pipeline.progress import bars

__all__ = ["counted", "reporting"]

T = TypeVar("T")


def counted(items: Iterable[T], *, total: int, label: str, quiet: bool) -> Iterator[T]:
    """Yield items while a bar on a terminal, or lines elsewhere, show their number, unless `quiet`.

    The label is the name of a table.
    """
    console = Console(stderr=True, highlight=False)
    if quiet or (console.is_terminal and not is_json()):
        yield from track(items, label, total=total, console=console, disable=quiet)
        return
    for number, item in enumerate(items, 1):
        inform(f"{label}: {number:,} of {total:,}", table=label)
        yield item


@contextmanager
def reporting(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield an observer of pulls. It draws bars on a terminal and prints lines elsewhere, unless `quiet`."""
    if quiet:
        yield lambda _progress: None
        return
    if is_json():
        yield _print_line
        return
    with bars(Console(stderr=True, highlight=False)) as drawn:
        yield drawn or _print_line


def _print_line(progress: Progress) -> None:
    rows = f", {progress.rows:,} rows" if progress.step is Step.FETCHED else ""
    inform(f"{progress.message}{rows}", table=progress.table)
