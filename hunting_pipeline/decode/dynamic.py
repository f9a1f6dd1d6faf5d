"""Dynamic values taken out of a block of rows, as canonical text, at the speed of a vectorised parser.

A value begins behind its key and is taken to end before the next key, as the first row has them. That a whole
JSON value lies between proves it: no JSON value goes on behind its end. A value that is written again as the
very text that came was canonical. Anything else (noise, blanks, escapes, odd numbers, doubled keys, deep
nesting) is read by the exact path, alone.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import orjson

from hunting_pipeline.decode.text import EXACT, MAX_DEPTH, NOISE, canonical

_TRIES = 8
"""Places tried as a value's end; nested keys that look like the next one come before it."""
_OBJECT_MARK = b'"@odata.type":"#microsoft.graph.security.dynamicColumnValue",'
"""How Graph begins every dynamic object. Unescaped quotes make it structure."""
_NOISE = NOISE.encode()
_NOTHING = (b"null", b"{}")


class Doubt(Exception):
    """The fast path cannot prove that it would equal the exact one."""


class _Step(NamedTuple):
    """A dynamic column: how its key is written, how what follows begins, and its values so far."""

    key: bytes
    behind: bytes
    texts: list[bytes | None]


def without_dynamic(block: bytes, names: Sequence[str]) -> tuple[bytes, dict[str, list[bytes | None]]]:
    """The rows with `0` for every dynamic value, and the values by column, null where they are nothing.

    Keys are looked for in the first row's order, each behind the value before it. Whether each row had each
    key once is for the caller to prove, by counting.

    Raises:
        Doubt: the first row lacks a dynamic column, or a value's end cannot be told.
        ValueError: a value is no JSON.
        ReplyUnreadable: a value is nested too deeply.
    """
    steps = _steps(block, names)
    pieces: list[bytes] = []
    done = start = 0
    while start >= 0:
        for step in steps.values():
            start = block.find(step.key, done)
            if start < 0:
                break
            start += len(step.key)
            raw, value = _value(block, start, step.behind)
            step.texts.append(raw if _is_canonical(raw, value) else _tidied(raw, value))
            pieces += (block[done:start], b"0")
            done = start + len(raw)
    pieces.append(block[done:])
    return b"".join(pieces), {name: step.texts for name, step in steps.items()}


def _steps(block: bytes, names: Sequence[str]) -> dict[str, _Step]:
    first, _ = EXACT.raw_decode(block.decode())
    keys = [key for key, _ in first if not key.endswith(NOISE)]
    if sorted(set(keys) & set(names)) != sorted(names) or len(set(keys)) != len(keys):
        raise Doubt("a dynamic column is missing, or a key is doubled")
    behind = {key: f',"{following}'.encode() for key, following in pairwise(keys)}
    behind[keys[-1]] = f'}},{{"{keys[0]}'.encode()
    return {key: _Step(f'"{key}":'.encode(), behind[key], []) for key in keys if key in names}


def _value(block: bytes, start: int, behind: bytes) -> tuple[bytes, Any]:
    """The text of the value that begins at `start`, and what a quick reading takes it for."""
    end = start
    for _ in range(_TRIES):
        end = block.find(behind, end + 1)
        raw = block[start:end]  # behind the last row's value stands its closing bracket
        try:
            return raw, orjson.loads(raw)
        except orjson.JSONDecodeError:
            if end < 0:
                break
    raise Doubt("a value does not end before the next key")


def _is_canonical(raw: bytes, value: Any) -> bool:
    """Whether the text of a value is canonical as it came."""
    return (
        orjson.dumps(value) == raw
        and b'0Z"' not in raw  # a datetime that ends in zero
        and b'"{' not in raw  # a string of an object
        and _NOISE not in raw
        and raw not in _NOTHING
        and (len(raw) <= 2 * MAX_DEPTH or raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH)
    )


def _tidied(raw: bytes, value: Any) -> bytes | None:
    """The canonical text of any value; None where it is nothing."""
    if _NOISE in raw and orjson.dumps(value) == raw:
        plain = raw.replace(_OBJECT_MARK, b"")
        if _is_canonical(plain, orjson.loads(plain)):
            return plain
    text = canonical(EXACT.decode(raw.decode()))
    return None if text is None else text.encode()
