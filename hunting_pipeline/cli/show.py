"""Print tables and named values for people, on standard output."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hunting_pipeline.cli.text import visible

__all__ = ["print_facts", "print_table"]

_PLAIN_WIDTH = 150
"""Characters in a line if standard output is not a terminal."""

_out = Console(highlight=False)
if not _out.is_terminal:
    _out = Console(highlight=False, width=_PLAIN_WIDTH)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table. The first column is left-aligned, the other columns are right-aligned."""
    table = Table(title=Text(visible(title)), title_justify="left", header_style="bold", box=box.SIMPLE_HEAD)
    for position, column in enumerate(columns):
        table.add_column(
            Text(visible(column)), justify="left" if position == 0 else "right", no_wrap=position == 0
        )
    for row in rows:
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else visible(str(cell))) for cell in row))
    _out.print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print named values, one on each line."""
    for name, value in facts.items():
        _out.print(Text.assemble((visible(name), "bold"), f" {visible(str(value))}"), soft_wrap=True)
