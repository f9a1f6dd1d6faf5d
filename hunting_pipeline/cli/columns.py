"""The columns of tables for `hunting tables`: those of the catalogue, and those of the service."""

from collections.abc import Sequence
from dataclasses import dataclass

from hunting_pipeline.catalog import Entry, entry, spec
from hunting_pipeline.cli.work import Problems, opened
from hunting_pipeline.decode.kinds import kind_of
from hunting_pipeline.model import Column
from hunting_pipeline.settings import load_settings

__all__ = ["Described", "compared", "documented", "live"]


@dataclass(frozen=True, slots=True)
class Described:
    """A column with its type in the catalogue and in the service.

    Attributes:
        name: the column's name.
        catalogue_type: the Kusto type in the catalogue; None if the catalogue has no such column.
        service_type: the Kusto type in the service; None if the service has no such column or was not asked.
    """

    name: str
    catalogue_type: str | None
    service_type: str | None = None

    @property
    def kusto_type(self) -> str:
        """The Kusto type in the service, else in the catalogue."""
        return self.service_type or self.catalogue_type or ""

    @property
    def arrow_type(self) -> str:
        """The Arrow type of the column in the lake, by default."""
        return str(kind_of(self.kusto_type).arrow)

    @property
    def difference(self) -> str:
        """The difference between the catalogue and the service, as text; "" if there is none."""
        if self.service_type is None:
            return "not in the service"
        if self.catalogue_type is None:
            return "not in the catalogue"
        return "" if self.service_type == self.catalogue_type else f"{self.catalogue_type} in the catalogue"


def documented(table: str) -> list[Described]:
    """Return the columns of a table in the catalogue."""
    return [Described(column.name, column.kusto_type) for column in entry(table).columns]


def compared(known: Entry, found: Sequence[Column]) -> list[Described]:
    """Return the service's columns, and then the columns that only the catalogue has."""
    types = {column.name: column.kusto_type for column in known.columns}
    names = {column.name for column in found}
    return [Described(column.name, types.get(column.name), column.kusto_type) for column in found] + [
        Described(name, kusto_type) for name, kusto_type in types.items() if name not in names
    ]


def live(tables: Sequence[str], tenant: str) -> tuple[dict[str, list[Described]], Problems]:
    """Ask the service for the columns of each table, by one call per table, and compare them.

    Returns:
        the columns of each table that the service described, and the errors of the other tables.
    """
    settings = load_settings(tenant)
    problems = Problems(settings)
    found = {}
    with opened(settings) as pipeline:
        for table in problems.until_fatal(spec(name) for name in dict.fromkeys(tables)):
            with problems.collected():
                found[table.name] = compared(entry(table.name), pipeline.probe(table))
    return found, problems
