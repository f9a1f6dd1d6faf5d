"""Dynamic values taken out of a block of rows, as canonical text, at the speed of the standard library.

A scan finds each value and where it ends. Many values are then written again in one stroke: where that gives
the very text that came, the text was canonical. Where it does not (noise, blanks, escapes), the value is read
again by a decoder that tidies while it reads, and by the exact path where that decoder has any doubt: doubled
keys, numbers that it would write in another way, halves of surrogate pairs, deep nesting.
"""

import json
from collections.abc import Sequence
from typing import Any

from hunting_pipeline.decode.text import EXACT, MAX_DEPTH, NOISE, canonical, has_surrogate, trimmed

_CHUNK = 256
"""Values written again in one stroke: enough to spread the cost of a call, few enough to repeat singly."""
_ODD = (NOISE, '"{', '0Z"')
"""What text that needs tidying holds: noise, a string of an object, a datetime that ends in zero."""


class Doubt(Exception):
    """The fast path cannot prove that it would equal the exact one."""


def without_dynamic(text: str, names: Sequence[str]) -> tuple[str, dict[str, list[str | None]]]:
    """The rows with `0` for every dynamic value, and the values by column.

    Keys are looked for in the first row's order, each behind the value before it. Whether each row had each
    key once is for the caller to prove, by counting.

    Raises:
        Doubt: the first row lacks a dynamic column.
        ValueError: a value is no JSON.
    """
    first, _ = EXACT.raw_decode(text)
    order = [key for key, _ in first if key in names]
    if sorted(order) != sorted(names):
        raise Doubt("a dynamic column is missing")
    tidied = NOISE in text
    columns = {name: _Column(tidied=tidied) for name in order}
    steps = [(f'"{name}":', column.raws, column.values) for name, column in columns.items()]
    decode = (_TIDY if tidied else _PLAIN).raw_decode
    pieces: list[str] = []
    done = start = 0
    while start >= 0:
        for key, raws, values in steps:
            start = text.find(key, done)
            if start < 0:
                break
            start += len(key)
            try:
                value, end = decode(text, start)
            except Doubt:
                value, end = _DOUBTED, EXACT.raw_decode(text, start)[1]
            raws.append(text[start:end])
            values.append(value)
            pieces += (text[done:start], "0")
            done = end
        if len(values) >= _CHUNK or start < 0:
            for column in columns.values():
                column.settle()
    pieces.append(text[done:])
    return "".join(pieces), {name: column.texts for name, column in columns.items()}


class _Column:
    """One column's values on their way to canonical text.

    Attributes:
        raws: texts as they came, not settled yet.
        values: what the scan read of them, tidy or as it came.
        texts: canonical texts.
    """

    def __init__(self, *, tidied: bool) -> None:
        self.raws: list[str] = []
        self.values: list[Any] = []
        self.texts: list[str | None] = []
        self._tidied = tidied

    def settle(self) -> None:
        """Turn what has been gathered into text. Few values live at a time: the collector stays asleep."""
        texts: list[str] | None = None
        if not self._any_deep():
            joined = f"[{','.join(self.raws)}]"
            if (
                not any(mark in joined for mark in _ODD)
                and _DOUBTED not in self.values
                and _WRITE(self.values) == joined
            ):
                texts = list(self.raws)
            else:
                texts = _written(self.values if self._tidied else _tidied(joined))
        settled = texts if texts is not None else map(_canonical, self.raws)
        self.texts += [None if text in _NOTHING else text for text in settled]
        self.raws.clear()
        self.values.clear()

    def _any_deep(self) -> bool:
        return max(map(len, self.raws), default=0) > 2 * MAX_DEPTH and any(map(_deep, self.raws))


def _tidied(joined: str) -> list[Any]:
    """Values read again, tidily; none on any doubt."""
    try:
        return list(_TIDY.decode(joined))
    except (Doubt, ValueError, RecursionError):
        return []


def _written(values: list[Any]) -> list[str] | None:
    """Texts of tidy values, written in one stroke; None where that is not certain."""
    if not values or any(value is _DOUBTED for value in values):
        return None
    try:
        between = [_EDGE] * (2 * len(values) - 1)
        between[::2] = map(_tidy, values)
        texts = _WRITE(between)[1:-1].split(_EDGE_TEXT)
    except (Doubt, ValueError, RecursionError):
        return None
    return None if len(texts) != len(values) or any(map(has_surrogate, texts)) else texts


def _deep(raw: str) -> bool:
    """Whether a value may be nested more deeply than allowed; each level needs two characters."""
    return len(raw) > 2 * MAX_DEPTH and raw.count("[") + raw.count("{") > MAX_DEPTH


def _canonical(raw: str) -> str | None:
    """Canonical text of one value, tidied if that is certain."""
    if not _deep(raw):
        try:
            written = _WRITE(_tidy(_TIDY.decode(raw)))
        except (Doubt, ValueError, RecursionError):
            return canonical(EXACT.decode(raw))
        if not has_surrogate(written):
            return written
    return canonical(EXACT.decode(raw))


def _tidy(value: Any) -> Any:
    if type(value) is str:
        return trimmed(value) if value[-2:] == "0Z" else value
    return _tidy_list(value) if type(value) is list else value


def _tidy_list(values: list[Any]) -> list[Any]:
    if values and all(type(v) is str and v[:1] == "{" for v in values):
        try:
            return [_TIDY.decode(v) for v in values]
        except json.JSONDecodeError:
            return values
    return [_tidy(v) for v in values]


def _tidy_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if pairs and pairs[0][0] == NOISE:
        del pairs[0]
    tidied = {
        k: v if type(v) is not list and (type(v) is not str or v[-2:] != "0Z") else _tidy(v)
        for k, v in pairs
        if k[-len(NOISE) :] != NOISE
    }
    if len(tidied) != len(pairs) and len(tidied) != sum(not k.endswith(NOISE) for k, _ in pairs):
        raise Doubt("a key is doubled")
    return tidied


def _integer(token: str) -> int:
    number = int(token)
    if not number and len(token) > 1:
        raise Doubt("a negative zero would be written in another way")
    return number


def _float(token: str) -> float:
    number = float(token)
    if repr(number) != token:
        raise Doubt("a number would be written in another way")
    return number


def _constant(token: str) -> Any:
    raise Doubt(token)


_NOTHING = ("null", "{}")
_DOUBTED = object()
_PLAIN = json.JSONDecoder(parse_float=_float, parse_constant=_constant)
_TIDY = json.JSONDecoder(
    parse_float=_float, parse_int=_integer, parse_constant=_constant, object_pairs_hook=_tidy_pairs
)
_EDGE = "\0edge"
"""Stands between values written in one stroke; a value that holds it is written alone."""
_WRITE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_EDGE_TEXT = f",{_WRITE(_EDGE)},"
