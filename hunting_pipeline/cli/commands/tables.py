"""`hunting tables`: list the documented tables."""

from hunting_pipeline.catalog import Entry, catalog
from hunting_pipeline.cli.show import print_table
from hunting_pipeline.cli.text import Json, print_json

__all__ = ["tables"]


def tables(as_json: Json = False) -> None:
    entries = list(catalog().values())
    if as_json:
        print_json([{"table": e.name, "service": e.service, "time_column": e.time_column,
                     "columns": len(e.columns), "preview": e.preview, "deprecated": e.deprecated}
                    for e in entries])  # fmt: skip
        return
    print_table(
        "Hunting tables",
        ["table", "service", "time column", "columns", "bytes per row", "state"],
        [
            [e.name, e.service, e.time_column or "– (snapshot)", len(e.columns), e.bytes_per_row, _state(e)]
            for e in entries
        ],
    )


def _state(entry: Entry) -> str:
    return "deprecated" if entry.deprecated else "preview" if entry.preview else ""
