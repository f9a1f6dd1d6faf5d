"""One question to the service: a permit from the quota, one call, one verdict, one decoded reply.

Each reason to ask again has its own wrapper. A throttled call waits for the tenant's quota, a passing failure
is retried a few times, an expired token is renewed once. A question that is too much for one reply raises
`TooBig`, and the caller splits it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

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
"""Times a call is sent in all while the service fails: about half a minute with the waits between."""

_BODY_HEADROOM = 4
"""A body may be this many times longer than the documented limit before it is refused as hostile."""

_BODY_CEILING = 512_000_000
"""Bytes of a body where no limit is documented: four times the largest reply ever reported (124 MB)."""


class TooBig(Exception):
    """The service could not answer, or could not answer whole: ask for less. Never leaves the pipeline.

    Attributes:
        reason: whether rows are missing in the reply, or the service refused.
    """

    def __init__(self, message: str, reason: Reason = Reason.REFUSED) -> None:
        super().__init__(message)
        self.reason = reason


class Clock(Protocol):
    """Time, given as a value: tests need not wait."""

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
    """The cost of one pull's calls so far; shared by its threads."""

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
    """Asks questions about one table.

    Attributes:
        max_wait: seconds to wait for quota at a stretch; a longer wait raises `QuotaExhausted`.
        on_wait: called before each wait, with a sentence for a person.
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
            TooBig: the query must ask for less.
            QuotaExhausted: the quota is spent for longer than `max_wait`.
            Refused: the service does not accept the question.
            ServiceFailed: the service or the network failed in every attempt.
            ReplyUnreadable: every attempt brought a broken body.
        """
        return self._attempt(query, (_Stumbled, ReplyUnreadable))

    def ask_for_least(self, query: str) -> Reply:
        """Return the reply to a query that cannot ask for less.

        A busy service may refuse as too much what the service answers a moment later. The query is therefore
        sent again, a few times.

        Raises:
            TooBig: the query was too much in every attempt.
            HuntingError: as `ask`.
        """
        return self._attempt(query, (_Stumbled, ReplyUnreadable, TooBig))

    def _attempt(self, query: str, stumbles: tuple[type[Exception], ...]) -> Reply:
        """Ask a few times, while one of `stumbles` is raised."""
        attempts = Retrying(
            retry=retry_if_exception_type(stumbles),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=1, max=20),
            sleep=self.clock.sleep,
            reraise=True,
        )
        try:
            return attempts(self._ask_with_good_token, query)
        except _Stumbled as error:
            raise self._failed(error) from error

    def ask_whole(self, query: str) -> Reply:
        """Return the reply to a query that has one size only, such as a count; see `ask_for_least`.

        Raises:
            ServiceFailed: the service or the network failed in every attempt.
            HuntingError: as `ask`.
        """
        try:
            return self.ask_for_least(query)
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
            raise Refused(f"{self.table}: the service accepted no new token either: {error}") from error

    def _ask_within_quota(self, query: str) -> Reply:
        refused_for = 0.0
        while True:
            self.tokens.token()  # before the reservation, which counts from now on: signing in takes time
            reservation = self._reserve()
            try:
                return self._ask_once(query, reservation)
            except _Throttled as throttled:
                until = self.clock.now() + throttled.seconds
                self.ledger.block(until=until, reason=str(throttled))
                refused_for += throttled.seconds
                if refused_for > self.max_wait:
                    reason = f"the service, which refuses again and again: {throttled}"
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
        message = f"waiting until {_clock_time(answer.at):%H:%M:%S} UTC for {answer.reason}"
        self.on_wait(message)
        self.clock.sleep(seconds)
        self.spent.add(waited_seconds=seconds)

    def _exhausted(self, until: float, reason: str) -> QuotaExhausted:
        moment = _clock_time(until)
        return QuotaExhausted(
            f"{self.table}: the quota allows no call before {moment:%H:%M:%S} UTC, because of {reason}."
            " Finished work is kept. Run again then",
            until=moment,
        )

    def _ask_once(self, query: str, reservation: Reservation) -> Reply:
        """Send one POST; settle its running time in the ledger, also when it fails."""
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


class _Stumbled(Exception):
    """A passing failure: ask the same again, a little later."""


class _TokenExpired(Exception):
    """The token was not accepted: ask the same again with another token."""


class _Throttled(Exception):
    """The tenant must not ask for `seconds`."""

    def __init__(self, verdict: Wait) -> None:
        super().__init__(verdict.reason)
        self.seconds = verdict.seconds


def _signal(error: NotAccepted) -> Exception:
    """Return the exception for a verdict: each kind is caught by its own wrapper."""
    match error.verdict:
        case Split(reason):
            return TooBig(reason)
        case Wait():
            return _Throttled(error.verdict)
        case Renew(reason):
            return _TokenExpired(reason)
        case Retry(reason):
            return _Stumbled(reason)
        case Refuse(message, everything):
            return Refused(message, everything=everything)


def _clock_time(seconds: float) -> datetime:
    return datetime_of(round(seconds * SECOND))


def body_ceiling(limits: Limits) -> int:
    """Return how many bytes of JSON a body may have before it is refused."""
    return limits.reply_bytes * _BODY_HEADROOM if limits.reply_bytes else _BODY_CEILING
