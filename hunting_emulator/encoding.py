"""JSON text of rows in the format of each API. DuckDB builds the text, and no row becomes a Python object."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from hunting_emulator.kql.typed import Column, quote

_WIRE_TYPES = {
    "string": "String",
    "datetime": "DateTime",
    "timespan": "TimeSpan",
    "bool": "SByte",
    "int": "Int32",
    "long": "Int64",
    "real": "Double",
    "decimal": "SqlDecimal",
    "guid": "Guid",
    "dynamic": "Object",
}
_MARK = "#microsoft.graph.security.dynamicColumnValue"
# an object starts with `{"`; in a string, `{"` are the last characters, and one of , } ] : follows
_STRING_ENDS_IN_BRACE = r'\{"[,}\]:]'


@dataclass(frozen=True, slots=True)
class Dialect:
    """The differences in the JSON values of the APIs."""

    null: str
    sidecars: str
    marks: bool
    plain_bool: bool = False


PLAIN = Dialect(null="null", sidecars="none", marks=False)
ODATA = Dialect(null="{}", sidecars="all", marks=True)


def schema_pairs(columns: Sequence[Column], dialect: Dialect) -> list[tuple[str, str]]:
    """Return names and wire types of the columns."""
    kinds = {**_WIRE_TYPES, "bool": "Boolean"} if dialect.plain_bool else _WIRE_TYPES
    return [(column.name, kinds[column.type]) for column in columns]


def row_sql(columns: Sequence[Column], dialect: Dialect) -> str:
    """Return SQL of one row: a comma and a JSON object. The joined rows are the content of an array."""
    parts = []
    for at, column in enumerate(columns):
        comma = "," if at else ""
        key = json.dumps(column.name, ensure_ascii=False)
        sidecar = "" if dialect.sidecars == "none" else _sidecar(column)
        if sidecar:
            mark = json.dumps(f"{column.name}@odata.type", ensure_ascii=False)
            head = quote(f'{comma}{mark}:"{sidecar}",{key}:')
            bare = quote(f"{comma}{key}:")
            parts.append(f"CASE WHEN {_has_sidecar(column, dialect)} THEN {head} ELSE {bare} END")
        else:
            parts.append(quote(f"{comma}{key}:"))
        parts.append(_value(column, dialect))
    return f"concat(',{{', {', '.join(parts) or quote('')}, '}}')"


def _sidecar(column: Column) -> str:
    return {"bool": "#SByte", "long": "#Int64", "dynamic": "#Collection(String)"}.get(column.type, "")


def _has_sidecar(column: Column, dialect: Dialect) -> str:
    present = f"{column.ref} LIKE '[%'" if column.type == "dynamic" else f"{column.ref} IS NOT NULL"
    return f"({present} AND hash({column.ref}) % 2 = 0)" if dialect.sidecars == "some" else present


def _value(column: Column, dialect: Dialect) -> str:
    ref = column.ref
    if column.type == "string":
        return f"to_json({ref})"
    texts = {
        "datetime": f"'\"' || iso({ref}) || '\"'",
        "timespan": f"'\"' || span_text({ref}) || '\"'",
        "bool": f"({ref})::VARCHAR" if dialect.plain_bool else f"({ref})::TINYINT::VARCHAR",
        "real": f"CASE WHEN isfinite({ref}) THEN ({ref})::VARCHAR WHEN isnan({ref}) THEN '\"NaN\"'"
        f" WHEN {ref} > 0 THEN '\"Infinity\"' WHEN {ref} < 0 THEN '\"-Infinity\"' END",
        "decimal": f"'\"' || rtrim(rtrim(({ref})::VARCHAR, '0'), '.') || '\"'",
        "guid": f"'\"' || {ref} || '\"'",
        "dynamic": _marked(ref) if dialect.marks else ref,
    }
    return f"coalesce({texts.get(column.type, f'({ref})::VARCHAR')}, '{dialect.null}')"


def _marked(ref: str) -> str:
    """Add the type mark to every object. Use `odata_value` where text replacement is not safe."""
    mark = f'{{"@odata.type":"{_MARK}",'
    return (
        f"CASE WHEN contains({ref}, '[{{') OR contains({ref}, '{{}}')"
        f" OR regexp_matches({ref}, '{_STRING_ENDS_IN_BRACE}')"
        f" THEN odata_value({ref}) ELSE replace({ref}, '{{\"', '{mark}\"') END"
    )


def odata_value(text: str) -> str:
    """Return a dynamic value in the format of Graph.

    Each object has a type. In an array, each object is a JSON string.
    """
    return _compact(_odata(json.loads(text)))


def _odata(value: object) -> object:
    if isinstance(value, dict):
        return {"@odata.type": _MARK, **{key: _odata(inner) for key, inner in value.items()}}
    if isinstance(value, list):
        return [_compact(inner) if isinstance(inner, dict) else _odata(inner) for inner in value]
    return value


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
