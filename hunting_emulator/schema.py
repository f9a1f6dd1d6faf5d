"""The catalogue of the emulator: every hunting table with its columns, usual volume and width."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TableSchema:
    """One table.

    `rows` is the number of rows in 30 days at scale 1. `filler` is the mean length of free text, and `empty`
    is the percentage of optional texts that are missing. Both give rows the size of real rows. `retyped` has
    the original types of columns whose type was changed.
    """

    name: str
    time_column: str | None
    rows: int
    filler: int
    empty: int
    columns: tuple[tuple[str, str], ...]
    retyped: Mapping[str, str] = field(default_factory=dict)


@cache
def tables() -> dict[str, TableSchema]:
    """Return all tables by name."""
    entries = json.loads(Path(__file__).with_name("tables.json").read_text(encoding="utf-8"))
    return {
        name: TableSchema(
            name,
            entry["time"],
            entry["rows"],
            entry["filler"],
            entry["empty"],
            tuple(entry["columns"].items()),
        )
        for name, entry in entries.items()
    }


@dataclass(frozen=True, slots=True)
class Drift:
    """The difference between a table's schema and the catalogue."""

    add: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    retype: Mapping[str, str] = field(default_factory=dict)

    def applied(self, schema: TableSchema) -> TableSchema:
        """Return the schema after the change."""
        kept = [
            (name, self.retype.get(name, kind)) for name, kind in schema.columns if name not in self.remove
        ]
        before = {name: kind for name, kind in schema.columns if name in self.retype}
        return replace(schema, columns=(*kept, *self.add.items()), retyped=before)


def drifts(given: object) -> dict[str, Drift]:
    """Parse `{table: {add: {name: type}, remove: [name], retype: {name: type}}}`."""
    if not isinstance(given, dict):
        raise TypeError("drift is an object of tables")
    return {
        table: Drift(
            dict(change.get("add", {})), tuple(change.get("remove", ())), dict(change.get("retype", {}))
        )
        for table, change in given.items()
    }
