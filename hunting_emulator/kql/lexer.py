"""The lexer: KQL text to tokens. A typed literal such as `datetime(2026-11-20)` or `15m` is one token."""

import re
from dataclasses import dataclass

from hunting_emulator import ticks
from hunting_emulator.kql.errors import KqlError

_UNITS = {
    **dict.fromkeys(("d", "day", "days"), ticks.DAY),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), ticks.HOUR),
    **dict.fromkeys(("m", "min", "minute", "minutes"), ticks.MINUTE),
    **dict.fromkeys(("s", "sec", "second", "seconds"), ticks.SECOND),
    **dict.fromkeys(("ms", "milli", "millis", "millisecond", "milliseconds"), ticks.MILLISECOND),
    **dict.fromkeys(("micro", "micros", "microsecond", "microseconds"), ticks.MICROSECOND),
    **dict.fromkeys(("tick", "ticks"), 1),
}
_TIMESPAN = re.compile(r"(-)?(?:(\d+)\.)?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<typed>\b(?:datetime|date|timespan|time|guid|long|int|real|double|bool|boolean|decimal)\s*\(
        \s*(?:"[^"\n]*"|'[^'\n]*'|[^()"'\n]*)\s*\))
  | (?P<span>\d+(?:\.\d+)?(?:"""
    + "|".join(sorted(_UNITS, key=len, reverse=True))
    + r""")\b)
  | (?P<number>0[xX][0-9a-fA-F]+|\d+(?:\.(?!\.)\d*)?(?:[eE][+-]?\d+)?)
  | (?P<string>[hH]?@"(?:[^"]|"")*"|[hH]?@'(?:[^']|'')*'
        |[hH]?"(?:[^"\\\n]|\\.)*"|[hH]?'(?:[^'\\\n]|\\.)*')
  | (?P<dashed>(?:project-(?:away|keep|rename|reorder)|mv-expand|mv-apply|make-series)\b)
  | (?P<name>[A-Za-z_$][A-Za-z0-9_]*)
  | (?P<op>!in~|!in\b|!between\b|!(?:has_cs|has|contains_cs|contains|startswith_cs|startswith
        |endswith_cs|endswith)\b|\.\.|==|!=|=~|!~|<=|>=|<>|[-+*/%<>=|(),;.\[\]{}:?~])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word of a query. `value` is set for literals: (Kusto type, value)."""

    kind: str
    text: str
    at: int
    value: tuple[str, object] | None = None


def tokens(query: str) -> list[Token]:
    """Return all tokens of a query. The last token has the kind `end`."""
    found: list[Token] = []
    at = 0
    while at < len(query):
        match = _TOKEN.match(query, at)
        if match is None:
            raise KqlError(
                f"Syntax error: A recognition error occurred at position {at} near '{query[at : at + 12]}'"
            )
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(_token(kind, match.group(), at))
        at = match.end()
    found.append(Token("end", "<end of query>", at))
    return found


def _token(kind: str, text: str, at: int) -> Token:
    if kind == "typed":
        return Token("literal", text, at, _typed(text))
    if kind == "span":
        return Token("literal", text, at, ("timespan", _span(text)))
    if kind == "number":
        return Token("literal", text, at, _number(text))
    if kind == "string":
        return Token("literal", text, at, ("string", _string(text)))
    return Token("name" if kind == "dashed" else kind, text, at)


def _span(text: str) -> int:
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?([a-z]+)", text)
    if match is None:
        raise KqlError(f"Syntax error: '{text}' is not a timespan")
    whole, fraction, unit = match.groups()
    digits = fraction or ""
    return int(whole + digits) * _UNITS[unit] // int(10 ** len(digits))


def _number(text: str) -> tuple[str, object]:
    if text[:2] in ("0x", "0X"):
        return "long", int(text, 16)
    if re.fullmatch(r"\d+", text):
        return "long", int(text)
    return "real", float(text)


def _string(text: str) -> str:
    text = text.lstrip("hH")
    if text.startswith("@"):
        quote = text[1]
        return text[2:-1].replace(quote * 2, quote)
    return re.sub(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", _unescape, text[1:-1])


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1)
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPES.get(code, code)


def _typed(text: str) -> tuple[str, object]:
    name, _, rest = text.partition("(")
    kind = {"date": "datetime", "time": "timespan", "double": "real", "boolean": "bool"}.get(
        name.strip(), name.strip()
    )
    body = rest[:-1].strip().strip("\"'").strip()
    if body == "null":
        return kind, None
    try:
        return kind, _typed_value(kind, body)
    except ValueError:
        raise KqlError(f"Syntax error: '{body}' is not a valid {kind} literal") from None


def _typed_value(kind: str, body: str) -> object:  # noqa: PLR0911 - one answer per kind of type
    if kind == "datetime":
        return ticks.parse(body)
    if kind == "timespan":
        return timespan(body)
    if kind == "bool":
        return {"true": True, "false": False, "1": True, "0": False}[body.lower()]
    if kind == "guid":
        return body.lower()
    if kind == "real":
        return float(body)
    if kind == "decimal":
        return body
    return int(body, 0)


def timespan(body: str) -> int:
    """Parse `1.02:03:04.0000005` or `15m` into ticks. Raise ValueError for any other text."""
    match = _TIMESPAN.fullmatch(body)
    if match is None:
        if re.fullmatch(r"\d+", body):
            return int(body) * ticks.DAY
        if re.fullmatch(r"\d+(\.\d+)?[a-z]+", body) and re.sub(r"[\d.]", "", body) in _UNITS:
            return _span(body)
        raise ValueError(body)
    sign, day, hour, minute, second, fraction = match.groups()
    total = int(day or 0) * ticks.DAY + int(hour) * ticks.HOUR + int(minute) * ticks.MINUTE
    total += int(second or 0) * ticks.SECOND + int((fraction or "").ljust(7, "0"))
    return -total if sign else total
