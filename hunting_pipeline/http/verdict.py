"""The verdict on a reply: the next step for the caller. One table decides. An unknown reply is refused.

Source: the error tables of the advanced hunting APIs (Graph, Defender XDR, Endpoint) and captured replies,
collected in 2026-11.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hunting_pipeline.errors import setting
from hunting_pipeline.http.service_clock import seconds_of_date
from hunting_pipeline.redaction import redacted

__all__ = [
    "TABLE",
    "NoAnswer",
    "NotAccepted",
    "Refuse",
    "Renew",
    "Retry",
    "Split",
    "Verdict",
    "Wait",
    "accepted",
    "judge",
    "printable",
]


@dataclass(frozen=True, slots=True)
class Split:
    """The request asked for too much: split it and send smaller requests."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No answer of the service: either the request asked for too much, or the service is down."""

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
    """A temporary failure of the service or the network: send the same request again, a few times.

    Attributes:
        seconds: the time that the service asks to wait before the next attempt; 0 if it asks for none.
    """

    reason: str
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Refuse:
    """A final refusal: the same request would be refused again. The message is for the user.

    Attributes:
        everything: whether every other request would be refused too.
    """

    message: str
    everything: bool = True


Verdict = Split | NoAnswer | Wait | Renew | Retry | Refuse


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

_NOT_THE_API = (
    "a proxy, firewall or captive portal answered instead of the API."
    f" Check HTTPS_PROXY, NO_PROXY and {setting('api_url')}"
)
"""The cause and the solution of replies that are not from the API."""

CALLS_WAIT = 60.0
"""Seconds to wait for the call quota if the reply names no time. The service counts calls per minute."""
CPU_WAIT = 900.0
"""Seconds to wait for CPU quota if the reply names no time. The service renews it every 15 minutes."""
LONGEST_WAIT = 86_400.0
"""Longest wait for quota, in seconds. Every quota of the service is renewed within a day."""
LONGEST_RETRY = 300.0
"""Longest wait before a retry, in seconds, so that a failing service does not hold a run for hours."""
_PAGE = "web page"
"""The code of a reply that is a web page. The API sends JSON, so a proxy, a gateway or a portal answered."""
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
    now: float

    @property
    def text(self) -> str:
        details = ": ".join(part for part in (self.code, self.message) if part)
        return f"{self.status} {details}".strip()


def accepted(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether a reply is accepted, so its body has the result. A web page is never a result."""
    return status == 200 and not _is_html(_lowered(headers))


def judge(
    status: int, headers: Mapping[str, str], body: bytes, *, permission: str, now: float
) -> Verdict | None:
    """Return the verdict on a reply, or None if the reply is accepted.

    Args:
        status: the HTTP status.
        headers: the reply's headers, with names in any case.
        body: the reply's body; it may be truncated, and need not be JSON.
        permission: the permission that the app needs, for the message.
        now: the service's time (Unix seconds), to convert a Retry-After date into seconds.
    """
    if accepted(status, headers):
        return None
    lowered = _lowered(headers)
    code, message = _error_of(body, html=_is_html(lowered))
    said = _one_line(message)
    error = _ErrorReply(status, lowered, printable(code), printable(message), said, permission, now)
    for statuses, pattern, verdict in TABLE:
        if status in statuses and (pattern is None or pattern.search(f"{code}: {said}")):
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


def _lowered(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _is_html(headers: Mapping[str, str]) -> bool:
    return "html" in headers.get("content-type", "").lower()


def _error_of(body: bytes, *, html: bool) -> tuple[str, str]:
    """Extract the code and the message of an error. For an unknown form of body, return "" and the text.

    The caller must remove secrets from both.
    """
    text = body.decode("utf-8", errors="replace")
    if html or re.match(r"\s*<(!doctype|html)", text, re.IGNORECASE):
        return _PAGE, text
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


def _feature_disabled(error: _ErrorReply) -> Verdict:
    return Refuse(
        f"{error.text}; the tenant does not have this feature, or does not allow this operation."
        " A permission of the app does not change this: check the tenant's licenses and settings"
    )


def _blocked(error: _ErrorReply) -> Verdict:
    return Refuse(f"{error.text}; the API sends no web pages, so {_NOT_THE_API}")


def _network_sign_in(error: _ErrorReply) -> Verdict:
    return Refuse(f"{error.text}; the network requires a sign-in, so {_NOT_THE_API}")


def _no_result(error: _ErrorReply) -> Verdict:
    """Retry, because a web page with status 200 may be a notice of maintenance."""
    return Retry(f"{error.text}; the API sends no web pages, so {_NOT_THE_API}")


def _wrong_url(error: _ErrorReply) -> Verdict:
    return Refuse(f"{error.text}; the URL does not exist: check {_WHERE}")


def _redirected(error: _ErrorReply) -> Verdict:
    to = printable(error.headers.get("location", "nowhere"), limit=200)
    return Refuse(
        f"{error.status} redirects to {to}; redirects are not followed, to protect the token."
        f" Perhaps {_NOT_THE_API}"
    )


def _split(error: _ErrorReply) -> Verdict:
    return Split(error.text)


def _no_answer(error: _ErrorReply) -> Verdict:
    return NoAnswer(error.text)


def _renew(error: _ErrorReply) -> Verdict:
    return Renew(error.text)


def _retry(error: _ErrorReply) -> Verdict:
    return Retry(error.text, min(_retry_after(error) or 0.0, LONGEST_RETRY))


def _wait(error: _ErrorReply) -> Verdict:
    """Wait for the time in Retry-After, else the time in the message, else the default of the quota.

    A time that is over or zero does not count: without a wait, each new request would exceed the quota again.
    """
    default = CPU_WAIT if "cpu" in error.code.lower() else CALLS_WAIT
    seconds = _retry_after(error) or _seconds_in(error.said) or default
    return Wait(min(max(1.0, seconds), LONGEST_WAIT), error.text)


def _retry_after(error: _ErrorReply) -> float | None:
    """Return the seconds in Retry-After; 0 if its date is over, None if there is no readable value."""
    value = error.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return float(value)
    moment = seconds_of_date(value)
    return None if moment is None else max(0.0, moment - error.now)


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


TABLE: tuple[tuple[frozenset[int], re.Pattern[str] | None, Callable[[_ErrorReply], Verdict]], ...] = (
    (frozenset({200}), None, _no_result),
    (frozenset(range(300, 400)), None, _redirected),
    (frozenset({400}), _says("failed to resolve table"), _table_absent),
    (frozenset({400}), _says("failed to resolve (scalar|column)"), _column_absent),
    (frozenset({400}), _says("exceeded the allowed result size"), _split),
    (frozenset({400}), _says("exceeded the allowed limits|query execution was preempted"), _split),
    (frozenset({400}), None, _bad_query),
    (frozenset({401}), None, _renew),
    (frozenset({403}), _says("DisabledFeature|DisallowedOperation"), _feature_disabled),
    (frozenset({403, 451}), _says(f"^{_PAGE}"), _blocked),
    (frozenset({403}), None, _forbidden),
    (frozenset({404, 410}), None, _wrong_url),
    (frozenset({407, 511}), None, _network_sign_in),
    (frozenset({413}), None, _too_long),
    (frozenset({429, 509}), None, _wait),  # 509: bandwidth of the app (Graph)
    (frozenset({408, 421, 423, 425}), None, _retry),  # slow or wrong connection, locked, too early
    (frozenset({500, 503}), None, _retry),
    (frozenset({520, 521, 522, 523}), None, _retry),  # from a CDN: no connection to the service
    (frozenset({502, 504, 524}), None, _no_answer),  # 502 also if the reply is too large for a proxy
)
"""Statuses, a pattern that the code or the message must contain (None: any), and the verdict.

The first matching row decides.
"""
