"""Convert your own query to a hunt: a query that can be limited to a window of time.

`Q | where T >= a and T < b` returns the part of Q's result in the window, if Q returns the same rows at any
time. A query whose rows change by themselves is therefore refused. A query with an unknown operator is also
refused. To reduce the cost, more time filters (bounds) are added as close to the tables as possible. See
docs/decisions/0004-hunts.md.
"""

from collections.abc import Callable, Mapping

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.hunt import Hunt
from hunting_pipeline.kql.functions import FUNCTIONS, FunctionRule, function_rule
from hunting_pipeline.kql.operators import OPERATORS, Effect, OperatorRule, join_kind, operator_rule
from hunting_pipeline.kql.reading import (
    Query,
    Tokens,
    Unsliceable,
    applied_operators,
    called_functions,
    defined_functions,
    leading_options,
    only_elements,
    parse_pipeline,
    parse_query,
    piped_operators,
    split_at,
)
from hunting_pipeline.kql.results import Columns
from hunting_pipeline.kql.trace import Edit, Trace
from hunting_pipeline.kql.tracing import Tracer

__all__ = ["check_steady", "read_hunt"]

_ONLY_COUNTS = frozenset({Effect.PASSES_ALL, Effect.UNITES})
"""The effects of operators in which a table only decides which rows there are. A count shows the change."""


def read_hunt(text: str, time_column: str | None, columns: Columns, *, settled: bool = False) -> Hunt:
    """Read a query.

    Args:
        text: the original query with its comments. Line numbers refer to this text.
        time_column: the time column of the result; None for a snapshot.
        columns: the documented columns of tables. They show where bounds may be added, and the time column.
        settled: whether the user has chosen the settling delay. Then a row may come after its time.

    Raises:
        Unsliceable: the text is not a query, its rows would change by themselves, or a row can come long
            after its time.
    """
    found = parse_query(text)
    main = parse_pipeline(found.main)
    _refuse_undefined(found)
    if time_column is None:
        return _hunt(found, Trace(()))
    _refuse_changing(found)
    trace = Tracer(found, columns).trace(main, time_column)
    if trace.lag and not settled:
        raise trace.lag
    return _hunt(found, trace)


def check_steady(predicate: str, time_column: str | None) -> None:
    """Check a table's predicate by the rules for a hunt with the same time column.

    Raises:
        Misconfigured: the rows that match the predicate would change by themselves.
    """
    try:
        found = parse_query(predicate)
        _refuse_undefined(found)
        if time_column is not None:
            _refuse_changing(found)
    except Unsliceable as error:
        raise Misconfigured(error.reason) from None


def _refuse_undefined(found: Query) -> None:
    """Refuse a query whose result is not defined by its tables alone."""
    piped = (name for name, _ in piped_operators(found.tokens))
    for name in (*piped, *applied_operators(found.tokens)):
        if reason := operator_rule(name.text).refused:
            raise Unsliceable(name.line, f"`{name.text}`: {reason}")
    _refuse_calls(found, lambda rule: rule.refused)


def _refuse_changing(found: Query) -> None:
    """Refuse a query whose rows in a window can change without a change of the tables' rows in the window."""
    for name, words in piped_operators(found.tokens):
        if reason := _reason_by_time(name.text, words):
            raise Unsliceable(name.line, reason)
    _refuse_calls(found, lambda rule: rule.refused_by_time)


def _reason_by_time(name: str, words: Tokens) -> str | None:
    """Return the reason why a hunt with a time column may not use an operator; None if it may."""
    rule = operator_rule(name)
    if rule.refused_by_time:
        return f"`{name}`: {rule.refused_by_time}"
    if name not in OPERATORS:
        return f"`{name}` is not supported: it may return other rows at another time. Remove it"
    if rule.plugins:
        return _reason_of_plugin(rule, leading_options(words)[1])
    if rule.effect is Effect.JOINS:
        return join_kind(leading_options(words)[0].get("kind", rule.join_kind or "")).refused
    return None


def _reason_of_plugin(rule: OperatorRule, words: Tokens) -> str | None:
    """Return the reason why a hunt with a time column may not call a plugin; None if it may."""
    call, *schema = split_at(words, ":")
    plugin = call[0].text if call else ""
    if plugin not in rule.plugins:
        return f"`evaluate {plugin}` is not supported: it may return other rows at another time. Remove it"
    if not schema:
        return (
            f"`evaluate {plugin}` without a schema returns other columns for other rows. Write the schema:"
            f" `evaluate {plugin}(…) : (Timestamp: datetime, Name: string)`"
        )
    return None


def _refuse_calls(found: Query, reason_of: Callable[[FunctionRule], str | None]) -> None:
    own = defined_functions(found.tokens) - FUNCTIONS.keys()
    for name in called_functions(found.tokens):
        if name.text not in own and (reason := reason_of(function_rule(name.text))):
            raise Unsliceable(name.line, f"{name.text}(): {reason}")


def _hunt(found: Query, trace: Trace) -> Hunt:
    edits = sorted(trace.edits, key=lambda edit: edit.after)
    return Hunt(
        text=_rendered(found, [])[0],
        parts=_rendered(found, edits),
        bounds=tuple(edit.bound for edit in edits),
        step=trace.step,
        late_rows_rewrite=_late_rows_rewrite(found),
        read_whole=trace.read_whole,
    )


def _late_rows_rewrite(found: Query) -> bool:
    """Return whether a late row can change other rows of the result.

    Rows that are grouped, joined or looked up depend on other rows. A `let` that contains a query, and a
    value that is computed from a table, also depend on other rows.
    """
    operators = list(piped_operators(found.tokens))
    return (
        any(token.text == "|" for value in found.lets.values() for token in value)
        or any(operator_rule(name.text).rewrites for name, _ in operators)
        or any(function_rule(name.text).rewrites for name in called_functions(found.tokens))
        or any(
            _reads_table(found, words)
            for name, words in operators
            if operator_rule(name.text).effect not in _ONLY_COUNTS
        )
    )


def _reads_table(found: Query, words: Tokens) -> bool:
    """Return whether an expression contains a query, or a list that is a table: `X in (T)`."""
    return any(token.text == "|" for token in words) or any(
        _is_table(found.lets, element) for element in only_elements(words)
    )


def _is_table(lets: Mapping[str, Tokens], value: Tokens) -> bool:
    """Return whether a list's only element can be a table. If this is not clear, the element can be one."""
    first = value[0].text
    match [token.text for token in value]:
        case ["(", *_, ")"]:
            return _is_table(lets, value[1:-1])
        case [_] if first in lets:
            others = {name: tokens for name, tokens in lets.items() if name != first}
            return _is_table(others, lets[first])
        case [_]:
            return value[0].is_name and first not in ("true", "false")
        case [_, "." | "[", *_]:  # a part of a column
            return False
    return first not in FUNCTIONS or first in ("materialize", "toscalar")


def _rendered(found: Query, edits: list[Edit]) -> tuple[str, ...]:
    """Return the query's text without comments and blank lines, cut after each edit."""
    opening = {edit.after for edit in edits if edit.bracketed}
    cutting = {edit.after: edit for edit in edits}
    last = found.main[-1].index
    parts, text = [], ""
    for token in found.tokens[: last + 1]:
        text += token.space + ("(" if token.index in opening else "") + token.text
        if token.index in cutting:
            parts.append(text)
            text = ")" if cutting[token.index].bracketed else ""
    first, *others = [*parts, text]
    return (first.lstrip(), *others)
