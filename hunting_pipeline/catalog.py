"""What the hunting tables look like, as far as documentation knows: data, in `tables.json` beside this file.

The catalogue says which column holds the time and gives a first guess of a row's width. It never decides a
type: those come from each reply's Schema.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.model import Column, Grain, TableSpec

__all__ = ["Entry", "catalog", "entry", "spec"]

_VALUE_BYTES = {"dynamic": 60, "datetime": 30, "string": 24}
"""JSON bytes of a typical value, quotes included, where no table was sampled; 6 for numbers and nulls."""

_KEY_BYTES = 4
"""Quotes, colon and comma around a column's name, which every row repeats."""


_ALIKE = 0.8
"""Likeness, of 1, at which an unknown column is taken for a misspelt one: a letter or two of ten differ."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A documented table.

    Attributes:
        name: in the service.
        service: the Defender service that fills it.
        time_column: what slices are cut by; None for a snapshot table.
        bytes_per_row: JSON bytes of a row, estimated from its columns or sampled, whichever is more.
        columns: as documented; a tenant may have more.
        preview, deprecated: as documented.
    """

    name: str
    service: str
    time_column: str | None
    bytes_per_row: int
    columns: tuple[Column, ...]
    preview: bool = False
    deprecated: bool = False

    def check_column(self, column: str) -> None:
        """Accept a documented column, and one so different from all of them that it may be a tenant's own.

        Raises:
            Misconfigured: it is nearly a documented one.
        """
        names = [known.name for known in self.columns]
        near = [] if column in names else get_close_matches(column, names, n=1, cutoff=_ALIKE)
        if near:
            raise Misconfigured(f"{self.name} has no column {column!r}; did you mean {near[0]}?")


@cache
def catalog() -> Mapping[str, Entry]:
    """Every documented table by name."""
    tables = json.loads(files("hunting_pipeline").joinpath("tables.json").read_text("utf-8"))
    return MappingProxyType({name: _entry(name, **fields) for name, fields in tables.items()})


def _entry(
    name: str, *, columns: Mapping[str, str], bytes_per_row: int | None = None, **fields: object
) -> Entry:
    estimate = sum(
        len(key) + _KEY_BYTES + _VALUE_BYTES.get(kusto_type, 6) for key, kusto_type in columns.items()
    )
    named = tuple(Column(column, kusto_type) for column, kusto_type in columns.items())
    return Entry(name, columns=named, bytes_per_row=max(bytes_per_row or 0, estimate), **fields)  # type: ignore[arg-type] # read from JSON


def entry(name: str) -> Entry:
    """A documented table.

    Raises:
        Misconfigured: no such table; the message names the nearest ones.
    """
    try:
        return catalog()[name]
    except KeyError:
        near = get_close_matches(name, catalog(), n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else "; `hunting tables` lists them"
        raise Misconfigured(f"no hunting table is called {name!r}{hint}") from None


def spec(
    name: str,
    *,
    grain: Grain = Grain.DAY,
    columns: tuple[str, ...] = (),
    where: str = "",
    evolve: bool = True,
) -> TableSpec:
    """The table as it is to be archived. Asked-for columns always include the time column.

    Raises:
        Misconfigured: no such table, or an hourly grain for a snapshot table.
    """
    known = entry(name)
    if known.time_column is None and grain is Grain.HOUR:
        raise Misconfigured(f"{name} has no time column: it is taken as a snapshot a day, not an hour")
    if columns and known.time_column and known.time_column not in columns:
        columns = (known.time_column, *columns)
    return TableSpec(
        name=name,
        time_column=known.time_column,
        grain=grain,
        columns=columns,
        where=where,
        bytes_per_row=known.bytes_per_row,
        service=known.service,
        evolve=evolve,
    )
