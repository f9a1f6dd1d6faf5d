"""The columns of a pipeline's result, and their origin in the columns of a table.

The only sources are the text and the documented columns. If they are not sufficient, the result is None.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from hunting_pipeline.kql.functions import Rounding, function_rule
from hunting_pipeline.kql.operators import Effect, Sides, join_kind, operator_rule
from hunting_pipeline.kql.reading import (
    Item,
    Operator,
    Pipeline,
    Query,
    Token,
    Unsliceable,
    leading_options,
    parse_pipeline,
    split_at,
    split_items,
)
from hunting_pipeline.ticks import DAY, HOUR, SECOND

__all__ = ["Columns", "Results", "mentions"]

Columns = Callable[[str], Collection[str] | None]
"""A function from a table's name to its documented columns; None for a table without documentation."""

_UNITS = {"d": DAY, "h": HOUR, "m": 60 * SECOND, "s": SECOND}


@dataclass
class Results:
    """The results of the pipelines of one query."""

    query: Query
    columns: Columns
    _in_progress: list[str] = field(default_factory=list)

    def origin(self, value: Sequence[Token]) -> tuple[str, int] | None:
        """Return the column from which a value is computed, and the ticks to which the value is rounded down.

        Return None if the value is neither a column nor a rounded column.

        Raises:
            Unsliceable: the column is rounded to a length that does not divide a day.
        """
        match [token.text for token in value]:
            case [name] if value[0].is_name and name not in self.query.lets:
                return name, 1
            case [function, "(", name, ")"] if value[2].is_name:
                return (name, DAY) if function_rule(function).rounding is Rounding.TO_DAY else None
            case [function, "(", name, ",", *length, ")"] if value[2].is_name:
                if function_rule(function).rounding is Rounding.TO_LENGTH:
                    return self._rounded_to(length, name, value[0].line)
        return None

    def _rounded_to(self, length: Sequence[str], name: str, line: int) -> tuple[str, int] | None:
        if len(length) == 1 and length[0] in self.query.lets:
            length = [token.text for token in self.query.lets[length[0]]]
        if len(length) != 1 or length[0][-1] not in _UNITS or not length[0][:-1].isdecimal():
            return None
        step = int(length[0][:-1]) * _UNITS[length[0][-1]]
        if not step or DAY % step:
            raise Unsliceable(
                line,
                f"bins of {length[0]} do not divide a day, so a partition would cut some of them."
                " Use a length such as 15m, 1h, 6h or 1d",
            )
        return name, step

    def has_name(self, item: Item, column: str) -> bool:
        """Return whether a group key is named `column`. `bin(T, 1h)` without a name is named `T`."""
        if item.name is not None:
            return item.name == column
        origin = self.origin(item.value)
        return origin is not None and origin[0] == column

    def has_column(self, pipe: Pipeline, column: str) -> bool | None:  # noqa: C901, PLR0911 # one answer per effect
        """Return whether a pipeline's result has the column; None if this cannot be derived."""
        if not pipe.operators:
            return self._source_has(pipe.source, column)
        *before, operator = pipe.operators
        rest, found = Pipeline(pipe.source, tuple(before)), split_items(operator.words)
        plain = all(item.name or item.column for item in found)
        named = any(item.name == column for item in found)
        match operator_rule(operator.name).effect:
            case Effect.PASSES_ALL:
                return self.has_column(rest, column)
            case Effect.PASSES_UNNAMED:
                return None if mentions(operator.words, column) else self.has_column(rest, column)
            case Effect.ADDS:
                return named or self.has_column(rest, column)
            case Effect.CHOOSES | Effect.CHOOSES_DISTINCT | Effect.KEEPS:
                chosen = any(column == (item.name or item.column) for item in found)
                return chosen if chosen or plain else None
            case Effect.RENAMES if named:
                return True
            case Effect.RENAMES | Effect.REMOVES if any(item.column == column for item in found):
                return False
            case Effect.RENAMES:
                return self.has_column(rest, column)
            case Effect.REMOVES:
                return self.has_column(rest, column) if plain else None
            case Effect.GROUPS:
                return self._group_has(operator, column)
            case Effect.JOINS | Effect.LOOKS_UP | Effect.UNITES:
                return self._combined_has(rest, operator, column)
            case Effect.COUNTS | Effect.UNCLEAR:
                return None

    def _combined_has(self, rest: Pipeline, operator: Operator, column: str) -> bool | None:
        """Return whether rows that are combined with other tables have the column."""
        kind = join_kind(leading_options(operator.words)[0].get("kind", ""))
        found = self.has_column(rest, column)
        if Sides.LEFT not in kind.columns:
            return None
        return found if Sides.RIGHT not in kind.columns else found or None

    def _group_has(self, operator: Operator, column: str) -> bool | None:
        """Return whether `summarize` yields the column, as a key or as an aggregate."""
        aggregates, *by = split_at(operator.words, "by")
        if any(self.has_name(item, column) for item in split_items(by[0] if by else ())):
            return True
        absent = all(
            item.name != column
            if item.name
            else not mentions(item.value, column) and not mentions(item.value, "*")
            for item in split_items(aggregates)
        )
        return False if absent else None

    def _source_has(self, source: Sequence[Token], column: str) -> bool | None:
        match [token.text for token in source]:
            case [name] if name in self.query.lets and name not in self._in_progress:
                self._in_progress.append(name)
                try:
                    return self.has_column(parse_pipeline(self.query.lets[name]), column)
                finally:
                    self._in_progress.pop()
            case [name]:
                known = self.columns(name)
                return None if known is None else column in known
            case ["(", *_, ")"]:
                return self.has_column(parse_pipeline(source[1:-1]), column)
            case ["materialize", "(", *_, ")"]:
                return self.has_column(parse_pipeline(source[2:-1]), column)
            case ["union", *_]:
                _, words = leading_options(source[1:])
                return all(self.has_column(Pipeline(leg, ()), column) for leg in split_at(words, ",")) or None
        return None


def mentions(words: Sequence[Token], column: str) -> bool:
    """Return whether any of the words is the column's name, quoted or not."""
    return any(token.text.strip("\"'") == column for token in words)
