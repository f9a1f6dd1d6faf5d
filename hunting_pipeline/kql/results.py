"""Which columns a pipeline's result has, and which of them are a table's own: as far as the text shows."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from hunting_pipeline.kql.reading import (
    Item,
    Operator,
    Pipeline,
    Query,
    Token,
    Unsliceable,
    items,
    options,
    pipeline,
    split,
)
from hunting_pipeline.ticks import DAY, HOUR, SECOND

__all__ = ["LEFT_ONLY", "MAKING", "ROW_BY_ROW", "Columns", "Results", "mentions"]

Columns = Callable[[str], Collection[str] | None]
"""The columns of a table, as far as they are documented; None for one that is not."""

ROW_BY_ROW = frozenset({"where", "filter", "sort", "order", "project-reorder"})
"""Operators that hand every column on as it is; what `sort` adds, an archive by partitions does not keep."""

MAKING = frozenset({"parse", "parse-where", "parse-kv", "mv-expand", "mvexpand"})
"""Operators that work row by row and hand on every column that they do not name."""

LEFT_ONLY = frozenset({"leftsemi", "leftanti", "leftantisemi", "anti"})
"""Kinds of join whose result has the columns of the left side alone."""

_RIGHT_ONLY = frozenset({"rightsemi", "rightanti", "rightantisemi"})

_UNITS = {"d": DAY, "h": HOUR, "m": 60 * SECOND, "s": SECOND}


@dataclass
class Results:
    """What the pipelines of one query yield."""

    query: Query
    columns: Columns
    _under_way: list[str] = field(default_factory=list)

    def origin(self, value: Sequence[Token]) -> tuple[str, int] | None:
        """The column that a value is, and what it is rounded down to; None if it is anything else."""
        match [token.text for token in value]:
            case [name] if value[0].name and name not in self.query.lets:
                return name, 1
            case ["startofday", "(", name, ")"] if value[2].name:
                return name, DAY
            case ["bin" | "floor", "(", name, ",", *length, ")"] if value[2].name:
                return self._rounding(name, length, value[0].line)
        return None

    def _rounding(self, name: str, length: Sequence[str], line: int) -> tuple[str, int] | None:
        if len(length) == 1 and length[0] in self.query.lets:
            length = [token.text for token in self.query.lets[length[0]]]
        if len(length) != 1 or length[0][-1] not in _UNITS or not length[0][:-1].isdecimal():
            return None
        step = int(length[0][:-1]) * _UNITS[length[0][-1]]
        if not step or DAY % step:
            raise Unsliceable(line, f"bins of {length[0]} do not divide a day, so partitions would cut them")
        return name, step

    def is_called(self, item: Item, column: str) -> bool:
        """Whether a group key is called `column`; of `bin(T, 1h)` without a name, that is `T`."""
        if item.name is not None:
            return item.name == column
        origin = self.origin(item.value)
        return origin is not None and origin[0] == column

    def provides(self, pipe: Pipeline, column: str) -> bool | None:  # noqa: PLR0911 # one answer per kind
        """Whether a result has the column; None where that cannot be told."""
        if not pipe.operators:
            return self._source_provides(pipe.source, column)
        *before, operator = pipe.operators
        rest, found = Pipeline(pipe.source, tuple(before)), items(operator.words)
        plain = all(item.name or item.column for item in found)
        match operator.name:
            case "project" | "project-keep" | "distinct":
                named = any(column == (item.name or item.column) for item in found)
                return named if named or plain else None
            case "extend" | "project-rename" if any(item.name == column for item in found):
                return True
            case "project-away" | "project-rename" if any(item.column == column for item in found):
                return False
            case "summarize":
                return self._grouped(operator, column)
            case "join" | "lookup" | "union":
                return self._beside(rest, operator, column)
            case "project-away" if not plain:
                return None
            case name if name in MAKING and mentions(operator.words, column):
                return None
            case name if name in ROW_BY_ROW | MAKING | {"extend", "project-away", "project-rename"}:
                return self.provides(rest, column)
        return None

    def _beside(self, rest: Pipeline, operator: Operator, column: str) -> bool | None:
        """Whether rows that others are set beside have the column."""
        kind = options(operator.words)[0].get("kind")
        found = self.provides(rest, column)
        return None if kind in _RIGHT_ONLY else found if kind in LEFT_ONLY else found or None

    def _grouped(self, operator: Operator, column: str) -> bool | None:
        """Whether `summarize` yields the column, as a group or otherwise."""
        aggregates, *by = split(operator.words, "by")
        if any(self.is_called(item, column) for item in items(by[0] if by else ())):
            return True
        safe = all(
            item.name != column
            if item.name
            else not mentions(item.value, column) and not mentions(item.value, "*")
            for item in items(aggregates)
        )
        return False if safe else None

    def _source_provides(self, source: Sequence[Token], column: str) -> bool | None:
        match [token.text for token in source]:
            case [name] if name in self.query.lets and name not in self._under_way:
                self._under_way.append(name)
                try:
                    return self.provides(pipeline(self.query.lets[name]), column)
                finally:
                    self._under_way.pop()
            case [name]:
                known = self.columns(name)
                return None if known is None else column in known
            case ["(", *_, ")"]:
                return self.provides(pipeline(source[1:-1]), column)
            case ["materialize", "(", *_, ")"]:
                return self.provides(pipeline(source[2:-1]), column)
            case ["union", *_]:
                _, words = options(source[1:])
                return all(self.provides(Pipeline(leg, ()), column) for leg in split(words, ",")) or None
        return None


def mentions(words: Sequence[Token], column: str) -> bool:
    """Whether any of the words is the column's name, quoted or not."""
    return any(token.text.strip("\"'") == column for token in words)
