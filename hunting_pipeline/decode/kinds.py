"""A table from wire types to Kusto types, Arrow types and the functions that read one value."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation
from typing import Any

import pyarrow as pa

from hunting_pipeline.decode.text import Json, Number, canonical, has_surrogate

DECIMAL = pa.decimal128(38, 18)
"""The type of every decimal: 20 digits before the point, 18 after it. All files use the same scale."""
_QUANTUM = Decimal(1).scaleb(-DECIMAL.scale)
_LOSSLESS = Context(prec=DECIMAL.precision, traps=[Inexact, InvalidOperation])
DATETIME = pa.timestamp("ns", "UTC")

_NS = 1_000_000_000
_LIMIT = 1 << 63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))?", re.ASCII
)
_SPAN = re.compile(r"(-?)(?:(\d{1,8})\.)?(\d\d):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?", re.ASCII)
_ISO_SPAN = re.compile(
    r"(-?)P(?:(\d{1,8})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})(?:\.(\d{1,9}))?S)?)?", re.ASCII
)
_INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)
_DECIMAL = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_NOT_FINITE = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "INF": math.inf,
    "-Infinity": -math.inf,
    "-INF": -math.inf,
}
"""Names that JSON writers and OData use for numbers that JSON cannot express."""


class Misfit(Exception):
    """A value does not fit the type of its column."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind of a column.

    Attributes:
        kusto: the name of the type in Kusto.
        arrow: the Arrow type of the column.
        read: converts a JSON value for Arrow; None means null. The value must not be null or an empty object.
            Raises Misfit.
    """

    kusto: str
    arrow: pa.DataType
    read: Callable[[Json], Any]

    @property
    def dynamic(self) -> bool:
        """Whether the column holds canonical JSON text."""
        return self.read is canonical


def _text(value: Json) -> str:
    if not isinstance(value, str) or isinstance(value, Number) or has_surrogate(value):
        raise Misfit
    return value


def _bool(value: Json) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, Number) or value not in ("0", "1", "-0"):
        raise Misfit
    return value == "1"


def _integer(bits: int) -> Callable[[Json], int]:
    limit = 1 << (bits - 1)

    def read(value: Json) -> int:
        if not isinstance(value, Number) or not _INTEGER.fullmatch(value):
            raise Misfit
        number = int(value)
        if not -limit <= number < limit:
            raise Misfit
        return number

    return read


def _real(value: Json) -> float:
    if not isinstance(value, str):
        raise Misfit
    if value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if not isinstance(value, Number) or math.isinf(float(value)):
        raise Misfit
    return float(value)


def _decimal(value: Json) -> Decimal:
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise Misfit
    try:
        return Decimal(value).quantize(_QUANTUM, context=_LOSSLESS)
    except DecimalException:
        raise Misfit from None


def _nanoseconds(fraction: str | None) -> int:
    return int((fraction or "").ljust(9, "0"))


def _within_int64(nanoseconds: int) -> int:
    # the lowest int64 does not fit: numpy and pandas read it as "not a time"
    if not -_LIMIT < nanoseconds < _LIMIT:
        raise Misfit
    return nanoseconds


def _datetime(value: Json) -> int:
    """Read a datetime as nanoseconds since 1970. Without a time zone it is UTC, like every Kusto datetime."""
    parts = _TIME.fullmatch(value) if isinstance(value, str) else None
    if not parts:
        raise Misfit
    try:
        moment = datetime.fromisoformat(f"{parts[1]}T{parts[2]}+00:00")
    except ValueError:
        raise Misfit from None
    since = moment - _EPOCH
    seconds = since.days * 86400 + since.seconds
    if parts[4]:
        offset = int(parts[5]) * 3600 + int(parts[6]) * 60
        seconds -= offset if parts[4] == "+" else -offset
    return _within_int64(seconds * _NS + _nanoseconds(parts[3]))


def _timespan(value: Json) -> int:
    """Read a timespan as nanoseconds.

    The text is Kusto's `[-][d.]hh:mm:ss[.fffffff]`, or an ISO 8601 duration without years, months and weeks.
    """
    text = value if isinstance(value, str) else ""
    parts = _SPAN.fullmatch(text) or _ISO_SPAN.fullmatch(text)
    if not parts or text[-1] in "PT" or (parts.re is _SPAN and int(parts[3]) > 23):
        raise Misfit
    days, hours, minutes, seconds = (int(p or 0) for p in parts.group(2, 3, 4, 5))
    total = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * _NS + _nanoseconds(parts[6])
    return _within_int64(-total if parts[1] else total)


_STRING = Kind("string", pa.string(), _text)
_TIMES = Kind("datetime", DATETIME, _datetime)
_FLAG = Kind("bool", pa.bool_(), _bool)
_INT = Kind("int", pa.int32(), _integer(32))
_WIDE_INT = Kind("int", pa.int64(), _integer(64))
_LONG = Kind("long", pa.int64(), _integer(64))
_FLOAT = Kind("real", pa.float64(), _real)
_EXACT = Kind("decimal", DECIMAL, _decimal)
_GUID = Kind("guid", pa.string(), _text)
_DURATION = Kind("timespan", pa.duration("ns"), _timespan)
_DYNAMIC = Kind("dynamic", pa.string(), canonical)

_KINDS = {
    "string": _STRING,
    "datetime": _TIMES,
    "sbyte": _FLAG,
    "boolean": _FLAG,
    "byte": _INT,
    "int16": _INT,
    "uint16": _INT,
    "int32": _INT,
    "uint32": _WIDE_INT,
    "int64": _LONG,
    "uint64": _LONG,
    "double": _FLOAT,
    "single": _FLOAT,
    "sqldecimal": _EXACT,
    "decimal": _EXACT,
    "guid": _GUID,
    "timespan": _DURATION,
    "object": _DYNAMIC,
    "dynamic": _DYNAMIC,
    "bool": _FLAG,
    "int": _INT,
    "long": _LONG,
    "real": _FLOAT,
}
"""Kinds by the lower-case name of the wire type. The names of Kusto types are wire types too."""


def kind_of(wire: str) -> Kind:
    """Return the kind of a wire type. An unknown type keeps its name; its values are read as JSON text."""
    return _KINDS.get(wire.lower()) or Kind(wire, pa.string(), canonical)
