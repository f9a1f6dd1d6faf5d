"""Rows of compact JSON to cells, compiled: one pass over the bytes, strict, and without a Python object.

Everything here is compiled by numba, with its checks of every index left on: no body, however hostile, reads
or writes outside the buffers it is given. The lock of the interpreter is released meanwhile.

A position is an index into `data`. What begins there is read, and the position behind it is returned, or -1
if it is not what it should be. Behind the bytes that count, `data` holds at least `PADDING` zeros: a zero is
no JSON, so each loop ends there, and nobody has to ask where the end is. `words` is the same memory: the
eight bytes from each position on, as one little-endian number.

Cells are told by one of five states, in one array, and what they hold in another, both by column and row:

* `NULL`;
* `ASK`: a JSON value from one position up to another, for the exact path to read. Whatever is rare is left
  to it: misfits, numbers of many digits, dates beyond nanoseconds, dynamic values that are not canonical;
* `MARKED`: as `ASK`, but only OData's marks keep it from being canonical;
* `READ`: a number (datetimes in ns since 1970), or a text from one position up to another, as it came;
* `ESCAPED`: such a text with escapes in it.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numba
import numpy as np
import numpy.typing as npt

from hunting_pipeline.decode.text import MAX_DEPTH, NOISE

Bytes: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.uint64]
Numbers: TypeAlias = npt.NDArray[np.int64]
Offsets: TypeAlias = npt.NDArray[np.int32]
_Compiled = TypeVar("_Compiled", bound=Callable[..., Any])

PADDING = 64
"""Bytes behind the end of the data: more than any step looks ahead."""
NULL, ASK, MARKED, READ, ESCAPED = range(5)
TEXT, DYNAMIC, INT, LONG, REAL, FLAG, TIME, OTHER = range(8)
"""How a column is read; `OTHER` is left to the exact path whole."""

_QUOTE, _BACKSLASH, _COMMA, _COLON, _DOT, _MINUS, _PLUS, _SLASH = b'"\\,:.-+/'
_BRACE, _BRACE_END, _BRACKET = b"{}["
_CLOSING = 2
"""A closing bracket's code is so much more than that of its opening one."""
_ZERO, _NINE, _A, _F, _SMALL_A, _SMALL_F, _SMALL_E, _E = b"09AFafeE"
_B, _N, _R, _T, _U, _L, _S, _CAPITAL_T, _Z = b"bnrtulsTZ"
_ONES = np.uint64(0x0101_0101_0101_0101)
_HIGHS = _ONES << np.uint64(7)
_QUOTES, _BACKSLASHES, _SPACES = (
    _ONES * np.uint64(_QUOTE),
    _ONES * np.uint64(_BACKSLASH),
    _ONES * np.uint64(32),
)
_LOW_HIGH, _BYTE = np.uint64(0x80), np.uint64(8)
_MARK = np.frombuffer(NOISE.encode(), np.uint8)
_POWERS = np.array([10.0**power for power in range(23)])
"""Powers of ten that a double holds exactly: a quotient by one, of an integer below 2^53, is rounded once."""
_EXACT_INTEGER = 1 << 53
_LEAST_INT, _MOST_INT = -(1 << 31), (1 << 31) - 1
_LEAST_LONG, _MOST_LONG = -(1 << 63), (1 << 63) - 1
_FIRST_YEAR, _LAST_YEAR = 1678, 2261
"""Years whose every moment has an int64 of nanoseconds."""
_MONTHS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_NS = 1_000_000_000
_WHOLE_SECONDS = len("2026-11-20T10:00:00")


def words_of(data: Bytes) -> Words:
    """The same memory: the eight bytes from each position on."""
    return np.ndarray((len(data) - 7,), np.dtype("<u8"), data, strides=(1,))


def _compiled(function: _Compiled) -> _Compiled:
    """The function as machine code, made at its first call and kept for other processes where that can be."""
    try:
        compiled: _Compiled = numba.njit(function, cache=True, nogil=True, boundscheck=True)
    except RuntimeError:  # neither NUMBA_CACHE_DIR nor this folder nor the user's own can be written
        compiled = numba.njit(function, nogil=True, boundscheck=True)
    return compiled


@_compiled
def read_rows(
    data: Bytes,
    words: Words,
    end: int,
    keys: Words,
    key_masks: Words,
    key_sizes: Numbers,
    codes: Numbers,
    columns: Numbers,
    cells: Numbers,
    reals: npt.NDArray[np.float64],
    states: Bytes,
    sizes: Numbers,
    asked: Numbers,
) -> tuple[int, int]:
    """Read whole rows, each with the comma behind it, from the beginning of `data`.

    It ends before the first row that is not read: the last one, one that goes on behind the end, or one that
    does not have exactly the given keys in the given order, OData's marks aside.

    Args:
        data: the bytes, and `PADDING` zeros.
        words: the same, as `words_of` shows it.
        end: where the zeros begin.
        keys: how the keys are written, with quotes and colon; by key, in words.
        key_masks: which bits of those words count.
        key_sizes: bytes of each key.
        codes: how the value behind each key is read.
        columns: which column it belongs to.
        cells: filled by column and row: a number, or a text's begin << 32 | its end.
        reals: the same memory.
        states: filled likewise.
        sizes: to each column's is added at least the bytes that its texts will need.
        asked: to each column's is added at least the number of its cells that are `ASK` or `MARKED`.

    Returns:
        How many rows were read, and where they end.
    """
    stack = np.empty(MAX_DEPTH, np.uint8)
    start = row = 0
    last = len(codes) - 1
    while row < cells.shape[1] and data[start] == _BRACE:
        p = start + 1
        for step in range(len(codes)):
            size = key_sizes[step]
            while p + size > end or not _is_key(words, p, keys, key_masks, step, size):
                p = _mark_end(data, words, p)
                if p < 0 or data[p] != _COMMA:
                    return row, start
                p += 1
            column = columns[step]
            p, state, cell, real = _cell(data, words, p + size, codes[step], stack)
            if p < 0:
                return row, start
            states[column, row] = state
            if codes[step] == REAL and state == READ:
                reals[column, row] = real
            else:
                cells[column, row] = cell
            if state == ASK or state == MARKED:
                asked[column] += 1
            elif state != NULL and codes[step] <= DYNAMIC:
                sizes[column] += (cell & 0xFFFFFFFF) - (cell >> 32)
            if step != last:
                if data[p] != _COMMA:
                    return row, start
                p += 1
        while data[p] == _COMMA:
            p = _mark_end(data, words, p + 1)
            if p < 0:
                return row, start
        if data[p] != _BRACE_END or data[p + 1] != _COMMA:
            return row, start
        start = p + 2
        row += 1
    return row, start


@_compiled
def gather(
    data: Bytes,
    words: Words,
    cells: Numbers,
    states: Bytes,
    starts: Numbers,
    offsets: Offsets,
    out: Bytes,
    out_words: Words,
) -> None:
    """Write the texts of columns, and where each text begins.

    Args:
        data: the bytes that `read_rows` read.
        words: the same.
        cells: what it found there.
        states: likewise.
        starts: where each column's texts begin in `out`; negative for a column without texts.
        offsets: filled by column and row, and one more: where each text begins, counted from the first.
        out: filled with the texts, and as much more as a word has bytes.
        out_words: the same.
    """
    for column in range(len(starts)):
        start = o = starts[column]
        if start < 0:
            continue
        for row in range(offsets.shape[1] - 1):
            offsets[column, row] = o - start
            state = states[column, row]
            if state >= READ:
                p, q = cells[column, row] >> 32, cells[column, row] & 0xFFFFFFFF
                if state == ESCAPED:
                    o = _unescaped(data, p, q, out, o)
                else:
                    for i in range(0, q - p, 8):
                        out_words[o + i] = words[p + i]
                    o += q - p
        offsets[column, -1] = o - start


@_compiled
def _is_key(words: Words, p: int, keys: Words, key_masks: Words, step: int, size: int) -> bool:
    for i in range(0, size, 8):
        if (words[p + i] ^ keys[step, i >> 3]) & key_masks[step, i >> 3]:
            return False
    return True


@_compiled
def _mark_end(data: Bytes, words: Words, p: int) -> int:
    """Behind one of OData's marks: its key, ending so, and a string."""
    if data[p] != _QUOTE:
        return -1
    q, state = _text_end(data, words, p + 1)
    if q < 0 or state != READ or not _ends_in_mark(data, p + 1, q):
        return -1
    if data[q + 1] != _COLON or data[q + 2] != _QUOTE:
        return -1
    q, _ = _text_end(data, words, q + 3)
    return q + 1 if q >= 0 else -1


@_compiled
def _ends_in_mark(data: Bytes, p: int, q: int) -> bool:
    size = len(_MARK)
    if q - p < size:
        return False
    for i in range(size):
        if data[q - size + i] != _MARK[i]:
            return False
    return True


@_compiled
def _cell(data: Bytes, words: Words, p: int, code: int, stack: Bytes) -> tuple[int, int, int, float]:
    """Behind the value of one cell, its state, what it holds, and that as a double if it is one."""
    first = data[p]
    if first == _QUOTE and code == TEXT:
        q, state = _text_end(data, words, p + 1)
        if q < 0 or state != ASK:
            return (q + 1 if q >= 0 else -1), state, (p + 1) << 32 | q, 0.0
    if first == _N or (first == _BRACE and data[p + 1] == _BRACE_END):
        return (_word_end(data, p) if first == _N else p + 2), NULL, 0, 0.0
    q, number, real = _number(data, p, code)
    if q >= 0:
        return q, READ, number, real
    q, state = _value_end(data, words, p, stack)
    return q, (state if code == DYNAMIC else ASK), p << 32 | q, 0.0


@_compiled
def _number(data: Bytes, p: int, code: int) -> tuple[int, int, float]:
    q, number, real = -1, 0, 0.0
    if code == TIME:
        q, number = _time(data, p)
    elif code == LONG:
        q, number = _integer(data, p, _LEAST_LONG, _MOST_LONG)
    elif code == INT:
        q, number = _integer(data, p, _LEAST_INT, _MOST_INT)
    elif code == REAL:
        q, real = _real(data, p)
    elif code == FLAG and (data[p] == _T or data[p] == _SMALL_F):
        q, number = _word_end(data, p), int(data[p] == _T)
    elif code == FLAG:
        q, number = _integer(data, p, 0, 1)
    return q, number, real


@_compiled
def _text_end(data: Bytes, words: Words, p: int) -> tuple[int, int]:
    """The closing quote of the string whose first character is at `p`.

    The state is `READ`, `ESCAPED`, or `ASK` for one that holds half of a surrogate pair.
    """
    state = READ
    while True:
        p = _plain_end(words, p)
        if data[p] == _QUOTE:
            return p, state
        q, code = _escape(data, p)
        if q < 0:
            return -1, state
        if state == READ:
            state = ESCAPED
        if 0xD800 <= code < 0xE000:
            q, low = _escape(data, q) if data[q] == _BACKSLASH else (q, 0)
            if q < 0:
                return -1, state
            if code >= 0xDC00 or not 0xDC00 <= low < 0xE000:
                state = ASK
        p = q


@_compiled
def _plain_end(words: Words, p: int) -> int:
    """The first quote, backslash or control character, eight bytes at a time.

    A byte's high bit is set below by a zero there, or by a byte less than a space; above such a byte, bits
    may be wrong.
    """
    while True:
        word = words[p]
        quotes, backslashes = word ^ _QUOTES, word ^ _BACKSLASHES
        found = (quotes - _ONES) & ~quotes | (backslashes - _ONES) & ~backslashes | (word - _SPACES) & ~word
        found &= _HIGHS
        if found:
            break
        p += 8
    while not found & _LOW_HIGH:
        found >>= _BYTE
        p += 1
    return p


@_compiled
def _canonical_end(data: Bytes, words: Words, p: int) -> tuple[int, int]:
    """As `_text_end`, but the state is `READ` if the string is written canonically, else `ASK`."""
    state = READ
    while True:
        p = _plain_end(words, p)
        if data[p] == _QUOTE:
            return p, state
        q, code = _escape(data, p)
        if q < 0:
            return -1, state
        if data[p + 1] == _U:
            short = 8 <= code <= 13 and code != 11
            capital = _A <= data[p + 5] <= _F
            if code >= 32 or short or capital:
                state = ASK
        elif data[p + 1] == _SLASH:
            state = ASK
        p = q


@_compiled
def _escape(data: Bytes, p: int) -> tuple[int, int]:
    """Behind the escape that begins at `p`, and the code of the character."""
    if data[p] != _BACKSLASH:
        return -1, 0
    letter: Any = np.int64(data[p + 1])
    if letter == _U:
        code = _hexadecimal(data, p + 2)
        return (p + 6 if code >= 0 else -1), code
    if letter == _QUOTE or letter == _BACKSLASH or letter == _SLASH:
        return p + 2, letter
    if letter == _N:
        return p + 2, 10
    if letter == _R:
        return p + 2, 13
    if letter == _T:
        return p + 2, 9
    if letter == _B:
        return p + 2, 8
    if letter == _SMALL_F:
        return p + 2, 12
    return -1, 0


@_compiled
def _hexadecimal(data: Bytes, p: int) -> int:
    code = 0
    for i in range(p, p + 4):
        digit: Any = np.int64(data[i])
        if _ZERO <= digit <= _NINE:
            digit -= _ZERO
        elif _A <= digit <= _F:
            digit -= _A - 10
        elif _SMALL_A <= digit <= _SMALL_F:
            digit -= _SMALL_A - 10
        else:
            return -1
        code = code * 16 + digit
    return code


@_compiled
def _unescaped(data: Bytes, p: int, q: int, out: Bytes, o: int) -> int:
    """Write the text from `p` up to `q` to `out`, from `o` on, without its escapes; where it ends there."""
    while p < q:
        if data[p] != _BACKSLASH:
            out[o] = data[p]
            p, o = p + 1, o + 1
            continue
        p, code = _escape(data, p)
        if 0xD800 <= code < 0xDC00:
            p, low = _escape(data, p)
            code = 0x10000 + ((code - 0xD800) << 10) + low - 0xDC00
        o = _utf8(code, out, o)
    return o


@_compiled
def _utf8(code: int, out: Bytes, o: int) -> int:
    if code < 0x80:
        out[o] = code
        return o + 1
    more = 1 if code < 0x800 else 2 if code < 0x10000 else 3
    lead = 0xC0 if more == 1 else 0xE0 if more == 2 else 0xF0
    out[o] = lead | code >> 6 * more
    for i in range(1, more + 1):
        out[o + i] = 0x80 | code >> 6 * (more - i) & 0x3F
    return o + 1 + more


@_compiled
def _word_end(data: Bytes, p: int) -> int:
    """Behind `null`, `true` or `false`."""
    first, second, third, fourth = data[p], data[p + 1], data[p + 2], data[p + 3]
    if first == _N and second == _U and third == _L and fourth == _L:
        return p + 4
    if first == _T and second == _R and third == _U and fourth == _SMALL_E:
        return p + 4
    false = first == _SMALL_F and second == _SMALL_A and third == _L and fourth == _S
    return p + 5 if false and data[p + 4] == _SMALL_E else -1


@_compiled
def _digits_end(data: Bytes, p: int) -> int:
    while _ZERO <= data[p] <= _NINE:
        p += 1
    return p


@_compiled
def _whole_end(data: Bytes, p: int) -> int:
    """Behind the digits of a whole number: one or more, and no zero before others."""
    q = _digits_end(data, p)
    return -1 if q == p or (data[p] == _ZERO and q > p + 1) else q


@_compiled
def _number_end(data: Bytes, p: int) -> int:
    p = _whole_end(data, p + 1 if data[p] == _MINUS else p)
    if p >= 0 and data[p] == _DOT:
        p = _some_digits_end(data, p + 1)
    if p >= 0 and (data[p] == _SMALL_E or data[p] == _E):
        p = _some_digits_end(data, p + 2 if data[p + 1] == _PLUS or data[p + 1] == _MINUS else p + 1)
    return p


@_compiled
def _some_digits_end(data: Bytes, p: int) -> int:
    q = _digits_end(data, p)
    return q if q > p else -1


@_compiled
def _digit(data: Bytes, p: int) -> int:
    """What the digit at `p` says; less than 0 or more than 9 if it is none."""
    byte: Any = np.int64(data[p])
    digit: int = byte - _ZERO
    return digit


@_compiled
def _integer(data: Bytes, p: int, least: int, most: int) -> tuple[int, int]:
    negative = data[p] == _MINUS
    if negative:
        p += 1
    q = _whole_end(data, p)
    if q < 0 or q > p + 19 or data[q] == _DOT or data[q] == _SMALL_E or data[q] == _E:
        return -1, 0
    number = 0
    for i in range(p, q):
        digit = _digit(data, i)
        if number > (_MOST_LONG - digit) // 10:  # the least int64 goes this way too
            return -1, 0
        number = number * 10 + digit
    if negative:
        number = -number
    return (q, number) if least <= number <= most else (-1, 0)


@_compiled
def _real(data: Bytes, p: int) -> tuple[int, float]:
    """A double, where one division makes it exactly: few digits and no exponent."""
    negative = data[p] == _MINUS
    if negative:
        p += 1
    q = _whole_end(data, p)
    if q < 0:
        return -1, 0.0
    behind = _some_digits_end(data, q + 1) if data[q] == _DOT else q
    if behind < 0 or behind > p + 18 or data[behind] == _SMALL_E or data[behind] == _E:
        return -1, 0.0
    digits = 0
    for i in range(p, behind):
        if i != q:
            digits = digits * 10 + _digit(data, i)
    if digits > _EXACT_INTEGER:
        return -1, 0.0
    number = digits / _POWERS[max(0, behind - q - 1)]
    return behind, -number if negative else number


@_compiled
def _two(data: Bytes, p: int) -> int:
    """The number of two digits, or one far beyond."""
    tens, ones = _digit(data, p), _digit(data, p + 1)
    return tens * 10 + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else 1000


@_compiled
def _time(data: Bytes, p: int) -> tuple[int, int]:
    """The nanoseconds of a datetime as the service writes it: `"2026-11-20T10:00:00.1234567Z"`."""
    hyphens = data[p] == _QUOTE and data[p + 5] == _MINUS and data[p + 8] == _MINUS
    if not (hyphens and data[p + 11] == _CAPITAL_T and data[p + 14] == _COLON and data[p + 17] == _COLON):
        return -1, 0
    days = _days(_two(data, p + 1) * 100 + _two(data, p + 3), _two(data, p + 6), _two(data, p + 9))
    hour, minute, second = _two(data, p + 12), _two(data, p + 15), _two(data, p + 18)
    if days == _NO_DAY or hour > 23 or minute > 59 or second > 59:
        return -1, 0
    p += 1 + _WHOLE_SECONDS
    fraction = 0
    if data[p] == _DOT:
        q = _some_digits_end(data, p + 1)
        if q < 0 or q > p + 10:
            return -1, 0
        for i in range(p + 1, p + 10):
            fraction = fraction * 10 + (_digit(data, i) if i < q else 0)
        p = q
    if data[p] != _Z or data[p + 1] != _QUOTE:
        return -1, 0
    return p + 2, ((days * 24 + hour) * 60 + minute) * 60 * _NS + second * _NS + fraction


_NO_DAY = 1 << 40


@_compiled
def _days(year: int, month: int, day: int) -> int:
    """Days from 1970 to a date of the Gregorian calendar, or `_NO_DAY`."""
    if not (_FIRST_YEAR <= year <= _LAST_YEAR and 1 <= month <= 12 and day >= 1):
        return _NO_DAY
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _MONTHS[month] + (leap and month == 2):
        return _NO_DAY
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719_162
    for past in range(1, month):
        days += _MONTHS[past]
    return days + (leap and month > 2) + day - 1


@_compiled
def _value_end(data: Bytes, words: Words, p: int, stack: Bytes) -> tuple[int, int]:
    """Behind any JSON value. The state is `READ` if it is written canonically, else `MARKED` or `ASK`."""
    depth, state, is_key = 0, READ, False
    while True:
        first = data[p]
        if first == _QUOTE:
            q, written = _canonical_end(data, words, p + 1)
            if q < 0:
                return -1, ASK
            if is_key:
                if data[q + 1] != _COLON:
                    return -1, ASK
                if state == READ and _ends_in_mark(data, p + 1, q):
                    state = MARKED
            elif _may_be_rewritten(data, p + 1, q, depth > 0 and stack[depth - 1] == _BRACKET):
                state = ASK
            if written == ASK:
                state = ASK
            p = q + 1
            if is_key:
                p, is_key = q + 2, False
                continue
        elif is_key:
            return -1, ASK
        elif first == _BRACE or first == _BRACKET:
            if depth == len(stack):
                return -1, ASK
            p += 1
            if data[p] != first + _CLOSING:
                stack[depth] = first
                depth, is_key = depth + 1, first == _BRACE
                continue
            p += 1
        else:
            p = _number_end(data, p) if first == _MINUS or _ZERO <= first <= _NINE else _word_end(data, p)
            if p < 0:
                return -1, ASK
        while depth > 0 and data[p] == stack[depth - 1] + _CLOSING:
            p, depth = p + 1, depth - 1
        if depth == 0:
            return p, state
        if data[p] != _COMMA:
            return -1, ASK
        p, is_key = p + 1, stack[depth - 1] == _BRACE


@_compiled
def _may_be_rewritten(data: Bytes, p: int, q: int, in_array: bool) -> bool:
    """Whether it may be a datetime whose fraction ends in zero, or an object that Graph wrote as text."""
    padded = q - p > _WHOLE_SECONDS + 1 and data[q - 1] == _Z and data[q - 2] == _ZERO
    return (padded and data[p + _WHOLE_SECONDS] == _DOT) or (in_array and data[p] == _BRACE)
