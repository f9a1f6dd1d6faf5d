# ruff: noqa: E501, ISC004 - SQL is easier to read unbroken, and a macro may be several joined lines
"""SQL fragments with their Kusto type, and the conversions between types.

Storage: datetime and timespan are BIGINT ticks, dynamic and guid are text, a string is never NULL.
"""

from dataclasses import dataclass

from hunting_emulator.kql.errors import KqlError

NUMERIC = ("int", "long", "decimal", "real")
TICKS = ("datetime", "timespan")
STORAGE = {
    "string": "VARCHAR",
    "datetime": "BIGINT",
    "timespan": "BIGINT",
    "bool": "BOOLEAN",
    "int": "INTEGER",
    "long": "BIGINT",
    "real": "DOUBLE",
    "decimal": "DECIMAL(38,9)",
    "guid": "VARCHAR",
    "dynamic": "VARCHAR",
}

MACROS = (
    # seconds before 1970 are counted from year 1, because the division needs a positive number
    "iso_second(t) AS strftime(make_timestamp((t // 10000000 - 62135596800) * 1000000), '%Y-%m-%dT%H:%M:%S')",
    "iso7(t) AS iso_second(t) || '.' || lpad((t % 10000000)::VARCHAR, 7, '0') || 'Z'",
    "iso(t) AS rtrim(rtrim(iso_second(t) || '.' || lpad((t % 10000000)::VARCHAR, 7, '0'), '0'), '.') || 'Z'",
    "span_text(t) AS CASE WHEN t < 0 THEN '-' ELSE '' END"
    " || CASE WHEN abs(t) >= 864000000000 THEN (abs(t) // 864000000000)::VARCHAR || '.' ELSE '' END"
    " || lpad((abs(t) // 36000000000 % 24)::VARCHAR, 2, '0') || ':' || lpad((abs(t) // 600000000 % 60)::VARCHAR, 2, '0')"
    " || ':' || lpad((abs(t) // 10000000 % 60)::VARCHAR, 2, '0')"
    " || CASE WHEN t % 10000000 = 0 THEN '' ELSE '.' || lpad((abs(t) % 10000000)::VARCHAR, 7, '0') END",
    "whole_number(x) AS CASE WHEN regexp_full_match(trim(x), '[+-]?\\d{1,19}') THEN try_cast(trim(x) AS BIGINT) END",
    "parse_ticks(x) AS epoch_us(try_cast(regexp_replace(trim(x), '(\\.\\d{6})\\d+', '\\1') AS TIMESTAMP)) * 10"
    " + 621355968000000000 + coalesce(try_cast(regexp_extract(x, '\\.\\d{6}(\\d)', 1) AS BIGINT), 0)",
)


@dataclass(frozen=True, slots=True)
class Typed:
    """A scalar expression. `value` holds the Python value of a literal; `constant` means no column is read."""

    sql: str
    type: str
    constant: bool = False
    value: object = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation: its name in KQL, its type and its name in SQL."""

    name: str
    type: str
    ref: str


def quote(text: str) -> str:
    """Quote a text as a SQL string literal. NUL is written with `chr`, because DuckDB's parser refuses NUL."""
    return "(" + " || chr(0) || ".join("'" + part.replace("'", "''") + "'" for part in text.split("\0")) + ")"


def literal(kind: str, value: object) -> Typed:
    """Return a literal of a Kusto type. None is null, or the empty string for strings."""
    if value is None:
        sql = "''" if kind == "string" else f"NULL::{STORAGE[kind]}"
    elif kind in ("string", "guid", "dynamic"):
        sql = quote(str(value))
    elif kind == "bool":
        sql = str(value).lower()
    elif kind == "real":
        sql = f"'{value}'::DOUBLE"
    elif kind == "decimal":
        sql = f"'{value}'::DECIMAL(38,9)"
    else:
        sql = f"{value}::{STORAGE[kind]}" if kind == "int" else f"({value}::BIGINT)"
    return Typed(sql, kind, constant=True, value=value)


def to_string(x: Typed) -> Typed:
    """Convert by `tostring(x)`. The result is never null."""
    sql = {
        "string": x.sql,
        "datetime": f"coalesce(iso7({x.sql}), '')",
        "timespan": f"coalesce(span_text({x.sql}), '')",
        "dynamic": f"coalesce(json_extract_string({x.sql}, '$'), '')",
    }.get(x.type, f"coalesce(({x.sql})::VARCHAR, '')")
    return Typed(sql, "string", x.constant, x.value if x.type == "string" else None)


def to_number(x: Typed, kind: str) -> Typed:
    """Convert by `tolong`, `toint`, `toreal` or `todecimal`. The result is null if the value is not a number."""
    storage = STORAGE[kind]
    if x.type in ("string", "dynamic"):
        text = to_string(x).sql
        sql = (
            f"try_cast({text} AS {storage})"
            if kind in ("real", "decimal")
            else f"try_cast(whole_number({text}) AS {storage})"
        )
    elif x.type in ("real", "decimal") and kind in ("int", "long"):
        sql = f"try_cast(trunc({x.sql}) AS {storage})"
    else:
        sql = f"try_cast({x.sql} AS {storage})"
    return Typed(sql, kind, x.constant)


def to_datetime(x: Typed) -> Typed:
    """Convert by `todatetime(x)`, with all seven digits."""
    if x.type in ("datetime", "long", "int"):
        return Typed(x.sql, "datetime", x.constant, x.value)
    return Typed(f"parse_ticks({to_string(x).sql})", "datetime", x.constant)


def to_bool(x: Typed) -> Typed:
    """Convert by `tobool(x)`. The result is null if the value is not a boolean."""
    if x.type in ("string", "dynamic"):
        return Typed(f"try_cast({to_string(x).sql} AS BOOLEAN)", "bool", x.constant)
    return Typed(f"({x.sql})::BOOLEAN", "bool", x.constant)


def to_json(x: Typed) -> str:
    """Return SQL of the value as DuckDB JSON, for objects and lists."""
    sql = {
        "dynamic": f"({x.sql})::JSON",
        "datetime": f"to_json(iso7({x.sql}))",
        "timespan": f"to_json(span_text({x.sql}))",
    }.get(x.type, f"to_json({x.sql})")
    return f"coalesce({sql}, 'null'::JSON)"


def promote(left: Typed, right: Typed) -> str:
    """Return the common type of two values. Raise KqlError if there is none."""
    if left.type == right.type:
        return left.type
    if left.type in NUMERIC and right.type in NUMERIC:
        return max(left.type, right.type, key=NUMERIC.index)
    for one, other in ((left, right), (right, left)):
        if one.value is None and one.constant:
            return other.type
        if one.type == "dynamic":
            return other.type
    raise KqlError(f"Cannot reconcile types '{left.type}' and '{right.type}'. Try adding explicit casts")


def convert(x: Typed, kind: str) -> Typed:  # noqa: PLR0911 - one answer per kind of type
    """Convert the value to another type with the explicit conversion functions."""
    if x.type == kind:
        return x
    if kind == "string":
        return to_string(x)
    if kind in NUMERIC:
        return to_number(x, kind)
    if kind == "datetime":
        return to_datetime(x)
    if kind == "bool":
        return to_bool(x)
    if kind == "dynamic":
        return Typed(f"({to_json(x)})::VARCHAR", "dynamic", x.constant)
    return Typed(f"({x.sql})::{STORAGE[kind]}", kind, x.constant)
