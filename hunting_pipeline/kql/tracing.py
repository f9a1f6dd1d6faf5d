"""Where does the time of a query's result come from? Followed from the last operator up to the tables.

A filter on the time of the result may stand higher up as long as every operator between gives the same rows
either way: one that works row by row and hands the column on, a `summarize` that groups by it, the side of
a join that yields it. `bin(T, 1h)` lies in a window if `T` does between its ends rounded up. Whatever is not
known to be so stops the filter, and where then not even the rows of a span would stay those of the span, the
query is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hunting_pipeline.hunt import Bound
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
    told,
)
from hunting_pipeline.kql.results import LEFT_ONLY, MAKING, ROW_BY_ROW, Columns, Results, mentions

__all__ = ["Edit", "Trace", "Tracer"]

_LEFT_KINDS = frozenset({"inner", "leftouter", "leftsemi", "leftanti", "leftantisemi", "anti"})
"""Kinds of join whose rows each belong to one row on the left: a filter on the left is one on the result."""

_RIGHT_KINDS = frozenset({"inner", "rightouter", "rightsemi", "rightanti", "rightantisemi"})
_TIME = "Timestamp"

_ROUNDING = frozenset(
    {"bin", "bin_at", "bin_auto", "floor", "format_datetime", "make_datetime"}
    | {f"{end}of{span}" for end in ("start", "end") for span in ("day", "week", "month", "year")}
)
"""Functions after which a time may stand for a span, of which more rows are yet to come."""

_GATHERING = frozenset({"summarize", "make-series"})
"""Operators whose times may be those of rows that are yet to come."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A bound behind the token numbered `after`; where that is a bare name, a bracket opens before it."""

    after: int
    bound: Bound
    bracketed: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a time comes from.

    Attributes:
        edits: the places for bounds.
        step: ticks that it is rounded down to.
        whole: what is read whatever the bounds.
        stopped: the operator that computes it, or hides where it comes from; None at a table.
    """

    edits: tuple[Edit, ...]
    step: int = 1
    whole: tuple[str, ...] = ()
    stopped: Operator | None = None

    def rounded(self, step: int, line: int) -> "Trace":
        """The same, rounded down once more."""
        coarse, fine = max(self.step, step), min(self.step, step)
        if coarse % fine:
            raise Unsliceable(
                line, "the time is rounded twice, to lengths of which neither divides the other"
            )
        edits = tuple(
            replace(edit, bound=replace(edit.bound, step=max(edit.bound.step, step))) for edit in self.edits
        )
        return replace(self, edits=edits, step=coarse)

    def beside(self, reason: str) -> "Trace":
        """The same, and what else is read whole."""
        return replace(self, whole=(*self.whole, reason))


@dataclass
class Tracer:
    """Traces columns of one query."""

    query: Query
    columns: Columns
    _under_way: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._results = Results(self.query, self.columns)

    def trace(self, pipe: Pipeline, column: str) -> Trace:
        """Where `column` of the pipeline's result comes from.

        Raises:
            Unsliceable: it is none of the result's, or the rows of a span do not stay those of the span.
        """
        if not pipe.operators:
            return self._source(pipe.source, column)
        *before, operator = pipe.operators
        return self._operator(Pipeline(pipe.source, tuple(before)), operator, column)

    def _operator(self, rest: Pipeline, operator: Operator, column: str) -> Trace:  # noqa: C901, PLR0911 # one answer per kind of operator
        match operator.name:
            case "extend":
                return self._extended(rest, operator, column)
            case "project":
                return self._projected(rest, operator, column)
            case "project-rename":
                return self._renamed(rest, operator, column)
            case "project-away" | "project-keep":
                return self._kept(rest, operator, column)
            case "distinct":
                return self._distinct(rest, operator, column)
            case "summarize":
                return self._summarized(rest, operator, column)
            case "join" | "lookup":
                return self._joined(rest, operator, column)
            case "union":
                legs = _legs(operator.words, operator, column)
                return self._united([rest, *legs], rest, operator, column)
            case name if name in ROW_BY_ROW or (name in MAKING and not mentions(operator.words, column)):
                return self.trace(rest, column)
            case "count":
                raise _left_out(operator, column)
        return self._stopped(rest, operator, column, handed_on_by=[rest])

    def _extended(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        found = items(operator.words)
        made = [item for item in found if item.name == column]
        if made:
            return self._made(rest, operator, column, made[-1])
        if any(item.name is None and mentions(item.value, column) for item in found):
            raise Unsliceable(operator.line, f"give what is computed from {column} a name of its own")
        return self.trace(rest, column)

    def _projected(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        item = _item_for(operator, items(operator.words), column)
        return self._made(rest, operator, column, item)

    def _made(self, rest: Pipeline, operator: Operator, column: str, item: Item) -> Trace:
        origin = self._results.origin(item.value)
        if origin is None and any(token.text in _ROUNDING for token in item.value):
            raise Unsliceable(
                operator.line,
                f"it cannot be told how long the spans are that {column} stands for: round a column itself,"
                " by bin(…, 1d) or startofday(…)",
            )
        if origin is None:
            return self._stopped(rest, operator, column)
        return self.trace(rest, origin[0]).rounded(origin[1], operator.line)

    def _renamed(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        found = items(operator.words)
        for item in found:
            if item.name == column and item.column:
                return self.trace(rest, item.column)
        if any(item.column == column for item in found):
            raise _left_out(operator, column)
        return self.trace(rest, column)

    def _kept(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        plain = [item.column for item in items(operator.words)]
        away = operator.name == "project-away"
        if (column in plain) if away else (None not in plain and column not in plain):
            raise _left_out(operator, column)
        return self.trace(rest, column)

    def _distinct(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        found = items(operator.words)
        if [token.text for item in found for token in item.value] == ["*"]:
            return self.trace(rest, column)
        return self._made(rest, operator, column, _item_for(operator, found, column))

    def _summarized(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        """Groups by the time are made of the rows of that time; any other time may still change."""
        _, *by = split(operator.words, "by")
        item = next((one for one in items(by[0] if by else ()) if self._results.is_called(one, column)), None)
        if item is None:
            raise Unsliceable(
                operator.line,
                f"`summarize` does not group by {column}, so its rows have no time of their own, or one that"
                f" changes as rows come. Group by bin({column}, 1h) and make that the `time`, or say"
                " `time: none` for a snapshot a day",
            )
        origin = self._results.origin(item.value)
        found = origin and self.trace(rest, origin[0]).rounded(origin[1], operator.line)
        if not found or found.stopped:
            raise Unsliceable(
                operator.line,
                f"`summarize` groups by {column}, but it cannot be told how long its groups are:"
                " group by a table's own time, or by bin(…, 1h) or startofday(…) of it",
            )
        return found

    def _joined(self, rest: Pipeline, operator: Operator, column: str) -> Trace:
        chosen, words = options(operator.words)
        kind = chosen.get("kind", "leftouter")  # a join without a kind was refused before
        leg = split(words, "on")[0]
        if not leg:
            raise Unsliceable(operator.line, f"`{operator.name}` has no table to join")
        on_left = self._results.provides(rest, column)
        if on_left and kind in _LEFT_KINDS:
            return self.trace(rest, column).beside(
                f"line {operator.line}: the right side of the {operator.name}"
            )
        on_right = on_left is False and self._results.provides(_leg(leg), column)
        if on_left is False and (on_right is False or kind in LEFT_ONLY):
            raise _left_out(operator, column)
        if on_right and kind in _RIGHT_KINDS and operator.name == "join":
            found = _bracketed(self.trace(_leg(leg), column), leg)
            return found.beside(f"line {operator.line}: the left side of the join")
        return self._stopped(rest, operator, column, handed_on_by=[rest, _leg(leg)])

    def _united(self, legs: Sequence[Pipeline], rest: Pipeline, operator: Operator, column: str) -> Trace:
        provided = [self._results.provides(leg, column) for leg in legs]
        if all(answer is False for answer in provided):
            raise _left_out(operator, column)
        if not all(provided):
            return self._stopped(rest, operator, column, handed_on_by=legs)
        found = [_bracketed(self.trace(leg, column), leg.source) for leg in legs]
        stopped = next((trace.stopped for trace in found if trace.stopped), None)
        steps = {trace.step for trace in found}
        if len(steps) > 1:
            raise Unsliceable(operator.line, f"the tables of the union round {column} differently")
        edits = tuple(edit for trace in found for edit in trace.edits)
        return Trace(edits, steps.pop(), tuple(r for trace in found for r in trace.whole), stopped)

    def _stopped(
        self, rest: Pipeline, operator: Operator, column: str, *, handed_on_by: Sequence[Pipeline] = ()
    ) -> Trace:
        """The filter can go no higher. That is exact, as long as the time is that of a row.

        A time that is handed on is rounded as it was before.
        """
        gathering = self._gathering([*rest.tokens, *operator.words], rest.operators)
        if gathering is not None:
            raise Unsliceable(
                operator.line,
                f"it cannot be told where {column} comes from: `{operator.name}` computes it or joins it,"
                f" behind a `summarize` (line {gathering}) whose times change as rows come."
                " Make the bin that `summarize` groups by the `time`",
            )
        reason = (
            f"line {operator.line}: everything above, for `{operator.name}` computes {column} or hides it"
        )
        step = max((self._step(pipe, column) for pipe in handed_on_by), default=1)
        return Trace((Edit(operator.last, Bound(column)),), step, whole=(reason,), stopped=operator)

    def _step(self, pipe: Pipeline, column: str) -> int:
        """What a column is rounded down to; 1 where that cannot be told."""
        try:
            return self.trace(pipe, column).step
        except Unsliceable:
            return 1

    def _gathering(self, tokens: Sequence[Token], operators: Sequence[Operator] = ()) -> int | None:
        """The line of an operator that gathers rows, among these or in a `let` that they name."""
        lines = [operator.line for operator in operators if operator.name in _GATHERING]
        lines += [token.line for token in tokens if token.text in _GATHERING]
        for token in tokens:
            if token.text in self.query.lets and token.text not in self._under_way:
                self._under_way.append(token.text)
                lines += [line for line in [self._gathering(self.query.lets[token.text])] if line]
                self._under_way.pop()
        return min(lines, default=None)

    def _source(self, source: Sequence[Token], column: str) -> Trace:
        match [token.text for token in source]:
            case [name] if name in self.query.lets:
                return self._let(source[0], column)
            case [_] if source[0].name:
                return self._table(source[0], column)
            case ["(", *_, ")"]:
                return self.trace(pipeline(source[1:-1]), column)
            case ["materialize", "(", *_, ")"]:
                return self.trace(pipeline(source[2:-1]), column)
            case ["union", *_]:
                union = Operator("union", source[1:], source[0].line, source[-1].at)
                legs = _legs(source[1:], union, column)
                return self._united(legs, Pipeline((), ()), union, column)
            case ["datatable" | "range", *_]:
                return Trace((Edit(source[-1].at, Bound(column)),))
        raise Unsliceable(
            source[0].line,
            f"{told(source)} is no table, `let`, union or bracketed query, so what its rows depend on cannot"
            " be told: write out what it stands for",
        )

    def _table(self, token: Token, column: str) -> Trace:
        """A table. Tenants know columns that no document does; but not a time of a table without times."""
        known = self.columns(token.text)
        if known is not None and not {column, _TIME} & {*known}:
            raise Unsliceable(
                token.line,
                f"{token.text} has no column {column}, nor another time: say `time: none` for a snapshot"
                " a day",
            )
        return Trace((Edit(token.at, Bound(column)),))

    def _let(self, token: Token, column: str) -> Trace:
        """A table named by `let`: bounds go inside where nobody else reads it."""
        if token.text in self._under_way:
            raise Unsliceable(token.line, f"{token.text} is defined by itself")
        self._under_way.append(token.text)
        try:
            found = self.trace(pipeline(self.query.lets[token.text]), column)
        finally:
            self._under_way.pop()
        uses = sum(other.text == token.text for other in self.query.tokens) - 1
        if uses == 1:
            return found
        reason = f"line {token.line}: {token.text}, which is read {uses} times"
        return replace(found, edits=(Edit(token.at, Bound(column)),), whole=(*found.whole, reason))


def _item_for(operator: Operator, found: Sequence[Item], column: str) -> Item:
    """The item that yields `column`."""
    for item in found:
        if column == (item.name or item.column):
            return item
    if any(item.name is None and item.column is None and mentions(item.value, column) for item in found):
        raise Unsliceable(operator.line, f"give what is computed from {column} a name")
    raise _left_out(operator, column)


def _left_out(operator: Operator, column: str) -> Unsliceable:
    return Unsliceable(
        operator.line,
        f"`{operator.name}` leaves out {column}, which is to be the time of the result: keep it, name another"
        " column as `time`, or say `time: none` for a snapshot a day",
    )


def _legs(words: Sequence[Token], operator: Operator, column: str) -> list[Pipeline]:
    chosen, words = options(words)
    if chosen.get("withsource") == column or chosen.get("with_source") == column:
        raise Unsliceable(operator.line, f"{column} is the name of a table here, and no time")
    return [_leg(leg) for leg in split(words, ",")]


def _leg(tokens: Sequence[Token]) -> Pipeline:
    """A table or bracketed query beside another."""
    return Pipeline(tokens, ())


def _bracketed(trace: Trace, leg: Sequence[Token]) -> Trace:
    """The trace of a leg: behind a bare name, bounds need brackets."""
    edits = (
        replace(edit, bracketed=True) if len(leg) == 1 and edit.after == leg[0].at else edit
        for edit in trace.edits
    )
    return replace(trace, edits=tuple(edits))
