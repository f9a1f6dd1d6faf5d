"""Compiled code that reads rows of compact JSON into cells: one pass over the bytes, without Python objects.

numba compiles all functions here, with the check of every index. So no reply can cause a read or write
outside the given buffers. The compiled code does not hold Python's global interpreter lock.

A position is an index into `data`. A function reads the value that begins at a position. It returns the
position after the value, or -1 if the value is not as expected. After the bytes of the body, `data` has at
least `PADDING` zeros. A zero is not JSON, so each loop ends there, and no function needs the position of the
end. `words` is the same memory: the eight bytes from each position on, as one little-endian number.

Each cell has one of five states in one array, and a value in another array. Both arrays are by column and
row:

* `NULL`;
* `DEFERRED`: a JSON value between two positions, for the exact path. All rare values are deferred: values
  that do not fit, numbers of many digits, dates outside the range of nanoseconds, dynamic values that are not
  canonical;
* `ANNOTATED`: like `DEFERRED`, but the value is canonical without OData's annotations;
* `READ`: a number (datetimes in ns since 1970), or a text between two positions, without escapes;
* `ESCAPED`: a text between two positions, with escapes.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numba
import numpy as np
import numpy.typing as npt

from hunting_pipeline.decode.text import ANNOTATION, MAX_DEPTH

Bytes: TypeAlias = npt.NDArray[np.uint8]
Words: TypeAlias = npt.NDArray[np.uint64]
Numbers: TypeAlias = npt.NDArray[np.int64]
Offsets: TypeAlias = npt.NDArray[np.int32]
_Compiled = TypeVar("_Compiled", bound=Callable[..., Any])

PADDING = 64
"""Zeros after the end of the data. No step reads so many bytes ahead."""
NULL, DEFERRED, ANNOTATED, READ, ESCAPED = range(5)
TEXT, DYNAMIC, INT, LONG, REAL, FLAG, TIME, OTHER = range(8)
"""Codes of the columns' types. The exact path reads all values of an `OTHER` column."""

_QUOTE, _BACKSLASH, _COMMA, _COLON, _DOT, _MINUS, _PLUS, _SLASH = b'"\\,:.-+/'
_BRACE, _BRACE_END, _BRACKET = b"{}["
_CLOSING = 2
"""The difference between the character codes of a closing bracket and its opening bracket."""
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
_ANNOTATION_BYTES = np.frombuffer(ANNOTATION.encode(), np.uint8)
_POWERS = np.array([10.0**power for power in range(23)])
"""Powers of ten that a double holds exactly. An integer below 2^53 divided by one of them is rounded once."""
_EXACT_INTEGER = 1 << 53
_LEAST_INT, _MOST_INT = -(1 << 31), (1 << 31) - 1
_LEAST_LONG, _MOST_LONG = -(1 << 63), (1 << 63) - 1
_FIRST_YEAR, _LAST_YEAR = 1678, 2261
"""The years in which an int64 holds the nanoseconds of every moment."""
_MONTHS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_NS = 1_000_000_000
_WHOLE_SECONDS = len("2026-11-20T10:00:00")


def words_of(data: Bytes) -> Words:
    """Return the same memory as words: the eight bytes from each position on."""
    return np.ndarray((len(data) - 7,), np.dtype("<u8"), data, strides=(1,))


def _compiled(function: _Compiled) -> _Compiled:
    """Compile the function at its first call. If a cache is writable, other processes reuse the result."""
    try:
        compiled: _Compiled = numba.njit(function, cache=True, nogil=True, boundscheck=True)
    except RuntimeError:  # no writable cache: NUMBA_CACHE_DIR, this folder, the user's folder
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
    deferred: Numbers,
) -> tuple[int, int]:
    """Read whole rows, each with the comma after it, from the beginning of `data`.

    Stops before the last row, before a row that is not complete, and before a row that does not have exactly
    the given keys in the given order. OData's annotations are skipped.

    Args:
        data: the bytes, and `PADDING` zeros.
        words: the same memory, from `words_of`.
        end: the position where the zeros begin.
        keys: each key as written, with quotes and colon, in words.
        key_masks: masks of the bits of these words that belong to the keys.
        key_sizes: the number of bytes of each key.
        codes: the code of the type of the value after each key.
        columns: the column of each key.
        cells: output by column and row: a number, or a text as its start << 32 | its end.
        reals: the same memory as doubles.
        states: output by column and row: the state.
        sizes: output by column: increased by at least the bytes that the texts need.
        deferred: output by column: increased by at least the number of `DEFERRED` and `ANNOTATED` cells.

    Returns:
        The number of rows, and the position of their end.
    """
    stack = np.empty(MAX_DEPTH, np.uint8)
    start = row = 0
    last = len(codes) - 1
    while row < cells.shape[1] and data[start] == _BRACE:
        p = start + 1
        for step in range(len(codes)):
            size = key_sizes[step]
            while p + size > end or not _is_key(words, p, keys, key_masks, step, size):
                p = _annotation_end(data, words, p)
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
            if state == DEFERRED or state == ANNOTATED:
                deferred[column] += 1
            elif state != NULL and codes[step] <= DYNAMIC:
                sizes[column] += (cell & 0xFFFFFFFF) - (cell >> 32)
            if step != last:
                if data[p] != _COMMA:
                    return row, start
                p += 1
        while data[p] == _COMMA:
            p = _annotation_end(data, words, p + 1)
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
    """Write the texts of all columns, and the offset of each text.

    Args:
        data: the bytes that `read_rows` read.
        words: the same memory in words.
        cells: the output of `read_rows`.
        states: the output of `read_rows`.
        starts: the position in `out` where each column's texts begin; negative for a column without texts.
        offsets: output by column and row, and the end of the last row: the start of each text, relative to
            the column's first text.
        out: output: the texts; must be 8 bytes longer than the texts.
        out_words: the same memory in words.
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
def _annotation_end(data: Bytes, words: Words, p: int) -> int:
    """Return the position after an OData annotation: a key with the annotation's suffix, and a string."""
    if data[p] != _QUOTE:
        return -1
    q, state = _text_end(data, words, p + 1)
    if q < 0 or state != READ or not _ends_in_annotation(data, p + 1, q):
        return -1
    if data[q + 1] != _COLON or data[q + 2] != _QUOTE:
        return -1
    q, _ = _text_end(data, words, q + 3)
    return q + 1 if q >= 0 else -1


@_compiled
def _ends_in_annotation(data: Bytes, p: int, q: int) -> bool:
    size = len(_ANNOTATION_BYTES)
    if q - p < size:
        return False
    for i in range(size):
        if data[q - size + i] != _ANNOTATION_BYTES[i]:
            return False
    return True


@_compiled
def _cell(data: Bytes, words: Words, p: int, code: int, stack: Bytes) -> tuple[int, int, int, float]:
    """Return the position after a cell, its state, its value, and its value as a double for `REAL`."""
    first = data[p]
    if first == _QUOTE and code == TEXT:
        q, state = _text_end(data, words, p + 1)
        if q < 0 or state != DEFERRED:
            return (q + 1 if q >= 0 else -1), state, (p + 1) << 32 | q, 0.0
    if first == _N or (first == _BRACE and data[p + 1] == _BRACE_END):
        return (_word_end(data, p) if first == _N else p + 2), NULL, 0, 0.0
    q, number, real = _number(data, p, code)
    if q >= 0:
        return q, READ, number, real
    q, state = _value_end(data, words, p, stack)
    return q, (state if code == DYNAMIC else DEFERRED), p << 32 | q, 0.0


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
    """Return the position of the closing quote of the string whose first character is at `p`, and its state.

    The state is `READ`, `ESCAPED`, or `DEFERRED` for a string with a lone surrogate.
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
                state = DEFERRED
        p = q


@_compiled
def _plain_end(words: Words, p: int) -> int:
    """Find the first quote, backslash or control character, eight bytes at a time.

    In `found`, the high bit of a byte marks such a character. Only the lowest mark is reliable: the bits
    above it may be wrong.
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
    """Return the same as `_text_end`, but the state is `READ` for a canonical string, else `DEFERRED`."""
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
                state = DEFERRED
        elif data[p + 1] == _SLASH:
            state = DEFERRED
        p = q


@_compiled
def _escape(data: Bytes, p: int) -> tuple[int, int]:
    """Return the position after the escape at `p`, and the code of the character."""
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
    """Write the text from `p` up to `q`, unescaped, to `out` at `o`. Return its end in `out`."""
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
    """Return the position after `null`, `true` or `false`."""
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
    """Return the position after the digits of a whole number without a leading zero."""
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
    """Return the value of the digit at `p`; less than 0 or more than 9 if `p` has no digit."""
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
        if number > (_MOST_LONG - digit) // 10:  # also refuses the lowest int64
            return -1, 0
        number = number * 10 + digit
    if negative:
        number = -number
    return (q, number) if least <= number <= most else (-1, 0)


@_compiled
def _real(data: Bytes, p: int) -> tuple[int, float]:
    """Read a double with few digits and no exponent: one division gives it exactly."""
    negative = data[p] == _MINUS
    if negative:
        p += 1
    q = _whole_end(data, p)
    if q < 0:
        return -1, 0.0
    end = _some_digits_end(data, q + 1) if data[q] == _DOT else q
    if end < 0 or end > p + 18 or data[end] == _SMALL_E or data[end] == _E:
        return -1, 0.0
    digits = 0
    for i in range(p, end):
        if i != q:
            digits = digits * 10 + _digit(data, i)
    if digits > _EXACT_INTEGER:
        return -1, 0.0
    number = digits / _POWERS[max(0, end - q - 1)]
    return end, -number if negative else number


@_compiled
def _two(data: Bytes, p: int) -> int:
    """Return the number of two digits; 1000 if they are not digits."""
    tens, ones = _digit(data, p), _digit(data, p + 1)
    return tens * 10 + ones if 0 <= tens <= 9 and 0 <= ones <= 9 else 1000


@_compiled
def _time(data: Bytes, p: int) -> tuple[int, int]:
    """Read the nanoseconds of a datetime in the service's form, `"2026-11-20T10:00:00.1234567Z"`."""
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
    """Return the days from 1970 to a Gregorian date, or `_NO_DAY` if there is no such date."""
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
    """Return the position after any JSON value. The state is `READ` for a canonical value.

    The state of any other value is `ANNOTATED` or `DEFERRED`.
    """
    depth, state, is_key = 0, READ, False
    while True:
        first = data[p]
        if first == _QUOTE:
            q, written = _canonical_end(data, words, p + 1)
            if q < 0:
                return -1, DEFERRED
            if is_key:
                if data[q + 1] != _COLON:
                    return -1, DEFERRED
                if state == READ and _ends_in_annotation(data, p + 1, q):
                    state = ANNOTATED
            elif _may_be_rewritten(data, p + 1, q, depth > 0 and stack[depth - 1] == _BRACKET):
                state = DEFERRED
            if written == DEFERRED:
                state = DEFERRED
            p = q + 1
            if is_key:
                p, is_key = q + 2, False
                continue
        elif is_key:
            return -1, DEFERRED
        elif first == _BRACE or first == _BRACKET:
            if depth == len(stack):
                return -1, DEFERRED
            p += 1
            if data[p] != first + _CLOSING:
                stack[depth] = first
                depth, is_key = depth + 1, first == _BRACE
                continue
            p += 1
        else:
            p = _number_end(data, p) if first == _MINUS or _ZERO <= first <= _NINE else _word_end(data, p)
            if p < 0:
                return -1, DEFERRED
        while depth > 0 and data[p] == stack[depth - 1] + _CLOSING:
            p, depth = p + 1, depth - 1
        if depth == 0:
            return p, state
        if data[p] != _COMMA:
            return -1, DEFERRED
        p, is_key = p + 1, stack[depth - 1] == _BRACE


@_compiled
def _may_be_rewritten(data: Bytes, p: int, q: int, in_array: bool) -> bool:
    """Return whether a string may be a datetime with trailing zeros, or an object that Graph sent as text."""
    padded = q - p > _WHOLE_SECONDS + 1 and data[q - 1] == _Z and data[q - 2] == _ZERO
    return (padded and data[p + _WHOLE_SECONDS] == _DOT) or (in_array and data[p] == _BRACE)
