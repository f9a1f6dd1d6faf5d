"""The words of KQL: literals, names, predicates. Kusto has no parameters here: all text passes this way."""

import re

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.model import DAY, HOUR, SECOND, Window, iso_of

__all__ = [
    "CLOSES",
    "LEXEME",
    "datetime_literal",
    "name",
    "predicate",
    "string_literal",
    "timespan_literal",
    "within",
]

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
"""Both quoting characters, and every control character and line end of Unicode."""

LEXEME = re.compile(
    r"""
      (?P<string> [hH]? (?: @"(?:[^"]|"")*" | @'(?:[^']|'')*'
                          | "(?:[^"\\\n\r]|\\[^\n\r])*" | '(?:[^'\\\n\r]|\\[^\n\r])*'
                          | ```.*?``` | ~~~.*?~~~ ) )
    | (?P<comment> //[^\n\r]* )
    | (?P<blank> \s+ )
    | (?P<word> (?:project|mv|parse|make|top|sample)-[a-z-]+ | [\w$]+ )
    | (?P<mark> . )
    """,
    re.VERBOSE | re.DOTALL,
)
"""Just enough of KQL's grammar to know what is text, what is comment, and what is a word."""

CLOSES = {")": "(", "]": "[", "}": "{"}


def string_literal(text: str) -> str:
    """`text` as a double-quoted literal that stands for exactly it, on one line."""
    return f'"{text.translate(_ESCAPES)}"'


def name(text: str) -> str:
    """`text` itself, if it can stand as a table's or column's name.

    Raises:
        Misconfigured: it cannot.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise Misconfigured(f"{text!r} is no name of a table or column: letters, digits and underscores only")
    return text


def datetime_literal(ticks: int) -> str:
    """`datetime(2026-11-20T10:00:00.1234567Z)`: exact to the tick."""
    return f"datetime({iso_of(ticks)})"


def timespan_literal(ticks: int) -> str:
    """`15m`, `1s` or, below a millisecond, `time(00:00:00.0000001)`: exact to the tick.

    Raises:
        ValueError: not positive.
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
    """The half-open test `column >= start and column < end`."""
    column = name(column)
    start, end = datetime_literal(window.start), datetime_literal(window.end)
    return f"{column} >= {start} and {column} < {end}"


def predicate(text: str) -> str:
    """`text` itself, if it is one predicate that cannot reach beyond its own `where`.

    A pipe inside brackets is a subquery (`DeviceId in ((DeviceInfo | project DeviceId))`) and stays. The
    caller must put a line break after it: it may end in a comment.

    Raises:
        Misconfigured: it is empty, holds a `;` or a pipe of its own, or a quote or bracket stays open.
    """
    open_brackets: list[str] = []
    something = False
    for token in LEXEME.finditer(text):
        something = something or token.lastgroup in ("string", "word", "mark")
        if token.lastgroup == "mark":
            _check(token[0], open_brackets, text=text)
    if open_brackets:
        raise Misconfigured(f"the predicate {text!r} leaves a {open_brackets[-1]!r} open")
    if not something:
        raise Misconfigured(f"the predicate {text!r} is empty")
    return text.strip()


def _check(mark: str, open_brackets: list[str], *, text: str) -> None:
    if mark in "([{":
        open_brackets.append(mark)
    elif mark in CLOSES:
        if not open_brackets or open_brackets.pop() != CLOSES[mark]:
            raise Misconfigured(f"the predicate {text!r} closes a {mark!r} that is not open")
    elif mark in "\"'":
        raise Misconfigured(f"the predicate {text!r} leaves a quote open")
    elif mark == ";" or (mark == "|" and not open_brackets):
        raise Misconfigured(f"the predicate {text!r} must be one condition, without {mark!r}")
