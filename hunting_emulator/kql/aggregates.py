"""Aggregate functions, allowed inside `summarize` only."""

from collections.abc import Sequence

from hunting_emulator.kql.errors import KqlError
from hunting_emulator.kql.typed import NUMERIC, Typed, convert, to_json

# over no rows, an aggregate returns Kusto's default: 0, an empty list, or null
_ONE = {
    "dcount": ("long", "count(DISTINCT {0})"),
    "count_distinct": ("long", "count(DISTINCT {0})"),
    "avg": ("real", "avg({0})"),
    "stdev": ("real", "coalesce(stddev_samp({0}), 0)"),
    "variance": ("real", "coalesce(var_samp({0}), 0)"),
    "min": ("same", "min({0})"),
    "max": ("same", "max({0})"),
    "take_any": ("same", "any_value({0})"),
    "any": ("same", "any_value({0})"),
    "countif": ("long", "count(*) FILTER (WHERE {0})"),
    "make_list": (
        "dynamic",
        "coalesce(to_json(list({1}) FILTER (WHERE {0} IS NOT NULL)), '[]'::JSON)::VARCHAR",
    ),
    "make_set": (
        "dynamic",
        "coalesce(to_json(list(DISTINCT {1}) FILTER (WHERE {0} IS NOT NULL)), '[]'::JSON)::VARCHAR",
    ),
}
NAMES = (*_ONE, "count", "sum", "sumif", "dcountif", "percentile")
# the name of an unnamed result: `sum(x)` is `sum_x`, `make_set(x)` is `set_x`
RESULT_PREFIX = {"make_set": "set", "make_list": "list", "take_any": "", "any": "any"}


def call(name: str, args: Sequence[Typed]) -> Typed:
    """Compile an aggregate. Raise KqlError for a wrong number or type of arguments."""
    if name == "count":
        return Typed("count(*)", "long")
    if not args:
        raise KqlError(f"{name}(): function expects at least 1 argument(s).")
    first = args[0]
    if name in ("sum", "sumif"):
        return _sum(first, convert(args[1], "bool").sql if name == "sumif" and len(args) > 1 else "true")
    if name == "dcountif" and len(args) > 1:
        return Typed(f"count(DISTINCT {first.sql}) FILTER (WHERE {convert(args[1], 'bool').sql})", "long")
    if name == "percentile" and len(args) > 1:
        return Typed(f"quantile_disc({first.sql}, ({args[1].sql}) / 100.0)", first.type)
    if name not in _ONE:
        raise KqlError(f"{name}(): function expects 2 argument(s).")
    kind, sql = _ONE[name]
    if name == "countif":
        first = convert(first, "bool")
    if name in ("avg", "stdev", "variance") and first.type == "dynamic":
        first = convert(first, "real")
    made = sql.format(first.sql, to_json(first))
    if kind == "same" and first.type == "string":
        made = f"coalesce({made}, '')"
    return Typed(made, first.type if kind == "same" else kind)


def _sum(value: Typed, condition: str) -> Typed:
    if value.type not in (*NUMERIC, "timespan", "dynamic"):
        raise KqlError(f"sum(): argument #1 must be a numeric value, not {value.type}")
    number = convert(value, "real") if value.type == "dynamic" else value
    kind = "long" if number.type == "int" else number.type
    storage = {"real": "DOUBLE", "decimal": "DECIMAL(38,9)"}.get(kind, "BIGINT")
    where = "" if condition == "true" else f" FILTER (WHERE {condition})"
    return Typed(f"coalesce(sum({number.sql}){where}, 0)::{storage}", kind)
