"""What a reply means for the caller: one table, and whatever is not in it is refused.

Source: the error tables of the advanced hunting APIs (Graph, Defender XDR, Endpoint) and captured replies, as
collected in 2026-11.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["NotAccepted", "Refuse", "Renew", "Retry", "Split", "Verdict", "Wait", "judge", "printable"]


@dataclass(frozen=True, slots=True)
class Split:
    """Too much was asked for at once: ask again for less."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The tenant's quota is spent: nobody of the tenant should ask again for `seconds`."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True)
class Renew:
    """The token was not accepted: ask once more with a new one, then give up."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """The service or the network stumbled: the same question may be asked again, a few times."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The same question would be refused again. The message is for a person.

    `everything` says that any other question would be refused too.
    """

    message: str
    everything: bool = True


Verdict = Split | Wait | Renew | Retry | Refuse


class NotAccepted(Exception):
    """A call brought no usable reply. Nothing that was read of it may be kept.

    Attributes:
        verdict: what to do next.
    """

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message if isinstance(verdict, Refuse) else verdict.reason)
        self.verdict = verdict


CALLS_WAIT = 60.0
"""Seconds to wait for calls when the service names no time: the calls quota counts over a minute."""
CPU_WAIT = 900.0
"""Seconds to wait for running time when none is named: the CPU share is renewed every 15 minutes."""
_SHOWN = 500
"""Characters of the service's own text that a message keeps."""


@dataclass(frozen=True, slots=True)
class _Said:
    """A reply that is not a 200: status, headers in lower case, and what its body says."""

    status: int
    headers: Mapping[str, str]
    code: str
    message: str
    permission: str
    now: datetime

    @property
    def text(self) -> str:
        said = ": ".join(part for part in (self.code, self.message) if part)
        return f"{self.status} {said}".strip()


def judge(
    status: int, headers: Mapping[str, str], body: bytes, *, permission: str, now: datetime
) -> Verdict | None:
    """The verdict on a reply, or None if it is accepted.

    `body` need not be whole, nor JSON. `permission` is what the app needs to be granted, for the message.
    `now` is aware; it turns a Retry-After date into seconds.
    """
    if status == 200:
        return None
    code, message = _error_of(body)
    lowered = {name.lower(): value for name, value in headers.items()}
    said = _Said(status, lowered, code, message, permission, now)
    for statuses, pattern, verdict in _TABLE:
        if status in statuses and (pattern is None or pattern.search(message)):
            return verdict(said)
    return Refuse(f"the service answered {said.text}, which this program does not know")


def printable(text: str, *, limit: int = _SHOWN) -> str:
    """Foreign text on one line: no tags or control characters, blanks folded, cut at `limit` characters."""
    text = re.sub(r"<[^<>]*>", " ", text[: 8 * limit])
    text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _error_of(body: bytes) -> tuple[str, str]:
    """Code and message of an error envelope; of anything else, no code and its text."""
    text = body.decode("utf-8", errors="replace")
    try:
        envelope: Any = json.loads(text)
    except (ValueError, RecursionError):
        return "", printable(text)
    error = envelope.get("error", envelope) if isinstance(envelope, dict) else envelope
    if not isinstance(error, dict):
        return "", printable(error if isinstance(error, str) else text)
    code, message = error.get("code"), error.get("message")
    return printable(str(code or "")), printable(str(message or ""))


def _table_absent(said: _Said) -> Verdict:
    return Refuse(
        f"{said.text}; the table is absent in this tenant, not licensed, or not on this surface",
        everything=False,
    )


def _column_absent(said: _Said) -> Verdict:
    return Refuse(f"{said.text}; the query names a column that the table does not have", everything=False)


def _bad_query(said: _Said) -> Verdict:
    return Refuse(f"the service refused the query: {said.text}", everything=False)


def _too_long(said: _Said) -> Verdict:
    return Refuse(f"the query text is too long: {said.text}", everything=False)


def _forbidden(said: _Said) -> Verdict:
    return Refuse(
        f"{said.text}; grant the app {said.permission} with admin consent (a signed-in user needs a role too)"
    )


def _elsewhere(said: _Said) -> Verdict:
    return Refuse(f"{said.text}; nothing is there: check HUNTING_API_URL, HUNTING_API, HUNTING_CLOUD")


def _redirected(said: _Said) -> Verdict:
    to = printable(said.headers.get("location", "nowhere"), limit=200)
    return Refuse(f"{said.status} redirects to {to}; tokens follow no redirect: check HUNTING_API_URL")


def _split(said: _Said) -> Verdict:
    return Split(said.text)


def _renew(said: _Said) -> Verdict:
    return Renew(said.text)


def _retry(said: _Said) -> Verdict:
    return Retry(said.text)


def _wait(said: _Said) -> Verdict:
    """Retry-After, then what the message says, then what the kind of quota needs."""
    seconds = _retry_after(said)
    if seconds is None:
        seconds = _seconds_in(said.message)
    if seconds is None:
        seconds = CPU_WAIT if "cpu" in said.code.lower() else CALLS_WAIT
    return Wait(max(1.0, seconds), said.text)


def _retry_after(said: _Said) -> float | None:
    value = said.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:  # RFC 5322's "-0000": UTC without a place
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - said.now).total_seconds())


def _seconds_in(message: str) -> float | None:
    """`in 2871 seconds`, or the length of the quota's window: `45 per 00:01:00`."""
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


_TABLE: tuple[tuple[frozenset[int], re.Pattern[str] | None, Callable[[_Said], Verdict]], ...] = (
    (frozenset(range(300, 400)), None, _redirected),
    (frozenset({400}), _says("failed to resolve table"), _table_absent),
    (frozenset({400}), _says("failed to resolve (scalar|column)"), _column_absent),
    (frozenset({400}), _says("exceeded the allowed result size"), _split),
    (frozenset({400}), _says("exceeded the allowed limits|query execution was preempted"), _split),
    (frozenset({400}), None, _bad_query),
    (frozenset({401}), None, _renew),
    (frozenset({403}), None, _forbidden),
    (frozenset({404}), None, _elsewhere),
    (frozenset({413}), None, _too_long),
    (frozenset({429}), None, _wait),
    (frozenset({500, 503}), None, _retry),
    (frozenset({502}), None, _split),  # a proxy's page: the reply was too large to pass through
    (frozenset({504}), None, _split),
)
"""Statuses, a phrase the message must hold (None: any), and the verdict; the first row that fits rules."""
