"""The catalogue of documented hunting tables. Its data are in `tables.json` and `descriptions.json`.

The catalogue gives the time column of each table and a first estimate of the bytes per row. It gives no types
to the pipeline: types come from each reply's Schema.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.model import Column, Grain, TableSpec, TimestampUnit

__all__ = ["Entry", "catalog", "column_description", "entry", "spec"]

_VALUE_BYTES = {"dynamic": 60, "datetime": 30, "string": 24}
"""JSON bytes of a typical value, quotes included, by Kusto type. All other types count as 6."""

_KEY_BYTES = 4
"""Bytes of the quotes, colon and comma around a column's name in every row."""

_ALIKE = 0.8
"""The least similarity (0 to 1) of a misspelt name: one or two letters of ten differ."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A documented table.

    Attributes:
        name: its name in the service.
        service: the Defender service that fills it.
        time_column: the column by which the table is cut into slices; None for a snapshot table.
        bytes_per_row: JSON bytes of a row: estimated from the columns and from a sample, the larger of both.
        columns: the documented columns; a tenant may have more.
        description: a sentence that says what is in the table.
        preview, deprecated: whether the documentation calls the table a preview, or deprecated.
    """

    name: str
    service: str
    time_column: str | None
    bytes_per_row: int
    columns: tuple[Column, ...]
    description: str
    preview: bool = False
    deprecated: bool = False

    def check_column(self, column: str) -> None:
        """Check that a column's name is not misspelt.

        A name that is similar to no documented column is accepted, because a tenant may have more columns.

        Raises:
            Misconfigured: the name is not documented, but a similar name is.
        """
        names = [known.name for known in self.columns]
        near = [] if column in names else get_close_matches(column, names, n=1, cutoff=_ALIKE)
        if near:
            raise Misconfigured(f"{self.name} has no column {column!r}; did you mean {near[0]}?")


@cache
def catalog() -> Mapping[str, Entry]:
    """Load all documented tables, by name."""
    described = _data("descriptions.json")["tables"]
    return MappingProxyType(
        {
            name: _entry(name, description=described[name], **fields)
            for name, fields in _data("tables.json").items()
        }
    )


def column_description(name: str) -> str | None:
    """Return what a column means, for columns that mean the same in all tables; None for other columns."""
    found: str | None = _data("descriptions.json")["columns"].get(name)
    return found


@cache
def _data(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files("hunting_pipeline").joinpath(name).read_text("utf-8"))
    return found


def _entry(
    name: str, *, columns: Mapping[str, str], bytes_per_row: int | None = None, **fields: object
) -> Entry:
    estimate = sum(
        len(key) + _KEY_BYTES + _VALUE_BYTES.get(kusto_type, 6) for key, kusto_type in columns.items()
    )
    named = tuple(Column(column, kusto_type) for column, kusto_type in columns.items())
    return Entry(name, columns=named, bytes_per_row=max(bytes_per_row or 0, estimate), **fields)  # type: ignore[arg-type] # read from JSON


def entry(name: str) -> Entry:
    """Return a documented table.

    Raises:
        Misconfigured: there is no such table; the message names similar tables.
    """
    try:
        return catalog()[name]
    except KeyError:
        near = get_close_matches(name, catalog(), n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else "; `hunting tables` lists all tables"
        raise Misconfigured(f"there is no hunting table {name!r}{hint}") from None


def spec(
    name: str,
    *,
    grain: Grain = Grain.DAY,
    columns: tuple[str, ...] = (),
    where: str = "",
    evolve: bool = True,
    timestamp_unit: TimestampUnit | None = None,
) -> TableSpec:
    """Build the specification of a table to archive. The time column is added to a list of columns.

    Raises:
        Misconfigured: there is no such table, or a snapshot table has an hourly grain.
    """
    known = entry(name)
    if known.time_column is None and grain is Grain.HOUR:
        raise Misconfigured(
            f"{name} has no time column. Set its grain to day: it is archived as one snapshot a day"
        )
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
        timestamp_unit=timestamp_unit,
    )
