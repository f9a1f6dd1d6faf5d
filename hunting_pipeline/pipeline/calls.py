"""One query to the service: a permit from the quota, a call, a verdict and a decoded reply.

Each reason to send a query again has its own wrapper. A throttled call waits for the tenant's quota. A call
that fails is sent again until the service answers, or until the table or the tenant is given up; the ledger
sets the pauses, so all processes of the tenant pause together (`quota.outage`). An expired token is renewed
once. A query without usable rows raises `NotFetched`, and the caller decides.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from hunting_pipeline import telemetry
from hunting_pipeline.actions import Reason
from hunting_pipeline.auth.tokens import Tokens
from hunting_pipeline.decode import decode
from hunting_pipeline.errors import HuntingError, QuotaExhausted, Refused, ReplyUnreadable, ServiceFailed
from hunting_pipeline.http.client import Client
from hunting_pipeline.http.verdict import NoAnswer, NotAccepted, Refuse, Renew, Retry, Split, Wait
from hunting_pipeline.limits import Limits
from hunting_pipeline.model import SECOND, datetime_of
from hunting_pipeline.pipeline.clock import Clock
from hunting_pipeline.pipeline.progress import WaitNotices, span
from hunting_pipeline.quota.outage import TABLE_FAILURES, CallEnd, Outage
from hunting_pipeline.quota.protocol import Down, Ledger, Reservation
from hunting_pipeline.quota.rules import Priority, WaitUntil
from hunting_pipeline.reply import Reply

__all__ = ["Calls", "NotFetched", "Spent"]

_T = TypeVar("_T")

_ATTEMPTS = 5
"""Most attempts of a query that cannot be split, while its replies are unusable: about half a minute."""

_OUTCOMES = {
    Split: "too_large",
    NoAnswer: "no_answer",
    Wait: "throttled",
    Renew: "token_expired",
    Retry: "failed",
    Refuse: "refused",
}
"""The outcome of a call in its measurements, by the kind of its verdict."""


class NotFetched(Exception):
    """The query brought no usable rows. Never leaves the pipeline.

    Attributes:
        reason: `REFUSED`, `TRUNCATED`, `UNANSWERED` or `UNREADABLE`.
    """

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


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


class _Streak:
    """The calls about one table that have failed since the last answer. Threads share it."""

    def __init__(self) -> None:
        self._outage = Outage()
        self._lock = threading.Lock()

    @property
    def given_up(self) -> str:
        """The last failure if the table is given up; "" otherwise."""
        return self._outage.reason if self._outage.failures >= TABLE_FAILURES else ""

    def add(self, end: CallEnd, *, rows: bool) -> None:
        """Add the end of a call."""
        with self._lock:
            self._outage = self._outage.after(end, 0.0, rows=rows)


@dataclass(frozen=True)
class Calls:
    """Sends the queries about one table.

    Attributes:
        max_wait: the longest single wait for quota, in seconds; a longer wait raises `QuotaExhausted`.
        on_wait: called before a wait, with a text for people; not before each wait, see `WaitNotices`.
        accepted: called after each usable reply.
        span: the span that the calls belong to.
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
    accepted: Callable[[], None]
    spent: Spent = field(default_factory=Spent)
    span: Any = field(default_factory=telemetry.parent, repr=False)
    _streak: _Streak = field(default_factory=_Streak, repr=False)
    _notices: WaitNotices = field(default_factory=WaitNotices, repr=False)

    def fetch(self, query: str, *, persist: bool = False) -> Reply:
        """Return the reply to a query for rows.

        Args:
            query: the KQL.
            persist: send the query a few times while its reply is unusable, because it cannot be split.

        Raises:
            NotFetched: the query must ask for fewer rows, or the service does not answer it.
            QuotaExhausted: the quota is exhausted for longer than `max_wait`.
            Refused: the service does not accept the query.
            ServiceFailed: the service or the network does not answer.
        """
        return self._attempts(_ATTEMPTS if persist else 1, _unusable)(self._whole, query, rows=True)

    def ask(self, query: str) -> Reply:
        """Return the reply to a query as it is, also if rows are missing, see `is_cut`.

        The query is sent once more if the service did not answer, or if the reply is unreadable.

        Raises:
            HuntingError, NotFetched: as `fetch`.
        """
        return self._attempts(2, _unclear)(self._answered, query, rows=True)

    def is_cut(self, reply: Reply) -> bool:
        """Return whether rows may be missing: the service cuts a result at the row limit without a word."""
        return int(reply.table.num_rows) >= self.limits.rows

    def count(self, query: str, read: Callable[[Reply], _T], *, persist: bool = True) -> _T:
        """Return what `read` reads from the reply to a query for counts or for the Schema.

        Without `persist`, the query can ask for fewer counts. So it is sent only once more, and only if the
        service did not say that it is too big.

        Raises:
            NotFetched: every reply was unusable. The caller may ask for fewer counts.
            HuntingError: as `fetch`.
        """

        def asked() -> _T:
            reply = self._whole(query, rows=False)
            try:
                return read(reply)
            except ReplyUnreadable as error:
                raise NotFetched(str(error), Reason.UNREADABLE) from error

        return (self._attempts(_ATTEMPTS, _unusable) if persist else self._attempts(2, _unclear))(asked)

    def count_or_fail(self, query: str, read: Callable[[Reply], _T]) -> _T:
        """Return the same as `count` for a query that cannot be split.

        Raises:
            ReplyUnreadable: the reply was unreadable in every attempt.
            ServiceFailed: the service or the network failed in every attempt.
            HuntingError: as `fetch`.
        """
        try:
            return self.count(query, read)
        except NotFetched as error:
            raise self.failure(error) from error

    def failure(self, last: NotFetched) -> HuntingError:
        """Return the error for a query that cannot be split and whose replies are unusable."""
        if last.reason is Reason.UNREADABLE:
            return ReplyUnreadable(f"{self.table}: {last}. Nothing of this reply was kept. Run again")
        return self.outage(str(last))

    def outage(self, last: str) -> ServiceFailed:
        """Return the error for a service that does not answer. `last` is the last failure."""
        return ServiceFailed(
            f"{self.table}: the service does not answer. The last failure was: {last}."
            " Finished work is kept. Run again"
        )

    def _attempts(self, most: int, retried: Callable[[BaseException], bool]) -> Retrying:
        return Retrying(
            retry=retry_if_exception(retried),
            stop=stop_after_attempt(most),
            wait=wait_random_exponential(multiplier=1, max=20),
            sleep=self.clock.sleep,
            reraise=True,
        )

    def _whole(self, query: str, *, rows: bool) -> Reply:
        reply = self._answered(query, rows=rows)
        if self.is_cut(reply):
            raise NotFetched(
                f"the reply holds {reply.table.num_rows} rows, so rows are missing", Reason.TRUNCATED
            )
        return reply

    def _answered(self, query: str, *, rows: bool) -> Reply:
        """Send a query until the service answers, or the table is given up."""
        while True:
            with suppress(_TransientFailure):  # the ledger sets the pause before the next permit
                return self._ask_with_good_token(query, rows)

    def _ask_with_good_token(self, query: str, rows: bool) -> Reply:
        try:
            return self._ask_within_quota(query, rows)
        except _TokenExpired:
            self.tokens.renew()
        try:
            return self._ask_within_quota(query, rows)
        except _TokenExpired as error:
            raise Refused(f"{self.table}: the service also refused a new token: {error}") from error

    def _ask_within_quota(self, query: str, rows: bool) -> Reply:
        refused_for, least = 0.0, 1.0
        while True:
            self._sign_in()  # first: a reservation counts from the moment it is made
            reservation = self._reserve(rows)
            try:
                return self._ask_once(query, reservation)
            except _Throttled as throttled:
                seconds, least = max(throttled.seconds, least), 2 * least
                until = self.clock.now() + seconds
                self.ledger.block(until=until, reason=str(throttled))
                refused_for += seconds
                if refused_for > self.max_wait:
                    reason = f"repeated throttling by the service: {throttled}"
                    raise self._exhausted(until, reason) from throttled

    def _sign_in(self) -> None:
        """Acquire a token, and try a few times while the login host fails."""
        self._attempts(_ATTEMPTS, _failed)(self.tokens.token)

    def _reserve(self, rows: bool) -> Reservation:
        """Reserve one call in the ledger; sleep through short waits."""
        while True:
            self._refuse_given_up()
            answer = self.ledger.reserve(
                table=self.table, priority=self.priority, owner=self.owner, rows=rows
            )
            match answer:
                case Reservation():
                    return answer
                case Down(until, failures, reason):
                    raise ServiceFailed(
                        f"{self.table}: the service does not answer: {failures} calls in a row have failed,"
                        f" the last with: {reason}. No request was sent."
                        f" Run again after {self._time_text(until)}",
                        everything=True,
                    )
                case WaitUntil():
                    self._wait(answer)

    def _wait(self, answer: WaitUntil) -> None:
        seconds = max(0.0, answer.at - self.clock.now())
        if seconds > self.max_wait:
            raise self._exhausted(answer.at, answer.reason)
        if self._notices.due(answer.reason, self.clock.now()):
            until = f"{self._time_text(answer.at)} ({span(seconds)} left)"
            self.on_wait(f"waiting until {until}: {answer.reason}")
        self.clock.sleep(seconds)
        self.spent.add(waited_seconds=seconds)
        telemetry.waited(self.table, seconds)

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
        with telemetry.measured_call(self.table, parent=self.span) as measured:
            return self._measured(query, reservation, measured)

    def _measured(self, query: str, reservation: Reservation, measured: telemetry.Call) -> Reply:
        started = time.monotonic()
        seconds: float | None = None
        end = CallEnd(answered=True)
        try:
            with self.client.ask(query) as body:
                reply = decode(
                    body, max_bytes=self.limits.body_ceiling, keys=self.client.connection.api.envelope
                )
            seconds = self.client.connection.api.running_seconds(reply.stats)
            measured.rows, measured.bytes = reply.table.num_rows, reply.body_bytes
            self.accepted()
        except NotAccepted as error:
            measured.outcome = _OUTCOMES[type(error.verdict)]
            end = _end_of(error)
            seconds = 0.0 if isinstance(error.verdict, Wait) else None  # a throttled query never ran
            raise _signal(error) from error
        except ReplyUnreadable as error:
            measured.outcome = "unreadable"
            raise NotFetched(str(error), Reason.UNREADABLE) from error
        finally:
            measured.seconds = time.monotonic() - started if seconds is None else seconds
            self.ledger.settle(reservation, seconds=measured.seconds, end=end)
            self.spent.add(calls=1, running_seconds=measured.seconds)
            self._streak.add(end, rows=reservation.rows)
            self._refuse_given_up()
        return reply

    def _refuse_given_up(self) -> None:
        """Raise `ServiceFailed` if the table is given up."""
        if last := self._streak.given_up:
            raise self.outage(last)


def _unusable(error: BaseException) -> bool:
    return isinstance(error, NotFetched) and error.reason is not Reason.TRUNCATED


def _unclear(error: BaseException) -> bool:
    return isinstance(error, NotFetched) and error.reason in {Reason.UNANSWERED, Reason.UNREADABLE}


def _failed(error: BaseException) -> bool:
    return isinstance(error, ServiceFailed)


class _TransientFailure(Exception):
    """A transient failure: send the same query again, a little later."""


class _TokenExpired(Exception):
    """The service refused the token: send the same query again with a new token."""


class _Throttled(Exception):
    """The service throttles the tenant: send no call for `seconds`."""

    def __init__(self, verdict: Wait) -> None:
        super().__init__(verdict.reason)
        self.seconds = verdict.seconds


def _end_of(error: NotAccepted) -> CallEnd:
    """Return the end of a call without a usable reply. A refusal is an answer, too."""
    match error.verdict:
        case NoAnswer(reason):
            return CallEnd(answered=False, reason=reason)
        case Retry(reason, seconds):
            return CallEnd(answered=False, reason=reason, pause=seconds)
        case Wait():
            return CallEnd(answered=None)
        case _:
            return CallEnd(answered=True)


def _signal(error: NotAccepted) -> Exception:
    """Return the exception for a verdict. Each kind of exception has its own wrapper."""
    match error.verdict:
        case Split(reason):
            return NotFetched(reason, Reason.REFUSED)
        case NoAnswer(reason):
            return NotFetched(reason, Reason.UNANSWERED)
        case Wait():
            return _Throttled(error.verdict)
        case Renew(reason):
            return _TokenExpired(reason)
        case Retry(reason):
            return _TransientFailure(reason)
        case Refuse(message, everything):
            return Refused(message, everything=everything)


def _clock_time(seconds: float) -> datetime:
    return datetime_of(round(seconds * SECOND))
