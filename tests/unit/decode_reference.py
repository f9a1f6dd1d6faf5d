"""A slow and simple decoder: the whole body at once, one value at a time, with its own code."""

import json
import math
import re
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

INTEGERS = dict.fromkeys(["byte", "int16", "uint16", "int32", "int"], 32)
INTEGERS |= dict.fromkeys(["uint32", "int64", "uint64", "long"], 64)
WIRES = {
    "string": "String",
    "datetime": "DateTime",
    "bool": "SByte Boolean",
    "int": "Byte Int16 UInt16 Int32 UInt32",
    "long": "Int64 UInt64",
    "real": "Double Single",
    "decimal": "SqlDecimal Decimal",
    "guid": "Guid",
    "timespan": "TimeSpan",
    "dynamic": "Object Dynamic",
}
KUSTO = {wire: kusto for kusto, wires in WIRES.items() for wire in wires.split()}
BY_LOWER = {wire.lower(): kusto for wire, kusto in KUSTO.items()} | {kusto: kusto for kusto in WIRES}
PADDED = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]+Z"
MISFIT = object()


class Wrong(Exception):
    """The body is not a reply."""


class Token(str):
    """A number as written."""


class Pairs(list):  # type: ignore[type-arg]
    """An object as written."""


def load(text: str) -> Any:
    return json.loads(text, object_pairs_hook=Pairs, parse_int=Token, parse_float=Token, parse_constant=Token)


def depth(value: Any) -> int:
    if isinstance(value, Pairs):
        return 1 + max((depth(v) for _, v in value), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def string(text: str) -> str:
    return "".join(
        f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else json.dumps(c, ensure_ascii=False)[1:-1]
        for c in text
    ).join('""')


def halves(text: str) -> bool:
    """Return whether a text holds half of a surrogate pair."""
    return any("\ud800" <= c <= "\udfff" for c in text)


def dump(value: Any) -> str:
    """Return the JSON text as written, but compact."""
    if isinstance(value, Pairs):
        return "{" + ",".join(f"{string(k)}:{dump(v)}" for k, v in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dump, value)) + "]"
    if isinstance(value, Token):
        return f'"{value}"' if value in ("NaN", "Infinity", "-Infinity") else value
    return string(value) if isinstance(value, str) else json.dumps(value)


def clean(value: Any, level: int = 0) -> Any:
    """Return the canonical text of a dynamic value, `level` deep in another value."""
    if isinstance(value, Pairs):
        return Pairs((k, clean(v, level + 1)) for k, v in value if not k.endswith("@odata.type"))
    if isinstance(value, list):
        return [clean(v, level + 1) for v in objects_of(value, level + 1)]
    if type(value) is str and re.fullmatch(PADDED, value):
        return value[:-1].rstrip("0").removesuffix(".") + "Z"
    return value


def objects_of(values: list[Any], level: int) -> list[Any]:
    if not all(type(v) is str and v.startswith("{") for v in values):
        return values
    try:
        objects = [load(v) for v in values]
    except (ValueError, RecursionError):
        return values
    return values if any(level + depth(clean(v, level)) > 100 for v in objects) else objects


def time_of(text: str) -> Any:
    written = (
        r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?"
    )
    parts = re.fullmatch(written, text)
    if not parts:
        return MISFIT
    try:
        whole = datetime.strptime(parts[1].replace(" ", "T"), "%Y-%m-%dT%H:%M:%S")  # noqa: DTZ007 - naive on both sides
    except ValueError:
        return MISFIT
    nanoseconds = (whole - datetime(1970, 1, 1)) // timedelta(seconds=1) * 10**9  # noqa: DTZ001
    nanoseconds += int(Decimal(f"0{parts[2] or ''}") * 10**9)
    if parts[3] and parts[3] != "Z":
        ahead = int(parts[3][1:3]) * 60 + int(parts[3][4:])
        nanoseconds -= ahead * 60 * 10**9 * (-1 if parts[3][0] == "-" else 1)
    return nanoseconds if abs(nanoseconds) < 2**63 else MISFIT


def span_of(text: str) -> Any:
    fraction = r"(\.[0-9]{1,9})?"
    kusto = r"(-?)(?:([0-9]{1,8})\.)?([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])" + fraction
    long = "[0-9]{1,9}"
    iso = rf"(-?)P(?:([0-9]{{1,8}})D)?(?:T(?:({long})H)?(?:({long})M)?(?:({long}){fraction}S)?)?"
    parts = re.fullmatch(kusto, text) or re.fullmatch(iso, text)
    if not parts or text[-1] in "PT":
        return MISFIT
    hours = int(parts[2] or 0) * 24 + int(parts[3] or 0)
    whole = (hours * 60 + int(parts[4] or 0)) * 60 + int(parts[5] or 0)
    nanoseconds = int((whole + Decimal(f"0{parts[6] or ''}")) * 10**9) * (-1 if parts[1] else 1)
    return nanoseconds if abs(nanoseconds) < 2**63 else MISFIT


def number_of(kusto: str, wire: str, token: str) -> Any:
    if kusto in ("int", "long"):
        if not token.lstrip("-").isdigit() or len(token) > 21:
            return MISFIT
        limit = 2 ** (INTEGERS[wire.lower()] - 1)
        return int(token) if -limit <= int(token) < limit else MISFIT
    if kusto == "bool":
        return {"0": False, "-0": False, "1": True}.get(token, MISFIT)
    if kusto == "real":
        named = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
        return named.get(token, MISFIT if token not in named and math.isinf(float(token)) else float(token))
    return decimal_of(token) if kusto == "decimal" else MISFIT


def decimal_of(text: str) -> Any:
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?", text):
        return MISFIT
    with localcontext(prec=2 * len(text) + 60):
        scaled = Decimal(text) * 10**18
        return int(scaled) if abs(scaled) < 10**38 and scaled == int(scaled) else MISFIT


def text_of(kusto: str, wire: str, text: str) -> Any:
    if kusto in ("string", "guid"):
        return MISFIT if halves(text) else text
    if kusto == "datetime":
        return time_of(text)
    if kusto == "timespan":
        return span_of(text)
    if kusto == "real" and text in ("NaN", "Infinity", "-Infinity", "INF", "-INF"):
        return float(text)
    if kusto == "decimal":
        return decimal_of(text)
    return MISFIT


def value_of(wire: str, value: Any) -> Any:
    kusto = BY_LOWER.get(wire.lower())
    if value is None or (isinstance(value, Pairs) and not value):
        return None
    if kusto in ("dynamic", None):
        if depth(value) > 100:
            raise Wrong
        text = dump(clean(value))
        return None if text == "{}" else text
    if isinstance(value, Token):
        return number_of(kusto, wire, value)
    if isinstance(value, bool):
        return value if kusto == "bool" else MISFIT
    if isinstance(value, str):
        return text_of(kusto, wire, value)
    if depth(value) > 100:
        raise Wrong
    return MISFIT


def row_of(schema: list[tuple[str, str]], row: Any) -> tuple[list[Any], str | None]:
    if not isinstance(row, Pairs):
        raise Wrong
    kept = [(k, v) for k, v in row if not k.endswith("@odata.type")]
    if sorted(k for k, _ in kept) != sorted(n for n, _ in schema):
        raise Wrong
    given = dict(kept)
    values = [value_of(wire, given[name]) for name, wire in schema]
    lost = Pairs((n, given[n]) for (n, _), v in zip(schema, values, strict=True) if v is MISFIT)
    return [None if v is MISFIT else v for v in values], dump(lost) if lost else None


def member(pairs: Any, wanted: str) -> Any:
    found = [v for k, v in pairs if k.lower() == wanted]
    if len(found) != 1:
        raise Wrong
    return found[0]


def reference(body: bytes) -> tuple[list[tuple[str, str]], list[list[Any]], list[str | None]]:
    """Return names and Kusto types, rows (times and spans in ns, decimals times 10**18), rescued values.

    Raises:
        Wrong: the body is not a reply.
    """
    try:
        top = load(body.decode())
    except (ValueError, RecursionError):
        raise Wrong from None
    if not isinstance(top, Pairs) or len({k.lower() for k, _ in top}) != len(top):
        raise Wrong
    entries, results = member(top, "schema"), member(top, "results")
    for entry in (entries, results):
        if not isinstance(entry, list) or isinstance(entry, Pairs):
            raise Wrong
    if not all(isinstance(e, Pairs) for e in entries):
        raise Wrong
    schema = [(member(e, "name"), member(e, "type")) for e in entries]
    if not all(type(x) is str and x and not halves(x) for pair in schema for x in pair):
        raise Wrong
    if not schema or len({n for n, _ in schema}) != len(schema) or "_rescued_data" in dict(schema):
        raise Wrong
    for key, value in top:
        if key.lower() == "stats" and not (value is None or isinstance(value, Pairs)):
            raise Wrong
    rows = [row_of(schema, row) for row in results]
    named = [(n, BY_LOWER.get(w.lower(), w)) for n, w in schema]
    return named, [r for r, _ in rows], [lost for _, lost in rows]
