"""The emulator's own catalogue: every hunting table with its columns, usual volume and width."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TableSchema:
    """One table. `rows` is its volume in 30 days at scale 1; `filler` the mean length of its free text."""

    name: str
    time_column: str | None
    rows: int
    filler: int
    columns: tuple[tuple[str, str], ...]


@cache
def tables() -> dict[str, TableSchema]:
    """All tables by name."""
    entries = json.loads(Path(__file__).with_name("tables.json").read_text(encoding="utf-8"))
    return {
        name: TableSchema(name, entry["time"], entry["rows"], entry["filler"], tuple(entry["columns"].items()))
        for name, entry in entries.items()
    }
