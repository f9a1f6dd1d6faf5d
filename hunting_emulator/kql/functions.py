"""Scalar functions: a table of templates, and the few functions that need code."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hunting_emulator import ticks
from hunting_emulator.kql.errors import KqlError
from hunting_emulator.kql.typed import NUMERIC, Typed, convert, literal, promote, to_json, to_string


@dataclass(frozen=True, slots=True)
class _Template:
    """SQL over the arguments. Each argument is converted to the required type; `any` means no conversion."""

    result: str
    wants: tuple[str, ...]
    sql: str


def _template(result: str, wants: str, sql: str) -> _Template:
    return _Template(result, tuple(wants.split()), sql)


_TEMPLATES = {
    "strlen": _template("long", "string", "length({0})"),
    "tolower": _template("string", "string", "lower({0})"),
    "toupper": _template("string", "string", "upper({0})"),
    "indexof": _template("long", "string string", "(instr({0}, {1}) - 1)"),
    "replace_string": _template("string", "string string string", "replace({0}, {1}, {2})"),
    "split": _template("dynamic", "string string", "to_json(string_split({0}, {1}))::VARCHAR"),
    "extract": _template(
        "string", "string long string", "coalesce(regexp_extract({2}, {0}, {1}::INTEGER), '')"
    ),
    "isempty": _template("bool", "string", "({0} = '')"),
    "isnotempty": _template("bool", "string", "({0} <> '')"),
    "not": _template("bool", "bool", "(NOT {0})"),
    "abs": _template("same", "any", "abs({0})"),
    "sqrt": _template("real", "real", "sqrt({0})"),
    "log": _template("real", "real", "ln({0})"),
    "pow": _template("real", "real real", "pow({0}, {1})"),
    "isnan": _template("bool", "real", "isnan({0})"),
    "hourofday": _template("int", "datetime", f"({{0}} // {ticks.HOUR} % 24)::INTEGER"),
    "dayofweek": _template("timespan", "datetime", f"(({{0}} // {ticks.DAY} + 1) % 7 * {ticks.DAY})"),
    "startofday": _template("datetime", "datetime", f"({{0}} - {{0}} % {ticks.DAY})"),
    "endofday": _template("datetime", "datetime", f"({{0}} - {{0}} % {ticks.DAY} + {ticks.DAY - 1})"),
    "startofweek": _template(
        "datetime",
        "datetime",
        f"({{0}} - {{0}} % {ticks.DAY} - ({{0}} // {ticks.DAY} + 1) % 7 * {ticks.DAY})",
    ),
    "parse_json": _template(
        "dynamic", "string", "CASE WHEN json_valid({0}) THEN {0} ELSE to_json({0})::VARCHAR END"
    ),
    "array_length": _template("long", "dynamic", "json_array_length({0})::BIGINT"),
    "hash_sha256": _template("string", "string", "sha256({0})"),
    "hash_md5": _template("string", "string", "md5({0})"),
}
_CONVERSIONS = {
    "tostring": "string",
    "tolong": "long",
    "toint": "int",
    "toreal": "real",
    "todouble": "real",
    "todecimal": "decimal",
    "todatetime": "datetime",
    "tobool": "bool",
    "todynamic": "dynamic",
    "toguid": "guid",
}
# an unnamed result of these functions has the name of the column in the argument
KEEPS_NAME = ("bin", "startofday", "startofweek", "endofday", *_CONVERSIONS)


def call(name: str, args: Sequence[Typed]) -> Typed:
    """Compile the call of a scalar function. Raise KqlError for an unknown name or a wrong argument count."""
    constant = all(arg.constant for arg in args)
    if name in _CONVERSIONS and len(args) == 1:
        if name == "todynamic" and args[0].type == "string":
            return call("parse_json", args)
        return convert(args[0], _CONVERSIONS[name])
    if name in _SPECIAL:
        made = _SPECIAL[name](args)
        return Typed(made.sql, made.type, constant, made.value)
    template = _TEMPLATES.get(name)
    if template is None:
        raise KqlError(f"Unknown function: '{name}'.")
    if len(args) != len(template.wants):
        raise KqlError(f"{name}(): function expects {len(template.wants)} argument(s).")
    ready = [
        arg if want == "any" else convert(arg, want) for arg, want in zip(args, template.wants, strict=True)
    ]
    kind = ready[0].type if template.result == "same" else template.result
    return Typed(template.sql.format(*(arg.sql for arg in ready)), kind, constant)


def _need(args: Sequence[Typed], least: int, name: str) -> None:
    if len(args) < least:
        raise KqlError(f"{name}(): function expects at least {least} argument(s).")


def bin_down(args: Sequence[Typed]) -> Typed:
    """Compile `bin(value, size)`. Bins of datetimes start at 0001-01-01, like ticks."""
    _need(args, 2, "bin")
    value, size = args[0], args[1]
    if value.type == "datetime":
        return Typed(f"({value.sql} - {value.sql} % {size.sql})", "datetime")
    kind = value.type if value.type == "timespan" else promote(value, size)
    if kind in ("real", "decimal"):
        return Typed(f"(floor({value.sql} / {size.sql}) * {size.sql})", kind)
    return Typed(f"({value.sql} - (({value.sql} % {size.sql}) + {size.sql}) % {size.sql})", kind)


def _hash(args: Sequence[Typed]) -> Typed:
    _need(args, 1, "hash")
    if len(args) == 1:
        return Typed(f"(hash({args[0].sql}) >> 1)::BIGINT", "long")
    return Typed(f"(hash({args[0].sql}) % ({args[1].sql})::UBIGINT)::BIGINT", "long")


def case(args: Sequence[Typed]) -> Typed:
    """Compile `case(p1, v1, p2, v2, ..., otherwise)`. A null predicate counts as false."""
    _need(args, 3, "case")
    if len(args) % 2 == 0:
        raise KqlError("case(): function expects an odd number of arguments.")
    values = [*args[1::2], args[-1]]
    common = values[0]
    for value in values[1:]:
        common = Typed("", promote(common, value))
    branches = " ".join(
        f"WHEN {test.sql} THEN {convert(value, common.type).sql}"
        for test, value in zip(args[:-1:2], args[1::2], strict=True)
    )
    return Typed(f"CASE {branches} ELSE {convert(values[-1], common.type).sql} END", common.type)


def _isnull(args: Sequence[Typed]) -> Typed:
    _need(args, 1, "isnull")
    return Typed("false" if args[0].type == "string" else f"({args[0].sql} IS NULL)", "bool")


def _isnotnull(args: Sequence[Typed]) -> Typed:
    _need(args, 1, "isnotnull")
    return Typed("true" if args[0].type == "string" else f"({args[0].sql} IS NOT NULL)", "bool")


def _coalesce(args: Sequence[Typed]) -> Typed:
    _need(args, 2, "coalesce")
    kind = promote(args[0], args[1])
    parts = [f"nullif({arg.sql}, '')" if kind == "string" else convert(arg, kind).sql for arg in args]
    return Typed(f"coalesce({', '.join(parts)}" + (", '')" if kind == "string" else ")"), kind)


def _strcat(args: Sequence[Typed]) -> Typed:
    _need(args, 1, "strcat")
    return Typed(f"concat({', '.join(to_string(arg).sql for arg in args)})", "string")


def _substring(args: Sequence[Typed]) -> Typed:
    _need(args, 2, "substring")
    text, start = to_string(args[0]).sql, args[1].sql
    if len(args) > 2:
        return Typed(f"substr({text}, {start} + 1, {args[2].sql})", "string")
    return Typed(f"substr({text}, {start} + 1)", "string")


def _extreme(function: str) -> Callable[[Sequence[Typed]], Typed]:
    def build(args: Sequence[Typed]) -> Typed:
        _need(args, 1, f"{function}_of")
        return Typed(f"{function}({', '.join(arg.sql for arg in args)})", args[0].type)

    return build


def _pack(args: Sequence[Typed]) -> Typed:
    if len(args) % 2:
        raise KqlError("bag_pack(): function expects an even number of arguments.")
    return pack([(to_string(key), value) for key, value in zip(args[::2], args[1::2], strict=True)])


def pack(pairs: Sequence[tuple[Typed, Typed]]) -> Typed:
    """Pack keys and values into a dynamic object, with nulls."""
    body = ", ".join(f"{key.sql}, {to_json(value)}" for key, value in pairs)
    return Typed(f"json_object({body})::VARCHAR", "dynamic")


def _array(args: Sequence[Typed]) -> Typed:
    return Typed(f"json_array({', '.join(to_json(arg) for arg in args)})::VARCHAR", "dynamic")


def data_size(args: Sequence[Typed]) -> Typed:
    """Estimate the bytes of values: text as UTF-8, fixed widths for other types."""
    widths = {"int": 4, "bool": 1, "guid": 16}
    parts = [
        f"coalesce(strlen({arg.sql}), 0)"
        if arg.type in ("string", "dynamic")
        else str(widths.get(arg.type, 8))
        for arg in args
    ]
    return Typed(f"({' + '.join(parts)})::BIGINT", "long")


def _round(args: Sequence[Typed]) -> Typed:
    _need(args, 1, "round")
    digits = args[1] if len(args) > 1 else literal("int", 0)
    value = args[0] if args[0].type in NUMERIC else convert(args[0], "real")
    return Typed(f"round({value.sql}, ({digits.sql})::INTEGER)", value.type)


_SPECIAL: dict[str, Callable[[Sequence[Typed]], Typed]] = {
    "bin": bin_down,
    "floor": bin_down,
    "hash": _hash,
    "case": case,
    "iff": case,
    "iif": case,
    "isnull": _isnull,
    "isnotnull": _isnotnull,
    "coalesce": _coalesce,
    "strcat": _strcat,
    "substring": _substring,
    "min_of": _extreme("least"),
    "max_of": _extreme("greatest"),
    "bag_pack": _pack,
    "pack": _pack,
    "pack_array": _array,
    "estimate_data_size": data_size,
    "round": _round,
}
