"""Exact JSON: number tokens, the order of keys and duplicate keys stay as they were written.

The canonical text of a dynamic value is the same for every API:

* Separators are compact. Keys keep their order, duplicate keys stay, and number tokens are verbatim.
* Non-ASCII characters and `/` are not escaped. Control characters and lone surrogates are escaped, because
  lone surrogates have no UTF-8.
* Keys that end in `@odata.type` are removed at every depth.
* An array of strings becomes an array of objects if every string holds a JSON object, because Graph sends
  arrays of objects in this form.
* A string that is a UTC datetime loses the trailing zeros of its fraction. Graph writes seven digits; the
  other APIs remove the zeros.
* A bare NaN or Infinity, which is not JSON, becomes a string with this name.
"""

import json
import re
from json.encoder import encode_basestring
from typing import Any, TypeAlias

from hunting_pipeline.errors import ReplyUnreadable

MAX_DEPTH = 100
"""Deepest nesting of a value. The service is written in .NET, whose JSON readers stop at 64 by default."""
ANNOTATION = "@odata.type"
"""The suffix of the keys of OData's type annotations, which are neither columns nor data."""


class Number(str):
    """A number token as it was written, or one of the bare tokens NaN, Infinity and -Infinity."""

    __slots__ = ()


class Object(list[tuple[str, Any]]):
    """The key-value pairs of a JSON object, in their order, duplicate keys included."""

    __slots__ = ()


Json: TypeAlias = "bool | Number | str | list[Any] | Object | None"

EXACT = json.JSONDecoder(
    object_pairs_hook=Object, parse_int=Number, parse_float=Number, parse_constant=Number, strict=True
)
"""A decoder from JSON text to the types above."""

_CONSTANTS = {"NaN", "Infinity", "-Infinity"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_PADDED_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.0+|(\.\d*[1-9])0+)Z", re.ASCII)
"""A datetime whose fraction ends in zero."""


class TooDeep(ReplyUnreadable):
    """A value is nested more than `MAX_DEPTH` deep."""


def has_surrogate(text: str) -> bool:
    """Return whether a text contains a lone surrogate, which has no UTF-8."""
    return not text.isascii() and _SURROGATE.search(text) is not None


def quoted(text: str) -> str:
    """Return a text as a JSON string."""
    written = encode_basestring(text)
    if has_surrogate(written):
        written = _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", written)
    return written


def trimmed(text: str) -> str:
    """Remove the trailing zeros of a datetime's fraction. Any other text stays as it is."""
    time = _PADDED_TIME.fullmatch(text)
    return f"{time[1]}{time[2] or ''}Z" if time else text


def verbatim(value: Json) -> str:
    """Return the compact JSON text of a value, without the changes of `canonical`."""
    return _serialized(value, 0, clean=False)


def canonical(value: Json) -> str | None:
    """Return the canonical text of a dynamic value; None for null and an empty object."""
    text = _serialized(value, 0, clean=True)
    return None if text in ("null", "{}") else text


def _serialized(value: Json, depth: int, *, clean: bool) -> str:
    if isinstance(value, Object):
        pairs = [p for p in value if not (clean and p[0].endswith(ANNOTATION))]
        inner = _deeper(depth)
        return "{" + ",".join(f"{quoted(k)}:{_serialized(v, inner, clean=clean)}" for k, v in pairs) + "}"
    if isinstance(value, list):
        inner = _deeper(depth)
        items: list[Any] = value
        texts = _unwrapped(items, inner) if clean else None
        return "[" + ",".join(texts or [_serialized(v, inner, clean=clean) for v in items]) + "]"
    return _scalar(value, clean=clean)


def _scalar(value: bool | Number | str | None, *, clean: bool) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number):
        return f'"{value}"' if value in _CONSTANTS else str(value)
    return quoted(trimmed(value) if clean else value)


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise TooDeep(f"the reply is nested too deeply: more than {MAX_DEPTH} levels in one value")
    return depth + 1


def _unwrapped(items: list[Any], depth: int) -> list[str] | None:
    """Return the texts of the objects in an array of strings; None for any other array.

    Each object is serialized once. A check before serialization would double the work at every level.
    """
    if not all(type(v) is str and v[:1] == "{" for v in items):
        return None
    try:
        return [_serialized(EXACT.decode(text), depth, clean=True) for text in items]
    except (ValueError, RecursionError, TooDeep):
        return None
