# ruff: noqa: S608 - this module generates SQL; it defines all names, and one function quotes the literals
"""The compiler from expressions to typed SQL. Expressions may use the columns and `let` names in scope."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hunting_emulator.kql import aggregates, functions
from hunting_emulator.kql import syntax as s
from hunting_emulator.kql.errors import KqlError
from hunting_emulator.kql.typed import NUMERIC, Column, Typed, convert, literal, promote, quote, to_string

_STRING_OPERATORS = {
    "contains_cs": "contains({0}, {1})",
    "startswith_cs": "starts_with({0}, {1})",
    "endswith_cs": "ends_with({0}, {1})",
}
_COMPARISONS = ("<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that an expression may refer to.

    `subquery` compiles a pipeline to the SQL and columns of its result; `evaluate` computes constant SQL.
    `aggregating` is true inside `summarize`, where aggregate functions are allowed.
    """

    operator: str
    columns: tuple[Column, ...]
    lets: Mapping[str, Typed]
    now: int
    subquery: Callable[[s.Pipeline], tuple[str, tuple[Column, ...]]]
    evaluate: Callable[[str], object]
    aggregating: bool = False

    def column(self, name: str) -> Column | None:
        """Return the column of exactly this name, because names in Kusto are case-sensitive."""
        return next((column for column in self.columns if column.name == name), None)


def compile_scalar(expr: s.Expr, scope: Scope) -> Typed:  # noqa: PLR0911 - one answer per kind of node
    """Compile an expression to typed SQL. Raise KqlError for an unknown name or a wrong type."""
    match expr:
        case s.Literal(kind, value):
            return literal(kind, value)
        case s.Name(name):
            return _name(name, scope)
        case s.Call():
            return _call(expr, scope)
        case s.Negative(value):
            return _negative(compile_scalar(value, scope))
        case s.Binary(op, left, right):
            return _binary(op, compile_scalar(left, scope), compile_scalar(right, scope))
        case s.Between(value, low, high, negated):
            return _between([compile_scalar(part, scope) for part in (value, low, high)], negated)
        case s.Among():
            return _among(expr, scope)
        case s.Path(base, key):
            return _path(compile_scalar(base, scope), compile_scalar(key, scope))
        case _:
            raise KqlError(f"'{scope.operator}' operator: a scalar expression is expected here")


def boolean(expr: s.Expr, scope: Scope) -> Typed:
    """Compile an expression as a predicate."""
    made = compile_scalar(expr, scope)
    if made.type not in ("bool", "dynamic", "int", "long"):
        raise KqlError(
            f"'{scope.operator}' operator: the predicate is of type {made.type}, a bool is expected"
        )
    return convert(made, "bool")


def _name(name: str, scope: Scope) -> Typed:
    column = scope.column(name)
    if column is not None:
        return Typed(column.ref, column.type)
    if name in scope.lets:
        return scope.lets[name]
    raise KqlError(
        f"'{scope.operator}' operator: Failed to resolve column or scalar expression named '{name}'"
    )


def _call(expr: s.Call, scope: Scope) -> Typed:  # noqa: PLR0911 - one answer per function
    name, args = expr.name, expr.args
    if name in aggregates.NAMES:
        return _aggregate(expr, scope)
    if name == "now":
        shift = compile_scalar(args[0], scope).sql if args else "0"
        return _constant(f"({scope.now} + {shift})", "datetime", scope)
    if name == "ago" and len(args) == 1:
        return _constant(f"({scope.now} - {compile_scalar(args[0], scope).sql})", "datetime", scope)
    if name == "toscalar" and args and isinstance(args[0], s.Subquery):
        sql, columns = scope.subquery(args[0].pipeline)
        return Typed(f"(SELECT {columns[0].ref} FROM ({sql}) LIMIT 1)", columns[0].type, constant=True)
    if name == "pack_all":
        return functions.pack([(literal("string", c.name), Typed(c.ref, c.type)) for c in scope.columns])
    if name == "hash" and args and args[0] == s.Call("tostring", (s.Call("pack_all", ()),)):
        # a hash of the columns is ten times faster, and it also gives equal rows the same value
        whole = Typed(", ".join(column.ref for column in scope.columns), "string")
        return functions.call("hash", [whole, *(compile_scalar(arg, scope) for arg in args[1:])])
    if name in ("estimate_data_size", "hash") and args == (s.Star(),):
        return functions.call(name, [Typed(column.ref, column.type) for column in scope.columns])
    made = [compile_scalar(arg, scope) for arg in args]
    if name in ("iff", "iif", "case"):
        made[:-1:2] = [convert(test, "bool") for test in made[:-1:2]]
        steps = _steps(args, scope) if name == "case" and len(args) > 7 else None
        if steps:
            return _staircase(*steps, functions.case(made), made)
    return functions.call(name, made)


def _steps(args: Sequence[s.Expr], scope: Scope) -> tuple[str, list[int]] | None:
    """Return column and ascending bounds if every test of a `case` is `column < bound` of one column."""
    refs, bounds = set(), []
    for test in args[:-1:2]:
        if not (isinstance(test, s.Binary) and test.op == "<" and isinstance(test.left, s.Name)):
            return None
        bound = compile_scalar(test.right, scope).value
        if not isinstance(bound, int):
            return None
        refs.add(compile_scalar(test.left, scope).sql)
        bounds.append(bound)
    return (refs.pop(), bounds) if len(refs) == 1 and bounds == sorted(bounds) else None


def _staircase(ref: str, bounds: Sequence[int], whole: Typed, made: Sequence[Typed]) -> Typed:
    """Compile the `case` as a binary search, because a `case` may have hundreds of branches."""
    values = [convert(value, whole.type).sql for value in [*made[1::2], made[-1]]]

    def between(first: int, last: int) -> str:
        if first == last:
            return values[first]
        middle = (first + last) // 2
        low, high = between(first, middle), between(middle + 1, last)
        return f"CASE WHEN {ref} < {bounds[middle]} THEN {low} ELSE {high} END"

    return Typed(between(0, len(bounds)), whole.type)


def _aggregate(expr: s.Call, scope: Scope) -> Typed:
    if not scope.aggregating:
        raise KqlError(
            f"'{scope.operator}' operator: Function '{expr.name}' cannot be invoked in current context."
        )
    inner = Scope(scope.operator, scope.columns, scope.lets, scope.now, scope.subquery, scope.evaluate)
    return aggregates.call(expr.name, [compile_scalar(arg, inner) for arg in expr.args])


def _constant(sql: str, kind: str, scope: Scope) -> Typed:
    return literal(kind, scope.evaluate(f"SELECT {sql}"))


def _negative(x: Typed) -> Typed:
    if x.type not in (*NUMERIC, "timespan"):
        raise KqlError(f"Operator '-' cannot be applied to type {x.type}")
    value = -x.value if isinstance(x.value, int | float) else None
    return Typed(f"(-{x.sql})", x.type, x.constant, value)


def _binary(op: str, left: Typed, right: Typed) -> Typed:
    constant = left.constant and right.constant
    if op in ("and", "or"):
        sql = f"({convert(left, 'bool').sql} {op.upper()} {convert(right, 'bool').sql})"
        return Typed(sql, "bool", constant)
    if op in ("+", "-", "*", "/", "%"):
        made = _arithmetic(op, left, right)
    elif op in ("==", "!="):
        made = Typed(_equality(op, *_comparable(left, right)), "bool")
    elif op in _COMPARISONS:
        one, other = _comparable(left, right)
        made = Typed(f"({one.sql} {op} {other.sql})", "bool")
    else:
        made = Typed(_string_operator(op, to_string(left), to_string(right)), "bool")
    return Typed(made.sql, made.type, constant)


def _comparable(left: Typed, right: Typed) -> tuple[Typed, Typed]:
    """Convert both sides to one type, as Kusto does: numbers to numbers, dynamic to any type."""
    if left.type == right.type or (left.type in NUMERIC and right.type in NUMERIC):
        return left, right
    if "dynamic" in (left.type, right.type):
        kind = right.type if left.type == "dynamic" else left.type
        return convert(left, kind), convert(right, kind)
    flags = {"bool", "int", "long"}
    if {left.type, right.type} <= flags or {left.type, right.type} == {"guid", "string"}:
        return left, right
    raise KqlError(f"Cannot compare values of types {left.type} and {right.type}. Try adding explicit casts")


def _equality(op: str, left: Typed, right: Typed) -> str:
    """Compare for equality. Null and a value give false, two nulls give null; `!=` is the negation."""
    sign, unequal = ("=", "false") if op == "==" else ("<>", "true")
    if left.type == "string" and right.type == "string":
        return f"({left.sql} {sign} {right.sql})"
    if (left.constant and left.value is not None) or (right.constant and right.value is not None):
        return f"coalesce({left.sql} {sign} {right.sql}, {unequal})"
    return (
        f"CASE WHEN {left.sql} IS NULL AND {right.sql} IS NULL THEN NULL"
        f" ELSE coalesce({left.sql} {sign} {right.sql}, {unequal}) END"
    )


def _arithmetic(op: str, left: Typed, right: Typed) -> Typed:
    kind = _arithmetic_type(op, left, right)
    a, b = left.sql, right.sql
    if "dynamic" in (left.type, right.type):
        number = kind if kind in NUMERIC else "long"
        a, b = convert(left, number).sql, convert(right, number).sql
    if op == "/" and kind in ("int", "long", "timespan"):
        return Typed(f"({a} // {b})" if right.type != "real" else f"({a} / {b})::BIGINT", kind)
    if op == "*" and kind == "timespan" and "real" in (left.type, right.type):
        return Typed(f"({a} * {b})::BIGINT", kind)
    return Typed(f"({a} {op} {b})", kind)


def _arithmetic_type(op: str, left: Typed, right: Typed) -> str:
    kinds = (left.type, right.type)
    rules = {
        ("-", ("datetime", "datetime")): "timespan",
        ("+", ("datetime", "timespan")): "datetime",
        ("-", ("datetime", "timespan")): "datetime",
        ("+", ("timespan", "datetime")): "datetime",
        ("/", ("timespan", "timespan")): "real",
        **{(op, ("timespan", number)): "timespan" for op in "*/" for number in NUMERIC},
        **{("*", (number, "timespan")): "timespan" for number in NUMERIC},
        **{(op, ("timespan", "timespan")): "timespan" for op in "+-%"},
    }
    if (op, kinds) in rules:
        return rules[op, kinds]
    if all(kind in (*NUMERIC, "dynamic") for kind in kinds):
        kind = promote(left, right)
        return "long" if kind == "dynamic" else kind
    raise KqlError(f"Operator '{op}' cannot be applied to types {left.type} and {right.type}")


def _string_operator(op: str, left: Typed, right: Typed) -> str:
    negated, word = (True, op[1:]) if op.startswith("!") else (False, op)
    if word == "~":
        word = "=~"
    if word == "matches":
        sql = f"regexp_matches({left.sql}, {right.sql})"
    elif word in ("has", "has_cs"):
        sql = _has(left, right, sensitive=word == "has_cs")
    elif word == "=~":
        sql = f"(lower({left.sql}) = lower({right.sql}))"
    elif word in _STRING_OPERATORS:
        sql = _STRING_OPERATORS[word].format(left.sql, right.sql)
    else:
        sql = _STRING_OPERATORS[word + "_cs"].format(f"lower({left.sql})", f"lower({right.sql})")
    return f"(NOT {sql})" if negated else sql


def _has(left: Typed, right: Typed, *, sensitive: bool) -> str:
    """Match a whole term. A character that is neither a letter nor a digit ends a term."""
    if not isinstance(right.value, str):
        return f"contains(lower({left.sql}), lower({right.sql}))"
    term = right.value
    before = r"(^|[^A-Za-z0-9])" if term[:1].isalnum() else ""
    after = r"($|[^A-Za-z0-9])" if term[-1:].isalnum() else ""
    pattern = quote(before + re.escape(term) + after)
    return f"regexp_matches({left.sql}, {pattern}, '{'c' if sensitive else 'i'}')"


def _between(parts: Sequence[Typed], negated: bool) -> Typed:
    value, low = _comparable(parts[0], parts[1])
    if value.type == "datetime" and parts[2].type == "timespan":
        high = Typed(f"({low.sql} + {parts[2].sql})", "datetime")
    else:
        high = _comparable(parts[0], parts[2])[1]
    sql = f"({value.sql} BETWEEN {low.sql} AND {high.sql})"
    return Typed(f"(NOT {sql})" if negated else sql, "bool", all(part.constant for part in parts))


def _among(expr: s.Among, scope: Scope) -> Typed:
    value = compile_scalar(expr.value, scope)
    if len(expr.items) == 1 and (table := _tabular(expr.items[0], scope)):
        sql, columns = scope.subquery(table)
        found = f"({value.sql} IN (SELECT {columns[0].ref} FROM ({sql})))"
        return Typed(f"(NOT {found})" if expr.op.startswith("!") else found, "bool")
    items = _flattened([compile_scalar(item, scope) for item in expr.items])
    if expr.op in ("has_any", "has_all"):
        joint = " OR " if expr.op == "has_any" else " AND "
        tests = [_has(to_string(value), to_string(item), sensitive=False) for item in items]
        return Typed(f"({joint.join(tests) or 'false'})", "bool")
    if not items:
        return Typed("true" if expr.op.startswith("!") else "false", "bool")
    left = value.sql if value.type != "dynamic" else to_string(value).sql
    listed = [_comparable(value, item)[1].sql for item in items]
    if expr.op.endswith("~"):
        left, listed = f"lower({left})", [f"lower({item})" for item in listed]
    found = f"coalesce({left} IN ({', '.join(listed)}), false)"
    return Typed(f"(NOT {found})" if expr.op.startswith("!") else found, "bool")


def _tabular(expr: s.Expr, scope: Scope) -> s.Pipeline | None:
    """Return the pipeline of a subquery or of a table name, else None."""
    if isinstance(expr, s.Subquery):
        return expr.pipeline
    known = isinstance(expr, s.Name) and (scope.column(expr.name) is not None or expr.name in scope.lets)
    return s.Pipeline(expr, ()) if isinstance(expr, s.Name) and not known else None


def _flattened(items: Sequence[Typed]) -> list[Typed]:
    """Replace dynamic list literals by their elements."""
    found: list[Typed] = []
    for item in items:
        spread = json.loads(item.value) if item.type == "dynamic" and isinstance(item.value, str) else None
        if isinstance(spread, list):
            found += [literal(_python_kind(element), element) for element in spread]
        else:
            found.append(item)
    return found


def _python_kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return {int: "long", float: "real"}.get(type(value), "string")


def _path(base: Typed, key: Typed) -> Typed:
    if base.type != "dynamic":
        raise KqlError(f"a path expression cannot be applied to a value of type {base.type}")
    if key.type in ("int", "long"):
        path = f"'$[' || {key.sql} || ']'"
    elif isinstance(key.value, str):
        path = quote('$."' + key.value.replace('"', '\\"') + '"')
    else:
        raise KqlError("a path expression needs a literal key")
    return Typed(f"nullif(json_extract({base.sql}, {path})::VARCHAR, 'null')", "dynamic", base.constant)
