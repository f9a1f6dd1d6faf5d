"""The verdict on a reply: the next step for the caller. One table decides. An unknown reply is refused.

Source: the error tables of the advanced hunting APIs (Graph, Defender XDR, Endpoint) and captured replies,
collected in 2026-11.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from hunting_pipeline.errors import setting
from hunting_pipeline.redaction import redacted

__all__ = ["NotAccepted", "Refuse", "Renew", "Retry", "Split", "Verdict", "Wait", "judge", "printable"]


@dataclass(frozen=True, slots=True)
class Split:
    """The request asked for too much: split it and send smaller requests."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The tenant's quota is exhausted: no client of the tenant should send a request for `seconds`."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Renew:
    """The token was not accepted: send the request once more with a new token, then give up."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """A temporary failure of the service or the network: send the same request again, a few times."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """A final refusal: the same request would be refused again. The message is for the user.

    Attributes:
        everything: whether every other request would be refused too.
    """

    message: str
    everything: bool = True


Verdict = Split | Wait | Renew | Retry | Refuse


class NotAccepted(Exception):
    """A call without a usable reply. The caller must discard every byte read from the reply.

    Attributes:
        verdict: the next step for the caller.
    """

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message if isinstance(verdict, Refuse) else verdict.reason)
        self.verdict = verdict


_WHERE = ", ".join(setting(name) for name in ("api_url", "api", "cloud"))
"""The settings that choose the URL."""

CALLS_WAIT = 60.0
"""Seconds to wait for the call quota if the reply names no time. The service counts calls per minute."""
CPU_WAIT = 900.0
"""Seconds to wait for CPU quota if the reply names no time. The service renews it every 15 minutes."""
_SHOWN = 500
"""Number of characters that a message quotes from the service."""


@dataclass(frozen=True, slots=True)
class _ErrorReply:
    """A reply with a status other than 200. The names of its headers are in lower case.

    Attributes:
        said: the message before secrets were removed. It decides, and is never shown.
    """

    status: int
    headers: Mapping[str, str]
    code: str
    message: str
    said: str
    permission: str
    now: datetime

    @property
    def text(self) -> str:
        details = ": ".join(part for part in (self.code, self.message) if part)
        return f"{self.status} {details}".strip()


def judge(
    status: int, headers: Mapping[str, str], body: bytes, *, permission: str, now: datetime
) -> Verdict | None:
    """Return the verdict on a reply, or None if the reply is accepted.

    Args:
        status: the HTTP status.
        headers: the reply's headers, with names in any case.
        body: the reply's body; it may be truncated, and need not be JSON.
        permission: the permission that the app needs, for the message.
        now: the current time with a time zone, to convert a Retry-After date into seconds.
    """
    if status == 200:
        return None
    code, message = _error_of(body)
    lowered = {name.lower(): value for name, value in headers.items()}
    said = _one_line(message)
    error = _ErrorReply(status, lowered, printable(code), printable(message), said, permission, now)
    for statuses, pattern, verdict in _TABLE:
        if status in statuses and (pattern is None or pattern.search(said)):
            return verdict(error)
    return Refuse(f"the service returned an unknown error: {error.text}")


def printable(text: str, *, limit: int = _SHOWN) -> str:
    """Reduce text to one line of at most `limit` characters, without secrets, tags and control characters."""
    return _one_line(redacted(text), limit=limit)


def _one_line(text: str, *, limit: int = _SHOWN) -> str:
    text = re.sub(r"<[^<>]*>", " ", text[: 8 * limit])
    text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _error_of(body: bytes) -> tuple[str, str]:
    """Extract the code and the message of an error. For an unknown form of body, return "" and the text.

    The caller must remove secrets from both.
    """
    text = body.decode("utf-8", errors="replace")
    try:
        envelope: Any = json.loads(text)
    except (ValueError, RecursionError):
        return "", text
    error = envelope.get("error", envelope) if isinstance(envelope, dict) else envelope
    if not isinstance(error, dict):
        return "", error if isinstance(error, str) else text
    code, message = error.get("code"), error.get("message")
    return str(code or ""), str(message or "")


def _table_absent(error: _ErrorReply) -> Verdict:
    return Refuse(
        f"{error.text}; the table does not exist in this tenant, is not licensed, or is not in this API",
        everything=False,
    )


def _column_absent(error: _ErrorReply) -> Verdict:
    return Refuse(f"{error.text}; the query names a column that the table does not have", everything=False)


def _bad_query(error: _ErrorReply) -> Verdict:
    return Refuse(f"the service refused the query: {error.text}", everything=False)


def _too_long(error: _ErrorReply) -> Verdict:
    return Refuse(f"the query text is too long: {error.text}", everything=False)


def _forbidden(error: _ErrorReply) -> Verdict:
    return Refuse(
        f"{error.text}; grant the app {error.permission} with admin consent"
        " (a signed-in user also needs a role)"
    )


def _wrong_url(error: _ErrorReply) -> Verdict:
    return Refuse(f"{error.text}; the URL does not exist: check {_WHERE}")


def _redirected(error: _ErrorReply) -> Verdict:
    to = printable(error.headers.get("location", "nowhere"), limit=200)
    return Refuse(
        f"{error.status} redirects to {to}; redirects are not followed, to protect the token."
        f" Check {setting('api_url')}"
    )


def _split(error: _ErrorReply) -> Verdict:
    return Split(error.text)


def _renew(error: _ErrorReply) -> Verdict:
    return Renew(error.text)


def _retry(error: _ErrorReply) -> Verdict:
    return Retry(error.text)


def _wait(error: _ErrorReply) -> Verdict:
    """Wait for the time in Retry-After, else the time in the message, else the default of the quota."""
    seconds = _retry_after(error)
    if seconds is None:
        seconds = _seconds_in(error.said)
    if seconds is None:
        seconds = CPU_WAIT if "cpu" in error.code.lower() else CALLS_WAIT
    return Wait(max(1.0, seconds), error.text)


def _retry_after(error: _ErrorReply) -> float | None:
    value = error.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000" of RFC 5322 means UTC
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - error.now).total_seconds())


def _seconds_in(message: str) -> float | None:
    """Find the wait in a message: `in 2871 seconds`, or the quota's period in `45 per 00:01:00`."""
    if found := re.search(r"(\d{1,9}(?:\.\d{1,9})?)\s*second", message, re.ASCII | re.IGNORECASE):
        return float(found[1])
    if found := re.search(
        r"\bper (?:(\d{1,4})\.)?(\d{1,2}):(\d\d):(\d\d)", message, re.ASCII | re.IGNORECASE
    ):
        days, hours, minutes, seconds = (int(group or 0) for group in found.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    return None


def _says(phrase: str) -> re.Pattern[str]:
    return re.compile(phrase, re.IGNORECASE)


_TABLE: tuple[tuple[frozenset[int], re.Pattern[str] | None, Callable[[_ErrorReply], Verdict]], ...] = (
    (frozenset(range(300, 400)), None, _redirected),
    (frozenset({400}), _says("failed to resolve table"), _table_absent),
    (frozenset({400}), _says("failed to resolve (scalar|column)"), _column_absent),
    (frozenset({400}), _says("exceeded the allowed result size"), _split),
    (frozenset({400}), _says("exceeded the allowed limits|query execution was preempted"), _split),
    (frozenset({400}), None, _bad_query),
    (frozenset({401}), None, _renew),
    (frozenset({403}), None, _forbidden),
    (frozenset({404}), None, _wrong_url),
    (frozenset({413}), None, _too_long),
    (frozenset({429}), None, _wait),
    (frozenset({500, 503}), None, _retry),
    (frozenset({502}), None, _split),  # from a proxy: the reply was too large for the proxy
    (frozenset({504}), None, _split),
)
"""Statuses, a pattern that the message must contain (None: any message), and the verdict.

The first matching row decides.
"""
