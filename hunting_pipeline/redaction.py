"""Removal of secrets from foreign text, before a message, a log or a file can hold the text.

A service, a login host or a proxy may repeat a request in its error. Every text from outside therefore passes
`redacted` before it is shortened: a secret that is cut in half is no longer found. Two rules apply:

* The secrets that this process holds are removed in every form: plain, URL-encoded, with the escapes of JSON
  or Python, with HTML entities, and in base64 at each of its three alignments. Text and secret are both
  decoded into one canonical form, in which they are compared. Mixed and repeated encodings are found, too.
* Values that have the form of a secret are removed, even if this process does not hold them.
"""

import base64
import html
import re
from collections.abc import Callable, Iterator
from typing import AnyStr
from urllib.parse import unquote
from urllib.request import getproxies

__all__ = ["MASK", "SHORTEST", "hold", "hold_private_keys", "hold_url", "redacted"]

MASK = "[redacted]"
"""The text that replaces a secret."""

SHORTEST = 8
"""Fewest characters of a held secret. A shorter one would also match ordinary words."""

_DISTINCT = 6
"""Fewest bytes of a form that is searched in the canonical text."""

_Span = tuple[int, int]

_held: dict[str, tuple[bytes, tuple[bytes, ...]]] = {}
"""The canonical form and the base64 forms of each secret that this process holds."""

_ESCAPE = re.compile(
    rb"(?:%(?:25){0,8}|\\{1,8}x)(?P<byte>[0-9a-f]{2})"
    rb"|(?P<unit>\\{1,8}ud[89ab][0-9a-f]{2}\\{1,8}ud[c-f][0-9a-f]{2}|\\{1,8}u[0-9a-f]{4})"
    rb"|&(?:amp;){0,8}(?P<entity>#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});"
    rb"|(?P<blank>\\{1,8}[nrt]|[\0-\x08])",
    re.IGNORECASE,
)
"""One encoded character. A percent sign, a backslash or an ampersand may be encoded several times."""

_ROUNDS = 5
"""Most encodings inside each other that are decoded."""

_DROPPED = re.compile(
    rb"[\0- +\\\x7f-]|\xc2[\xa0\xad]|\xe2\x80[\x8b-\x8f\xa8\xa9]|\xe2\x81\xa0|\xef\xbb\xbf|\xef\xbf\xbd"
)
"""Characters that encodings and line breaks add, remove or exchange, in UTF-8: `+` is a blank in a form, and
`-` is the `+` of URL-safe base64. The others are blanks, control characters and invisible characters."""

_SAME = bytes.maketrans(b"/ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"_abcdefghijklmnopqrstuvwxyz")
"""Characters that count as equal: `/` is the `_` of URL-safe base64, and some programs change case."""

_BASE64 = re.compile(r"[A-Za-z0-9+/=_-]")

_QUOTES = r"(?:&quot;|&#\d{2};|%22|[\s\"'\\]){0,8}"
_FORMS = (
    (re.compile(r"(?i)()eyJ[a-z0-9_-]{8,}(?:\.[a-z0-9_-]*)*"), ""),  # a JWT, even one that was cut
    (
        re.compile(
            r"(?i)(\b(?:bearer|basic)(?:\s|%20){1,8})(?=[\w.~+/-]*(?:\d|={1,2}(?:[\s,;)]|$)))[\w.~+/=-]{12,}"
        ),
        "",
    ),
    (
        re.compile(
            r"(?i)((?:client_secret|client_assertion|access_token|refresh_token|id_token|password)"
            rf"{_QUOTES}(?:=|:|%3d){_QUOTES})[^\s&\"'<>,;\\]+"
        ),
        "",
    ),
    (re.compile(r"(://)[^\s/@\"'<>]+:[^\s/@\"'<>]+(@)"), r"\2"),  # user and password in a URL
)
"""Forms of secrets, and the text to keep after the mask. The first group is the text to keep before it."""

_USER = re.compile(r"^(?:[^/]*//)?(.*)@", re.DOTALL)
_PASSWORDS = re.compile(r"[?&](?:ssl)?password=([^&]+)", re.IGNORECASE)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END", re.DOTALL)


def hold(*secrets: str) -> None:
    """Hold secrets. `redacted` removes them from now on, if they have at least `SHORTEST` characters."""
    for secret in secrets:
        if secret not in _held and len(secret.strip()) >= SHORTEST:
            plain, _ = _canonical(secret)
            _held[secret] = plain, tuple(_base64_forms(secret.encode("utf-8", "surrogatepass")))


def hold_url(url: str) -> None:
    """Hold the passwords of a URL, and `user:password`, which Basic authentication encodes as one text."""
    if found := _USER.match(url):
        user = unquote(found[1])
        if ":" in user:
            hold(user, user.partition(":")[2])
    hold(*map(unquote, _PASSWORDS.findall(url)))


def hold_private_keys(pem: str) -> None:
    """Hold each line of the private keys in a PEM text, because an excerpt may have only some lines."""
    for body in _PRIVATE_KEY.findall(pem):
        hold(*body.split())


def redacted(text: str) -> str:
    """Replace every secret in foreign text by `MASK`. Call this function before the text is shortened."""
    for url in getproxies().values():
        hold_url(url)
    text = _without_held(text)
    for form, after in _FORMS:
        text = form.sub(rf"\1{MASK}{after}", text)
    return text


def _without_held(text: str) -> str:
    kept, end = [], 0
    for first, last in sorted(_spans(text)):
        if first >= end:
            kept += [text[end:first], MASK]
        end = max(end, last)
    return "".join(kept) + text[end:]


def _spans(text: str) -> Iterator[_Span]:
    """Yield the places of the held secrets: as they are, and in the canonical form of the text."""
    canonical, places = _canonical(text)
    for secret, (plain, in_base64) in tuple(_held.items()):
        yield from _found(secret, text)
        for start, end in _found(plain, canonical):
            yield places[start][0], places[end - 1][1]
        for form in in_base64:
            for start, end in _found(form, canonical):
                yield _widened(text, places[start][0], places[end - 1][1])


def _found(needle: AnyStr, text: AnyStr) -> Iterator[_Span]:
    start = text.find(needle) if len(needle) >= _DISTINCT else -1
    while start >= 0:
        yield start, start + len(needle)
        start = text.find(needle, start + 1)


def _widened(text: str, first: int, last: int) -> _Span:
    """Add the neighbours of a base64 form, which hold the rest of its first and last bits."""
    if first and _BASE64.match(text, first - 1):
        first -= 1
    while last < len(text) and _BASE64.match(text, last):
        last += 1
    return first, last


def _canonical(text: str) -> tuple[bytes, list[_Span]]:
    """Return the decoded bytes of a text, and the place of each byte in the text."""
    data, places = bytearray(), []
    for index, character in enumerate(text):
        encoded = character.encode("utf-8", "surrogatepass")
        data += encoded
        places += [(index, index + 1)] * len(encoded)
    for _ in range(_ROUNDS):
        before = len(data)
        data, places = _replaced(_ESCAPE, _decoded, data, places)
        if len(data) == before:
            break
    data, places = _replaced(_DROPPED, lambda _: b"", data, places)
    return bytes(data.translate(_SAME)), places


def _replaced(
    pattern: re.Pattern[bytes],
    replacement: Callable[[re.Match[bytes]], bytes],
    data: bytearray,
    places: list[_Span],
) -> tuple[bytearray, list[_Span]]:
    """Replace all matches of a pattern, and keep the place of each byte."""
    result, kept, end = bytearray(), [], 0
    for match in pattern.finditer(bytes(data)):
        start = match.start()
        new = replacement(match)
        result += data[end:start] + new
        kept += places[end:start] + [(places[start][0], places[match.end() - 1][1])] * len(new)
        end = match.end()
    return result + data[end:], kept + places[end:]


def _decoded(escape: re.Match[bytes]) -> bytes:
    match escape.lastgroup:
        case "byte":
            return bytes.fromhex(escape["byte"].decode())
        case "unit":
            digits = re.findall(rb"u(.{4})", escape[0], re.IGNORECASE)
            plain = bytes.fromhex(b"".join(digits).decode()).decode("utf-16-be", "surrogatepass")
        case "entity":
            plain = html.unescape(f"&{escape['entity'].decode()};")
        case _:
            plain = ""
    return plain.encode("utf-8", "surrogatepass")


def _base64_forms(secret: bytes) -> Iterator[bytes]:
    """Yield the canonical base64 of a secret within a longer text, for each alignment of its first byte.

    The form leaves out the characters that also depend on the neighbours of the secret.
    """
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + secret).decode()
        first, end = -(-8 * shift // 6), 8 * (shift + len(secret)) // 6
        yield _canonical(encoded[first:end])[0]
