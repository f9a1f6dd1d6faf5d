"""Trace the time of a query's result from the last operator back to the tables.

A filter on the time of the result may move before an operator if the result stays the same. Such an operator
works row by row and keeps the column, groups by the column, or joins and takes the column from one side.
`bin(T, 1h)` is in a window if `T` is between the ends of the window, rounded up.

The filter stops at any other operator. The query is then refused if the rows of a window could depend on rows
outside the window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hunting_pipeline.hunt import Bound
from hunting_pipeline.kql.operators import Effect, Sides, join_kind, operator_rule
from hunting_pipeline.kql.reading import (
    Item,
    Operator,
    Pipeline,
    Query,
    Token,
    Unsliceable,
    excerpt,
    leading_options,
    parse_pipeline,
    split_at,
    split_items,
)
from hunting_pipeline.kql.results import Columns, Results, mentions
from hunting_pipeline.kql.trace import Edit, Trace

__all__ = ["Tracer"]

_TIME = "Timestamp"
_OTHER_TIMES = ("TimeGenerated", "ActivityTimestamp")
"""The names of a table's time column. The others are used by tables that have no column `Timestamp`."""

_SNAPSHOT = "write `time: none` for a daily snapshot"


@dataclass
class Tracer:
    """A tracer of the columns of one query."""

    query: Query
    columns: Columns
    _in_progress: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._results = Results(self.query, self.columns)

    def trace(self, pipe: Pipeline, column: str) -> Trace:
        """Trace a column of the pipeline's result.

        Raises:
            Unsliceable: the result does not have the column, or the rows of a window could depend on rows
                outside the window.
        """
        if not pipe.operators:
            return self._source(pipe.source, column)
        *before, operator = pipe.operators
        return self._operator(Pipeline(pipe.source, tuple(before)), operator, column)

    def _operator(self, rest: Pipeline, operator: Operator, column: str) -> Trace:  # noqa: C901, PLR0911, PLR0912 # one answer per effect
        match operator_rule(operator.name).effect:
            case Effect.PASSES_ALL:
                return self.trace(rest, column)
            case Effect.PASSES_UNNAMED:
                return self._passed_unless_named(rest, operator, column)
            case Effect.ADDS:
                return self._added(rest, operator, column)
            case Effect.CHOOSES:
                return self._chosen(rest, operator, column)
            case Effect.CHOOSES_DISTINCT:
                return self._distinct(rest, operator, column)
            case Effect.KEEPS:
                return self._kept(rest, operator, column)
            case Effect.REMOVES:
                return self._remaining(rest, operator, column)
            case Effect.RENAMES:
                return self._renamed(rest, operator, column)
            case Effect.GROUPS:
                return self._grouped(rest, operator, column)
            case Effect.JOINS | Effect.LOOKS_UP:
                return self._joined(rest, operator, column)
            case Effect.UNITES:
                return self._united([rest, *_legs(operator.words, operator, column)], rest, operator, column)
            case Effect.COUNTS:
                raise _left_out(operator, column)
            case Effect.UNCLEAR:
                return self._hidden(rest, operator, column)

    def _passed_unless_named(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        if mentions(operator.words, column):
            return self._computed(rest, operator, column, step=self._passed_on([rest], column)[0])
        return self.trace(rest, column)

    def _hidden(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        """Stop at an operator whose columns are not clear. It computes each column that it names."""
        call = split_at(operator.words, ":")[0]  # without the schema of the result
        passes = self._results.has_column(rest, column)
        absent = not passes if operator_rule(operator.name).plugins else passes is False
        if absent or mentions(call, column) or mentions(call, "replace_source"):
            return self._computed(rest, operator, column, step=self._passed_on([rest], column)[0])
        return self._stopped(rest, operator, column, passed_on_by=[rest])

    def _added(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        found = split_items(operator.words)
        made = [item for item in found if item.name == column]
        if made:
            return self._made(rest, operator, column, made[-1])
        if any(item.name is None and mentions(item.value, column) for item in found):
            raise Unsliceable(
                operator.line, f"a value that is computed from {column} has no name: give the value a name"
            )
        return self.trace(rest, column)

    def _chosen(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        item = _item_for(operator, split_items(operator.words), column)
        return self._made(rest, operator, column, item)

    def _made(self, rest: Pipeline, operator: Operator, column: str, item: Item) -> Trace:
        origin = self._results.origin(item.value)
        if origin is None:
            return self._computed(rest, operator, column)
        return self.trace(rest, origin[0]).rounded(origin[1], operator.line)

    def _renamed(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        found = split_items(operator.words)
        for item in found:
            if item.name == column and item.column:
                return self.trace(rest, item.column)
        if any(item.column == column for item in found):
            raise _left_out(operator, column)
        return self.trace(rest, column)

    def _kept(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        named = [item.column for item in split_items(operator.words)]
        if None not in named and column not in named:
            raise _left_out(operator, column)
        return self.trace(rest, column)

    def _remaining(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        if column in [item.column for item in split_items(operator.words)]:
            raise _left_out(operator, column)
        return self.trace(rest, column)

    def _distinct(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        found = split_items(operator.words)
        if [token.text for item in found for token in item.value] == ["*"]:
            return self.trace(rest, column)
        return self._made(rest, operator, column, _item_for(operator, found, column))

    def _grouped(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        """Trace a key of `summarize`. All rows of a group share the key. Late rows may change other times."""
        _, *by = split_at(operator.words, "by")
        keys = split_items(by[0] if by else ())
        item = next((key for key in keys if self._results.has_name(key, column)), None)
        if item is None:
            raise Unsliceable(
                operator.line,
                f"`summarize` does not group by {column}, so its rows have no time, or late rows change the"
                f" time. Group by bin({column}, 1h) and name that column in `time`, or {_SNAPSHOT}",
            )
        origin = self._results.origin(item.value)
        found = origin and self.trace(rest, origin[0]).rounded(origin[1], operator.line)
        if not found or found.stopped:
            raise Unsliceable(
                operator.line,
                f"`summarize` groups by {column}, but the length of the groups is not clear: group by the"
                " time column of a table, or by bin(…, 1h) or startofday(…) of this column",
            )
        return found

    def _joined(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        rule = operator_rule(operator.name)
        chosen, words = leading_options(operator.words)
        kind = join_kind(chosen.get("kind", rule.join_kind or ""))
        leg = split_at(words, "on")[0]
        if not leg:
            raise Unsliceable(operator.line, f"`{operator.name}` names no table: write the table before `on`")
        on_left = self._results.has_column(rest, column)
        if on_left and Sides.LEFT in kind.bounds:
            return self.trace(rest, column).beside(
                f"line {operator.line}: the right side of the {operator.name}"
            )
        on_right = on_left is False and self._results.has_column(_leg(leg), column)
        if on_left is False and (on_right is False or Sides.RIGHT not in kind.columns):
            raise _left_out(operator, column)
        if on_right and Sides.RIGHT in kind.bounds and rule.effect is Effect.JOINS:
            found = _bracketed(self.trace(_leg(leg), column), leg)
            return found.beside(f"line {operator.line}: the left side of the join")
        return self._stopped(rest, operator, column, passed_on_by=[rest, _leg(leg)])

    def _united(self, legs: Sequence[Pipeline], rest: Pipeline, operator: Operator, column: str) -> Trace:
        present = [self._results.has_column(leg, column) for leg in legs]
        if all(answer is False for answer in present):
            raise _left_out(operator, column)
        if not all(present):
            return self._stopped(rest, operator, column, passed_on_by=legs)
        found = [_bracketed(self.trace(leg, column), leg.source) for leg in legs]
        stopped = next((trace.stopped for trace in found if trace.stopped), None)
        steps = {trace.step for trace in found}
        if len(steps) > 1:
            raise Unsliceable(
                operator.line,
                f"the tables of the union round {column} to different lengths: use the same length for all",
            )
        edits = tuple(edit for trace in found for edit in trace.edits)
        parts = tuple(part for trace in found for part in trace.read_whole)
        lag = next((trace.lag for trace in found if trace.lag), None)
        return Trace(edits, steps.pop(), parts, stopped, lag)

    def _computed(self, rest: Pipeline, operator: Operator, column: str, *, step: int = 1) -> Trace:
        """Stop the filter after an operator that computes the time."""
        lag = _lag(operator.line, f"`{operator.name}` computes {column}", column)
        return replace(self._stopped(rest, operator, column), step=step, lag=lag)

    def _stopped(
        self, rest: Pipeline, operator: Operator, column: str, *, passed_on_by: Sequence[Pipeline] = ()
    ) -> Trace:
        """Stop the filter after an operator. The rows are exact if each time is the time of one row.

        Args:
            rest: the pipeline before the operator.
            operator: the operator.
            column: the column that holds the time.
            passed_on_by: the pipelines whose column the operator may pass on unchanged.
        """
        gathering = self._gathering([*rest.tokens, *operator.words], rest.operators)
        if gathering is not None:
            raise Unsliceable(
                operator.line,
                f"the origin of {column} is not clear: `{operator.name}` computes or joins it, after a"
                f" `summarize` (line {gathering}) whose times late rows can change."
                " In `time`, name the bin that `summarize` groups by",
            )
        part = (
            f"line {operator.line}: everything above, because `{operator.name}` computes {column} or hides it"
        )
        step, lag = self._passed_on(passed_on_by, column)
        return Trace((Edit(operator.last, Bound(column)),), step, (part,), stopped=operator, lag=lag)

    def _passed_on(self, pipes: Sequence[Pipeline], column: str) -> tuple[int, Unsliceable | None]:
        """Return the step and the lag of a time that comes from one of several pipelines."""
        step, lag = 1, None
        for pipe in pipes:
            if self._results.has_column(pipe, column) is False:
                continue
            try:
                found = self.trace(pipe, column)
                step, lag = max(step, found.step), lag or found.lag
            except Unsliceable as error:
                lag = lag or error
        return step, lag

    def _gathering(self, tokens: Sequence[Token], operators: Sequence[Operator] = ()) -> int | None:
        """Return the first line with an operator that gathers rows; None if there is none.

        The search covers the operators, the tokens, and every `let` that the tokens name.
        """
        lines = [operator.line for operator in operators if operator_rule(operator.name).gathers]
        lines += [token.line for token in tokens if operator_rule(token.text).gathers]
        for token in tokens:
            if token.text in self.query.lets and token.text not in self._in_progress:
                self._in_progress.append(token.text)
                lines += [line for line in [self._gathering(self.query.lets[token.text])] if line]
                self._in_progress.pop()
        return min(lines, default=None)

    def _source(self, source: Sequence[Token], column: str) -> Trace:  # noqa: PLR0911 # one answer per form
        match [token.text for token in source]:
            case [name] if name in self.query.lets:
                return self._let(source[0], column)
            case [_] if source[0].is_name:
                return self._table(source, column)
            case ["(", *_, ")"]:
                return self.trace(parse_pipeline(source[1:-1]), column)
            case ["materialize", "(", *_, ")"]:
                return self.trace(parse_pipeline(source[2:-1]), column)
            case ["union", *_]:
                union = Operator("union", source[1:], source[0].line, source[-1].index)
                legs = _legs(source[1:], union, column)
                return self._united(legs, Pipeline((), ()), union, column)
            case ["datatable" | "range", *_]:
                return Trace((Edit(source[-1].index, Bound(column)),))
            case [*_] if _is_pattern(source):
                return self._table(source, column)
        raise Unsliceable(
            source[0].line,
            f"{excerpt(source)} is not a table, `let`, union or bracketed query, so its tables are unknown:"
            " write its query in its place",
        )

    def _table(self, source: Sequence[Token], column: str) -> Trace:
        """Trace a column of a table, or of all tables of a pattern such as `Device*`.

        An undocumented column is accepted, because a tenant may have undocumented columns. A table whose
        documented columns contain no time is refused.
        """
        table = "".join(token.text for token in source)
        known = self.columns(table)
        if known is not None and not {column, _TIME} & {*known}:
            raise Unsliceable(
                source[0].line, f"{table} has no column {column} and no other time: {_SNAPSHOT}"
            )
        times = (_TIME,) if _TIME in (known or ()) else (_TIME, *_OTHER_TIMES)
        lag = _lag(source[0].line, f"{column} is not the time column of {table}", column)
        return Trace((Edit(source[-1].index, Bound(column)),), lag=None if column in times else lag)

    def _let(self, token: Token, column: str) -> Trace:
        """Trace a column of a table named by `let`. The bounds go inside if the name is used once."""
        if token.text in self._in_progress:
            raise Unsliceable(token.line, f"{token.text} refers to itself: use another name inside the `let`")
        self._in_progress.append(token.text)
        try:
            found = self.trace(parse_pipeline(self.query.lets[token.text]), column)
        finally:
            self._in_progress.pop()
        uses = sum(other.text == token.text for other in self.query.tokens) - 1
        if uses == 1:
            return found
        part = f"line {token.line}: {token.text}, which is read {uses} times"
        return replace(found, edits=(Edit(token.index, Bound(column)),), read_whole=(*found.read_whole, part))


def _item_for(operator: Operator, found: Sequence[Item], column: str) -> Item:
    """Return the item that yields `column`."""
    for item in found:
        if column == (item.name or item.column):
            return item
    if any(item.name is None and item.column is None and mentions(item.value, column) for item in found):
        raise Unsliceable(
            operator.line, f"a value that is computed from {column} has no name: give the value a name"
        )
    raise _left_out(operator, column)


def _left_out(operator: Operator, column: str) -> Unsliceable:
    return Unsliceable(
        operator.line,
        f"`{operator.name}` removes {column}, the column that `time` names: keep it, name another column in"
        f" `time`, or {_SNAPSHOT}",
    )


def _legs(words: Sequence[Token], operator: Operator, column: str) -> list[Pipeline]:
    chosen, words = leading_options(words)
    if chosen.get("withsource") == column or chosen.get("with_source") == column:
        raise Unsliceable(
            operator.line,
            f"{column} holds the name of a table here, not a time: name another column in `time`",
        )
    return [_leg(leg) for leg in split_at(words, ",") if leg]


def _is_pattern(source: Sequence[Token]) -> bool:
    """Return whether the tokens are a pattern of tables' names, such as `Device*`."""
    joined = not any(token.space for token in source[1:])
    return joined and all(token.is_name or token.text == "*" for token in source)


def _lag(line: int, what: str, column: str) -> Unsliceable:
    """Return the refusal of a time that can be much older than the arrival of its row."""
    return Unsliceable(
        line,
        f"{what}, so a row can come long after its {column}, when its partition is already archived."
        " Use a table's time column, unchanged or rounded by bin() or startofday(). Or set `settle` to the"
        f" longest time between {column} and that column",
    )


def _leg(tokens: Sequence[Token]) -> Pipeline:
    """Return one table or bracketed query of a join or union as a pipeline."""
    return Pipeline(tokens, ())


def _bracketed(trace: Trace, leg: Sequence[Token]) -> Trace:
    """Return the trace of one side of a join or union. A bound after a bare name needs brackets."""
    edits = (
        replace(edit, bracketed=True) if len(leg) == 1 and edit.after == leg[0].index else edit
        for edit in trace.edits
    )
    return replace(trace, edits=tuple(edits))
