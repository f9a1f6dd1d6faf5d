"""Literals, names and predicates of KQL.

The API has no query parameters. This module therefore checks or quotes every text that is put into a query.
"""

import re

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.kql.operators import OPERATORS
from hunting_pipeline.model import DAY, HOUR, SECOND, Window, iso_of

__all__ = [
    "BLANK",
    "CLOSES",
    "LEXEME",
    "NAME",
    "datetime_literal",
    "name",
    "predicate",
    "string_literal",
    "timespan_literal",
    "within",
]

NAME = r"[A-Za-z_][A-Za-z0-9_]*"
"""The pattern of the name of a table or column."""

_UNITS = ((DAY, "d"), (HOUR, "h"), (60 * SECOND, "m"), (SECOND, "s"), (SECOND // 1000, "ms"))

_ESCAPES = str.maketrans(
    {
        "\\": "\\\\",
        '"': '\\"',
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        **{
            chr(code): f"\\u{code:04x}"
            for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
            if chr(code) not in "\n\r\t"
        },
    }
)
"""The escapes of the backslash, the quote, and all control characters and line ends of Unicode."""

_PREFIXES = "|".join(sorted({name.partition("-")[0] for name in OPERATORS if "-" in name}))
"""The first words of the operators whose names have a hyphen. Elsewhere a hyphen is a minus sign."""

BLANK = r"[\s\u00ad\u180e\u200b-\u200f\u2060\ufeff]"
"""A regular expression for one blank. Texts from web pages and editors often have blanks without a width."""

LEXEME = re.compile(
    rf"""
      (?P<string> [hH]? (?: @"(?:[^"]|"")*" | @'(?:[^']|'')*'
                          | "(?:[^"\\\n\r]|\\[^\n\r])*" | '(?:[^'\\\n\r]|\\[^\n\r])*'
                          | ```.*?``` | ~~~.*?~~~ ) )
    | (?P<comment> //[^\n\r]* )
    | (?P<blank> {BLANK}+ )
    | (?P<word> (?:{_PREFIXES})-[a-z-]+ | [\w$]+ )
    | (?P<mark> . )
    """,
    re.VERBOSE | re.DOTALL,
)
"""The lexical grammar of KQL, as far as needed to separate strings, comments and words."""

CLOSES = {")": "(", "]": "[", "}": "{"}


def string_literal(text: str) -> str:
    """Return a double-quoted literal of `text`, on one line."""
    return f'"{text.translate(_ESCAPES)}"'


def name(text: str) -> str:
    """Return `text` if it can be the name of a table or column.

    Raises:
        Misconfigured: `text` is not a valid name.
    """
    if not re.fullmatch(NAME, text):
        raise Misconfigured(
            f"{text!r} is not a valid name of a table or column: use letters, digits and underscores only"
        )
    return text


def datetime_literal(ticks: int) -> str:
    """Return `datetime(2026-11-20T10:00:00.1234567Z)`, exact to the tick."""
    return f"datetime({iso_of(ticks)})"


def timespan_literal(ticks: int) -> str:
    """Return `15m`, `1s` or, if no unit fits, `time(00:00:00.0000001)`; exact to the tick.

    Raises:
        ValueError: `ticks` is not positive.
    """
    if ticks <= 0:
        raise ValueError(f"a step must be positive, not {ticks} ticks")
    for unit, suffix in _UNITS:
        if ticks % unit == 0:
            return f"{ticks // unit}{suffix}"
    days, rest = divmod(ticks, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, 60 * SECOND)
    seconds, fraction = divmod(rest, SECOND)
    return f"time({f'{days}.' if days else ''}{hours:02d}:{minutes:02d}:{seconds:02d}.{fraction:07d})"


def within(column: str, window: Window) -> str:
    """Return the half-open condition `column >= start and column < end`."""
    column = name(column)
    start, end = datetime_literal(window.start), datetime_literal(window.end)
    return f"{column} >= {start} and {column} < {end}"


def predicate(text: str) -> str:
    """Return `text` if it is one predicate that cannot change the query around its `where`.

    A pipe inside brackets belongs to a subquery (`DeviceId in ((DeviceInfo | project DeviceId))`) and is
    accepted. The caller must put a line break after the predicate, because it may end in a comment.

    Raises:
        Misconfigured: the predicate is empty, has a `;` or a pipe outside brackets, or does not close a quote
            or bracket.
    """
    open_brackets: list[str] = []
    has_content = False
    for token in LEXEME.finditer(text):
        has_content = has_content or token.lastgroup in ("string", "word", "mark")
        if token.lastgroup == "mark":
            _check(token[0], open_brackets, text=text)
    if open_brackets:
        raise Misconfigured(f"the predicate {text!r} does not close {open_brackets[-1]!r}: close it")
    if not has_content:
        raise Misconfigured(f"the predicate {text!r} is empty: write a condition, or remove the predicate")
    return text.strip()


def _check(mark: str, open_brackets: list[str], *, text: str) -> None:
    if mark in "([{":
        open_brackets.append(mark)
    elif mark in CLOSES:
        if not open_brackets or open_brackets.pop() != CLOSES[mark]:
            raise Misconfigured(f"the predicate {text!r} closes {mark!r}, which is not open: remove it")
    elif mark in "\"'":
        raise Misconfigured(f"the predicate {text!r} does not close a quote: close it")
    elif mark == ";" or (mark == "|" and not open_brackets):
        raise Misconfigured(f"the predicate {text!r} is more than one condition: remove {mark!r}")
