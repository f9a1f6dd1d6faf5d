"""`hunting tables`: list the documented tables, or the columns of some tables."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hunting_pipeline.catalog import Entry, catalog
from hunting_pipeline.cli.names import Documented
from hunting_pipeline.cli.options import Tenant
from hunting_pipeline.cli.show import print_table
from hunting_pipeline.cli.text import Json, print_json

if TYPE_CHECKING:
    from hunting_pipeline.cli.columns import Described

__all__ = ["tables"]


def tables(
    tables: Documented = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="compare with the service's columns; takes one API call per table"),
    ] = False,
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    if tables:
        _columns(tables, tenant, live=live, as_json=as_json)
    elif live:
        raise typer.BadParameter("--live needs names of tables: it takes one API call per table")
    elif as_json:
        print_json([_facts(entry) | {"columns": len(entry.columns)} for entry in catalog().values()])
    else:
        _print_all(list(catalog().values()))


def _columns(names: Sequence[str], tenant: str, *, live: bool, as_json: bool) -> None:
    """Print the columns of tables."""
    from hunting_pipeline.cli import columns  # loads Arrow # noqa: PLC0415

    if not live:
        _print({name: columns.documented(name) for name in names}, live=False, as_json=as_json)
        return
    found, problems = columns.live(names, tenant)
    _print(found, live=True, as_json=as_json)
    problems.report()


def _print(found: Mapping[str, "Sequence[Described]"], *, live: bool, as_json: bool) -> None:
    if as_json:
        print_json(
            [
                _facts(catalog()[name]) | {"columns": [_as_json(column, live=live) for column in columns]}
                for name, columns in found.items()
            ]
        )
        return
    for name, columns in found.items():
        print_table(
            name,
            ["column", "Kusto type", "Arrow type", *(["difference"] if live else [])],
            [
                [one.name, one.kusto_type, one.arrow_type, *([one.difference] if live else [])]
                for one in columns
            ],
        )


def _as_json(column: "Described", *, live: bool) -> dict[str, Any]:
    """Return a column. With `live`, a type is null where the catalogue or the service lacks the column."""
    compared = {"catalogue_type": column.catalogue_type, "service_type": column.service_type}
    types = {"kusto_type": column.kusto_type, "arrow_type": column.arrow_type}
    return {"name": column.name, **types, **(compared if live else {})}


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "table": entry.name,
        "service": entry.service,
        "time_column": entry.time_column,
        "preview": entry.preview,
        "deprecated": entry.deprecated,
    }


def _print_all(entries: Sequence[Entry]) -> None:
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
