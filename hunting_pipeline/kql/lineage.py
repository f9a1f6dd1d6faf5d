"""The tables that a query reads, and the columns that reach its result unchanged.

The only sources are the text and the documented columns. A column whose origin is not certain is left out.
"""

from collections.abc import Mapping
from itertools import pairwise

from hunting_pipeline.kql.operators import Effect, operator_rule
from hunting_pipeline.kql.reading import (
    Item,
    Operator,
    Query,
    leading_options,
    parse_pipeline,
    parse_query,
    piped_operators,
    split_at,
    split_items,
)
from hunting_pipeline.kql.results import Columns

__all__ = ["Origins", "tables_read", "unchanged_columns"]

Origins = Mapping[str, str]
"""The column of the table, by the column of the result."""


def tables_read(text: str, columns: Columns) -> tuple[str, ...]:
    """Return the documented tables that a query names, sorted.

    `DeviceInfo` is the name of a table and of a column. Such a name counts if operators follow it, or if it
    begins a statement or an operand of a join or union.

    Raises:
        Unsliceable: the text does not have the structure of a query.
    """
    found = parse_query(text)
    names = {token.text for token in found.tokens if token.is_name} - found.lets.keys()
    tables = {name: columns(name) or () for name in names if columns(name) is not None}
    columns_too = tables.keys() & {column for documented in tables.values() for column in documented}
    return tuple(sorted(tables.keys() - (columns_too - _sources(found))))


def _sources(found: Query) -> set[str]:
    """Return the names at places where only a table can be."""
    first = [found.main[0], *(value[0] for value in found.lets.values())]
    piped = [token for token, follower in pairwise(found.tokens) if follower.text == "|"]
    for name, words in piped_operators(found.tokens):
        if operator_rule(name.text).effect in (Effect.JOINS, Effect.LOOKS_UP, Effect.UNITES):
            first += [leg[0] for leg in split_at(leading_options(words)[1], ",") if leg]
    before = {token.index - 1: token for token in piped}
    starts = [before[token.index] for token in found.tokens if token.index in before and token.text in "(,"]
    return {token.text for token in (*first, *starts)}


def unchanged_columns(text: str, columns: Columns) -> tuple[str, Origins]:
    """Return the table of a query and the columns that the query hands on unchanged.

    The mapping is empty if the query joins, unites or groups rows, or if an operator is not clear.

    Raises:
        Unsliceable: the text does not have the structure of a query.
    """
    found = parse_query(text)
    pipe = parse_pipeline(found.main)
    table = pipe.source[0].text
    documented = columns(table) if len(pipe.source) == 1 and table not in found.lets else None
    origins: Origins = {name: name for name in documented or () if name not in found.lets}
    for operator in pipe.operators:
        after = _after(operator, origins)
        if after is None:
            return table, {}
        origins = after
    return table, origins


def _after(operator: Operator, before: Origins) -> Origins | None:
    """Return the origins after an operator; None if they are not certain."""
    effect, items = operator_rule(operator.name).effect, split_items(operator.words)
    if effect is Effect.PASSES_ALL:
        return before
    if not all(map(_is_one if effect in (Effect.ADDS, Effect.CHOOSES) else _is_column, items)):
        return None
    chosen = _chosen(items, before)
    gone = {item.name for item in items} | {item.column for item in items if effect is not Effect.ADDS}
    kept = {name: origin for name, origin in before.items() if name not in gone}
    after: Mapping[Effect, Origins] = {
        Effect.ADDS: kept,
        Effect.CHOOSES: chosen,
        Effect.CHOOSES_DISTINCT: chosen,
        Effect.KEEPS: chosen,
        Effect.REMOVES: kept,
        Effect.RENAMES: kept | chosen,
    }
    return after.get(effect)


def _is_column(item: Item) -> bool:
    return item.column is not None


def _is_one(item: Item) -> bool:
    """Return whether an item makes one column. `(A, B) = f()` makes several."""
    return item.name is not None or item.value[0].text != "("


def _chosen(items: list[Item], before: Origins) -> dict[str, str]:
    return {
        item.name or item.column: before[item.column]
        for item in items
        if item.column is not None and item.column in before
    }
