"""One query to the service: a permit from the quota, a call, a verdict and a decoded reply.

Each reason to send a query again has its own wrapper. A throttled call waits for the tenant's quota. A
transient failure is retried a few times. An expired token is renewed once. A query that is too big for one
reply raises `TooBig`, and the caller splits the query.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from hunting_pipeline.auth.tokens import Tokens
from hunting_pipeline.decode import decode
from hunting_pipeline.errors import QuotaExhausted, Refused, ReplyUnreadable, ServiceFailed
from hunting_pipeline.http.client import Client
from hunting_pipeline.http.verdict import NotAccepted, Refuse, Renew, Retry, Split, Wait
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import SECOND, datetime_of
from hunting_pipeline.quota.ledger import Ledger, Reservation
from hunting_pipeline.quota.rules import Priority, WaitUntil
from hunting_pipeline.reply import Reply
from hunting_pipeline.split import Reason

__all__ = ["Calls", "Clock", "Spent", "SystemClock", "TooBig", "body_ceiling"]

_ATTEMPTS = 5
"""Most attempts of a call while the service fails: with the waits between them, about half a minute."""

_BACKOFF = wait_random_exponential(multiplier=1, max=20)
"""Seconds between two attempts. The time that the service asks for is added."""

_BODY_HEADROOM = 4
"""A body is refused as hostile if it is longer than the documented limit times this number."""

_BODY_CEILING = 512_000_000
"""Most bytes of a body if no limit is documented: four times the largest reply ever reported (124 MB)."""


class TooBig(Exception):
    """The query is too big: the service refused it or sent a truncated reply. Never leaves the pipeline.

    Attributes:
        reason: `REFUSED` or `TRUNCATED`.
    """

    def __init__(self, message: str, reason: Reason = Reason.REFUSED) -> None:
        super().__init__(message)
        self.reason = reason


class Clock(Protocol):
    """The clock of a run. Tests replace it, so they do not wait."""

    def now(self) -> float:
        """Return Unix seconds."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(slots=True)
class Spent:
    """The cost of a pull's calls so far. The pull's threads share it."""

    calls: int = 0
    running_seconds: float = 0.0
    waited_seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, calls: int = 0, running_seconds: float = 0.0, waited_seconds: float = 0.0) -> None:
        """Count a call or a wait."""
        with self._lock:
            self.calls += calls
            self.running_seconds += running_seconds
            self.waited_seconds += waited_seconds


@dataclass(frozen=True)
class Calls:
    """Sends the queries about one table.

    Attributes:
        max_wait: the longest single wait for quota, in seconds; a longer wait raises `QuotaExhausted`.
        on_wait: called before each wait, with a text for people.
    """

    client: Client
    tokens: Tokens
    ledger: Ledger
    limits: Limits
    clock: Clock
    table: str
    priority: Priority
    owner: str
    max_wait: float
    on_wait: Callable[[str], None]
    spent: Spent = field(default_factory=Spent)

    def ask(self, query: str) -> Reply:
        """Return the reply to `query`.

        Raises:
            TooBig: the query must request fewer rows.
            QuotaExhausted: the quota is exhausted for longer than `max_wait`.
            Refused: the service does not accept the query.
            ServiceFailed: the service or the network failed in every attempt.
            ReplyUnreadable: the body was unreadable in every attempt.
        """
        return self._attempt(query, (_TransientFailure, ReplyUnreadable))

    def ask_unsplittable(self, query: str) -> Reply:
        """Return the reply to a query that cannot request fewer rows.

        A busy service may refuse a query as too big and answer the same query a moment later. So the query is
        sent a few times.

        Raises:
            TooBig: the query was too big in every attempt.
            HuntingError: as `ask`.
        """
        return self._attempt(query, (_TransientFailure, ReplyUnreadable, TooBig))

    def _attempt(self, query: str, transient: tuple[type[Exception], ...]) -> Reply:
        """Send a query a few times, while one of `transient` is raised."""
        attempts = Retrying(
            retry=retry_if_exception_type(transient),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=self._backoff,
            sleep=self.clock.sleep,
            reraise=True,
        )
        try:
            return attempts(self._ask_with_good_token, query)
        except _TransientFailure as error:
            raise self._failed(error) from error

    def _backoff(self, attempt: RetryCallState) -> float:
        """Return the wait before the next attempt. It includes the time that the service asks for."""
        error = attempt.outcome.exception() if attempt.outcome else None
        asked = error.seconds if isinstance(error, _TransientFailure) else 0.0
        return _BACKOFF(attempt) + min(asked, self.max_wait)

    def ask_or_fail(self, query: str) -> Reply:
        """Return the reply to a query that cannot be split, such as a count. Like `ask_unsplittable`.

        Raises:
            ServiceFailed: the service or the network failed in every attempt.
            HuntingError: as `ask`.
        """
        try:
            return self.ask_unsplittable(query)
        except TooBig as error:
            raise self._failed(error) from error

    def _failed(self, last: Exception) -> ServiceFailed:
        return ServiceFailed(
            f"{self.table}: {_ATTEMPTS} attempts failed, the last with: {last}."
            " Finished work is kept. Run again"
        )

    def _ask_with_good_token(self, query: str) -> Reply:
        try:
            return self._ask_within_quota(query)
        except _TokenExpired:
            self.tokens.renew()
        try:
            return self._ask_within_quota(query)
        except _TokenExpired as error:
            raise Refused(f"{self.table}: the service also refused a new token: {error}") from error

    def _ask_within_quota(self, query: str) -> Reply:
        refused_for = 0.0
        while True:
            self.tokens.token()  # sign in first: a reservation counts from the moment it is made
            reservation = self._reserve()
            try:
                return self._ask_once(query, reservation)
            except _Throttled as throttled:
                until = self.clock.now() + throttled.seconds
                self.ledger.block(until=until, reason=str(throttled))
                refused_for += throttled.seconds
                if refused_for > self.max_wait:
                    reason = f"repeated throttling by the service: {throttled}"
                    raise self._exhausted(until, reason) from throttled

    def _reserve(self) -> Reservation:
        """Reserve one call in the ledger; sleep through short waits."""
        while True:
            answer = self.ledger.reserve(table=self.table, priority=self.priority, owner=self.owner)
            if isinstance(answer, Reservation):
                return answer
            self._wait(answer)

    def _wait(self, answer: WaitUntil) -> None:
        seconds = max(0.0, answer.at - self.clock.now())
        if seconds > self.max_wait:
            raise self._exhausted(answer.at, answer.reason)
        message = f"waiting for quota until {self._time_text(answer.at)}: {answer.reason}"
        self.on_wait(message)
        self.clock.sleep(seconds)
        self.spent.add(waited_seconds=seconds)

    def _exhausted(self, until: float, reason: str) -> QuotaExhausted:
        return QuotaExhausted(
            f"{self.table}: the quota allows no call before {self._time_text(until)}: {reason}."
            " Finished work is kept. Run again after that time",
            until=_clock_time(until),
        )

    def _time_text(self, seconds: float) -> str:
        """Return a time as text, with its date unless it is today (UTC)."""
        moment, today = _clock_time(seconds), _clock_time(self.clock.now()).date()
        return f"{moment:%H:%M:%S} UTC" if moment.date() == today else f"{moment:%Y-%m-%d %H:%M:%S} UTC"

    def _ask_once(self, query: str, reservation: Reservation) -> Reply:
        """Send one POST, and settle its running time in the ledger, also if it fails."""
        started = time.monotonic()
        seconds: float | None = None
        try:
            with self.client.ask(query) as body:
                reply = decode(
                    body, max_bytes=body_ceiling(self.limits), keys=self.client.connection.api.envelope
                )
            seconds = self.client.connection.api.running_seconds(reply.stats)
        except NotAccepted as error:
            seconds = 0.0 if isinstance(error.verdict, Wait) else None  # a throttled query never ran
            raise _signal(error) from error
        finally:
            measured = time.monotonic() - started if seconds is None else seconds
            self.ledger.settle(reservation, seconds=measured)
            self.spent.add(calls=1, running_seconds=measured)
        if reply.table.num_rows >= self.limits.rows:
            raise TooBig(
                f"the reply holds {reply.table.num_rows} rows, so rows are missing", Reason.TRUNCATED
            )
        return reply


class _TransientFailure(Exception):
    """A transient failure: send the same query again, a little later."""

    def __init__(self, verdict: Retry) -> None:
        super().__init__(verdict.reason)
        self.seconds = verdict.seconds


class _TokenExpired(Exception):
    """The service refused the token: send the same query again with a new token."""


class _Throttled(Exception):
    """The service throttles the tenant: send no call for `seconds`."""

    def __init__(self, verdict: Wait) -> None:
        super().__init__(verdict.reason)
        self.seconds = verdict.seconds


def _signal(error: NotAccepted) -> Exception:
    """Return the exception for a verdict. Each kind of exception has its own wrapper."""
    match error.verdict:
        case Split(reason):
            return TooBig(reason)
        case Wait():
            return _Throttled(error.verdict)
        case Renew(reason):
            return _TokenExpired(reason)
        case Retry():
            return _TransientFailure(error.verdict)
        case Refuse(message, everything):
            return Refused(message, everything=everything)


def _clock_time(seconds: float) -> datetime:
    return datetime_of(round(seconds * SECOND))


def body_ceiling(limits: Limits) -> int:
    """Return the most bytes of JSON that a body may have."""
    return limits.reply_bytes * _BODY_HEADROOM if limits.reply_bytes else _BODY_CEILING
