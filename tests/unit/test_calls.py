"""The wrappers around one call: which reply is sent again, after which wait, and how often."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from http_handler import FakeClock, Handler, Tokens, client_of, replies, reply, without_sockets
from quota_postgres import restartable

from hunting_pipeline.actions import Reason
from hunting_pipeline.errors import Misconfigured, QuotaExhausted, Refused, ReplyUnreadable, ServiceFailed
from hunting_pipeline.limits import TEST
from hunting_pipeline.pipeline.acceptance import Acceptance
from hunting_pipeline.pipeline.calls import Calls, NotFetched
from hunting_pipeline.pipeline.clock import SystemClock
from hunting_pipeline.pipeline.progress import WaitNotices
from hunting_pipeline.quota.ledger import open_ledger
from hunting_pipeline.quota.outage import DOWN_SECONDS, TABLE_FAILURES, TENANT_FAILURES, CallEnd
from hunting_pipeline.quota.protocol import Ledger, Reservation
from hunting_pipeline.quota.rules import Priority, WaitUntil

__all__ = ["without_sockets"]

pytestmark = pytest.mark.usefixtures("without_sockets")

ATTEMPTS = 5
MAX_WAIT = 100.0


def body(rows: int = 3) -> bytes:
    return json.dumps(
        {"schema": [{"name": "A", "type": "Int64"}], "results": [{"A": n} for n in range(rows)]}
    ).encode()


def answered() -> httpx.Response:
    return reply(200, body())


def throttled(seconds: str = "17") -> httpx.Response:
    return reply(429, b'{"error":{"code":"TooManyRequests","message":""}}', retry_after=seconds)


def unavailable() -> httpx.Response:
    return reply(503)


def timed_out() -> httpx.Response:
    return reply(504)


def unauthorized() -> httpx.Response:
    return reply(401)


def cut() -> httpx.Response:
    return reply(200, body()[:-1])


@dataclass
class Bench:
    """Calls over a handler, with a fake clock and a ledger in a file."""

    folder: Path
    stack: ExitStack
    clock: FakeClock = field(default_factory=FakeClock)
    tokens: Tokens = field(default_factory=Tokens)
    waits: list[str] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    def calls(self, handler: Handler) -> Calls:
        def noting(request: httpx.Request) -> httpx.Response:
            self.requests.append(request)
            return handler(request)

        client = self.stack.enter_context(client_of(noting, tokens=self.tokens))
        ledger = self.ledger()
        return Calls(
            client=client,
            tokens=self.tokens,
            ledger=ledger,
            limits=TEST,
            clock=self.clock,
            table="AlertInfo",
            priority=Priority.FRESH,
            owner="test",
            max_wait=MAX_WAIT,
            on_wait=self.waits.append,
            accepted=Acceptance(ledger, "me").record,
        )

    def ledger(self) -> Ledger:
        path = str(self.folder / "quota.sqlite")
        ledger = open_ledger(path, tenant="t", limits=TEST, share=1.0, clock=self.clock.now)
        self.stack.callback(ledger.close)
        return ledger


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


def test_the_first_accepted_reply_is_recorded(bench: Bench) -> None:
    calls = bench.calls(replies(cut, answered, answered))
    with pytest.raises(NotFetched):
        calls.fetch("T")
    assert bench.ledger().access("me") is None
    for _ in range(2):
        calls.fetch("T")
        bench.clock.sleep(1)
    found = bench.ledger().access("me")
    assert found is not None
    assert (found.at, found.refusal) == (bench.clock.now() - 2, "")


def test_an_accepted_reply_is_one_call_and_its_running_time(bench: Bench) -> None:
    calls = bench.calls(replies(answered))
    assert calls.fetch("T").table.num_rows == 3
    assert (calls.spent.calls, calls.spent.waited_seconds, bench.clock.sleeps) == (1, 0, [])
    assert calls.spent.running_seconds > 0
    assert calls.ledger.usage().running == 0


def test_the_reply_of_a_call_is_kept_if_the_ledger_vanishes_and_no_more_calls_are_sent(
    tmp_path: Path,
) -> None:
    def answered_without_ledger() -> httpx.Response:
        (tmp_path / "quota.sqlite").unlink()
        return answered()

    with ExitStack() as stack:
        bench = Bench(tmp_path, stack)
        calls = bench.calls(replies(answered_without_ledger))
        assert calls.fetch("T").table.num_rows == 3
        for step in (lambda: calls.fetch("T"), calls.ledger.close):
            with pytest.raises(Misconfigured, match=r"quota\.sqlite was deleted or replaced"):
                step()
        assert len(bench.requests) == 1
        stack.pop_all()


def test_the_reply_of_a_call_is_kept_if_the_database_restarts(bench: Bench) -> None:
    with restartable() as server:

        def answered_in_a_restart() -> httpx.Response:
            server.stop()
            threading.Timer(2, server.start).start()
            return answered()

        calls = bench.calls(replies(answered_in_a_restart, answered))
        ledger = open_ledger(server.url, tenant="t", limits=TEST, share=1.0)
        calls = replace(calls, ledger=ledger, clock=SystemClock())
        assert calls.fetch("T").table.num_rows == 3
        assert calls.fetch("T").table.num_rows == 3
        usage = ledger.usage()
        assert (usage.running, sum(usage.owners.values())) == (0, 2)
        ledger.close()


def test_the_running_time_that_the_service_states_is_charged(bench: Bench) -> None:
    stated = json.dumps({"Stats": {"ExecutionTime": 42.5}} | json.loads(body())).encode()
    calls = bench.calls(replies(lambda: reply(200, stated)))
    calls.fetch("T")
    assert calls.spent.running_seconds == 42.5


def test_a_throttled_call_waits_as_long_as_the_service_says_and_never_ran(bench: Bench) -> None:
    def throttled_late() -> httpx.Response:
        time.sleep(0.5)
        return throttled()

    stated = json.dumps({"Stats": {"ExecutionTime": 0.25}} | json.loads(body())).encode()
    calls = bench.calls(replies(throttled_late, lambda: reply(200, stated)))
    assert calls.fetch("T").table.num_rows == 3
    assert sum(bench.clock.sleeps) >= 17
    assert calls.spent.waited_seconds == pytest.approx(sum(bench.clock.sleeps))
    assert len(bench.waits) <= len(bench.clock.sleeps)
    assert "429 TooManyRequests" in bench.waits[0]
    assert (calls.spent.calls, bench.tokens.renewals) == (2, 0)
    assert calls.spent.running_seconds == 0.25


def test_a_throttled_tenant_blocks_every_other_owner_of_the_ledger(bench: Bench) -> None:
    until = bench.clock.now() + 2871
    with pytest.raises(QuotaExhausted):
        bench.calls(replies(lambda: throttled("2871"))).fetch("T")
    usage = bench.ledger().usage()
    assert usage.blocked_until == pytest.approx(until)
    assert "429 TooManyRequests" in usage.block_reason


def test_a_wait_longer_than_the_caller_allows_is_handed_to_the_caller(bench: Bench) -> None:
    calls = bench.calls(replies(lambda: throttled("2871")))
    until = bench.clock.now() + 2871
    with pytest.raises(QuotaExhausted, match="AlertInfo") as caught:
        calls.fetch("T")
    assert caught.value.until >= datetime.fromtimestamp(int(until), UTC)
    assert bench.clock.sleeps == []
    with pytest.raises(QuotaExhausted):  # no request is sent while the tenant is blocked
        calls.fetch("T")
    assert len(bench.requests) == 1


def test_a_service_that_throttles_again_and_again_ends_in_quota_exhausted(bench: Bench) -> None:
    calls = bench.calls(lambda _: throttled("30"))
    with pytest.raises(QuotaExhausted):
        calls.fetch("T")
    assert len(bench.requests) == 4  # 4 times 30 seconds exceed the allowed 100
    assert sum(bench.clock.sleeps) <= MAX_WAIT + 30


def test_a_short_wait_that_is_demanded_again_and_again_becomes_longer(bench: Bench) -> None:
    with pytest.raises(QuotaExhausted):
        bench.calls(lambda _: throttled("1")).fetch("T")
    assert len(bench.requests) == 7  # 1, 2, 4, 8, 16, 32 and 64 seconds exceed the allowed 100


@pytest.mark.parametrize(("asked", "pause"), [("17", 17), ("86400", 300), ("0", 1)])
def test_the_pause_that_the_service_demands_is_kept(bench: Bench, asked: str, pause: float) -> None:
    calls = bench.calls(replies(lambda: reply(503, retry_after=asked), answered))
    started = bench.clock.now()
    assert calls.fetch("T").table.num_rows == 3
    assert bench.clock.now() - started == pytest.approx(pause, abs=1)
    assert bench.ledger().usage().blocked_until is None


@pytest.mark.parametrize(
    ("hour", "shown"), [(8, "before 10:40:00 UTC"), (23, "before 2026-11-30 01:40:00 UTC")]
)
def test_a_wait_until_another_day_has_its_date(bench: Bench, hour: int, shown: str) -> None:
    bench.clock.seconds = datetime(2026, 11, 29, hour, 40, tzinfo=UTC).timestamp()
    with pytest.raises(QuotaExhausted, match=shown):
        bench.calls(lambda _: throttled("7200")).fetch("T")


def test_a_short_wait_over_midnight_has_its_date(bench: Bench) -> None:
    bench.clock.seconds = datetime(2026, 11, 29, 23, 59, 50, tzinfo=UTC).timestamp()
    bench.calls(replies(throttled, answered)).fetch("T")
    assert bench.waits[0].startswith("waiting until 2026-11-30 00:00:0")


def test_a_wait_is_reported_once_per_reason_and_then_every_thirty_seconds(bench: Bench) -> None:
    reported: list[float] = []
    calls = bench.calls(replies(*[lambda: throttled("10")] * 5, answered))
    replace(calls, on_wait=lambda _: reported.append(bench.clock.now())).fetch("T")
    assert sum(bench.clock.sleeps) > 50
    assert 2 <= len(reported) < len(bench.clock.sleeps)
    assert all(later - earlier >= 30 for earlier, later in pairwise(reported))


def test_a_wait_is_reported_with_the_time_left(bench: Bench) -> None:
    bench.calls(replies(throttled, answered)).fetch("T")
    assert re.match(r"waiting until \d\d:\d\d:\d\d UTC \(1[678] s left\): ", bench.waits[0]), bench.waits


def test_reasons_that_differ_in_numbers_are_one_reason() -> None:
    notices = WaitNotices()
    assert notices.due("calls per minute (36 of 36 spent), 2 waiting before this one", 0.0)
    assert not notices.due("calls per minute (35 of 36 spent)", 29.9)
    assert notices.due("running seconds per hour (600 of 600 spent)", 29.9)
    assert notices.due("calls per minute (36 of 36 spent)", 30.0)
    assert not notices.due("calls per minute (36 of 36 spent), 1 waiting before this one", 59.9)
    assert not notices.due("running seconds per hour (599 of 600 spent)", 59.8)


@pytest.mark.parametrize("failure", [unavailable, lambda: reply(500)])
def test_a_failure_is_retried_after_growing_pauses(
    bench: Bench, failure: Callable[[], httpx.Response]
) -> None:
    calls = bench.calls(replies(*[failure] * (TABLE_FAILURES - 1), answered))
    started = bench.clock.now()
    assert calls.fetch("T").table.num_rows == 3
    assert (len(bench.requests), calls.spent.calls) == (TABLE_FAILURES, TABLE_FAILURES)
    assert bench.clock.now() - started == pytest.approx(1 + 2 + 4 + 8 + 16 + 30, abs=1)
    assert {request.content for request in bench.requests} == {bench.requests[0].content}
    assert bench.ledger().usage().failures == 0


def test_a_service_that_never_answers_costs_a_table_seven_calls(bench: Bench) -> None:
    calls = bench.calls(lambda _: unavailable())
    with pytest.raises(ServiceFailed, match="503") as caught:
        calls.fetch("T")
    assert not caught.value.everything
    assert len(bench.requests) == TABLE_FAILURES
    usage = calls.ledger.usage()
    assert (usage.running, usage.failures, usage.failure) == (0, TABLE_FAILURES, "503")


def test_a_service_that_never_answers_costs_a_tenant_twenty_one_calls(bench: Bench) -> None:
    """After three tables, no other process sends a call for five minutes. Then one call asks again."""
    errors = []
    for _ in range(10):
        with pytest.raises(ServiceFailed) as caught:
            bench.calls(lambda _: unavailable()).fetch("T")
        errors.append(caught.value)
    assert len(bench.requests) == TENANT_FAILURES
    assert [error.everything for error in errors] == [False] * 3 + [True] * 7
    assert "21 calls in a row have failed, the last with: 503. No request was sent" in str(errors[-1])
    bench.clock.seconds += DOWN_SECONDS
    assert bench.calls(replies(answered)).fetch("T").table.num_rows == 3
    assert bench.ledger().usage().failures == 0


def test_one_process_at_a_time_asks_while_the_service_fails(bench: Bench) -> None:
    ledger = bench.ledger()
    first = ledger.reserve(table="A", priority=Priority.FRESH, owner="one")
    assert isinstance(first, Reservation)
    ledger.settle(first, seconds=1, end=CallEnd(answered=False, reason="503"))
    assert isinstance(ledger.reserve(table="B", priority=Priority.FRESH, owner="two"), WaitUntil)
    bench.clock.seconds += 1
    again = ledger.reserve(table="B", priority=Priority.FRESH, owner="two")
    assert isinstance(again, Reservation)
    waiting = ledger.reserve(table="A", priority=Priority.FRESH, owner="one")
    assert isinstance(waiting, WaitUntil)
    assert "the service fails (1 calls in a row): 503" in waiting.reason
    ledger.settle(again, seconds=1, end=CallEnd(answered=True))
    assert isinstance(ledger.reserve(table="A", priority=Priority.FRESH, owner="one"), Reservation)


def test_an_answered_count_does_not_end_an_outage_of_rows(bench: Bench) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return answered() if b"count" in request.content else timed_out()

    calls = bench.calls(handler)
    with pytest.raises(NotFetched) as caught:
        calls.fetch("T")
    assert caught.value.reason is Reason.UNANSWERED
    for number in range(1, TABLE_FAILURES - 1):
        calls.count("T | count", bool)
        assert bench.ledger().usage().failures == number
        with pytest.raises(NotFetched):
            calls.fetch("T")
    with pytest.raises(ServiceFailed):
        calls.fetch("T")


def test_a_failed_call_that_throttling_follows_still_counts(bench: Bench) -> None:
    with pytest.raises(ServiceFailed):
        bench.calls(replies(*[unavailable, lambda: throttled("1")] * 6, unavailable)).fetch("T")


@pytest.mark.parametrize("unreadable", [cut, lambda: reply(200, b"<html>")])
def test_an_unreadable_reply_is_left_to_the_caller(
    bench: Bench, unreadable: Callable[[], httpx.Response]
) -> None:
    calls = bench.calls(replies(*[unreadable] * (ATTEMPTS + 1)))
    with pytest.raises(NotFetched) as caught:
        calls.fetch("T")
    assert caught.value.reason is Reason.UNREADABLE
    with pytest.raises(ReplyUnreadable):
        calls.count_or_fail("T", bool)
    assert len(bench.requests) == ATTEMPTS + 1


def test_a_count_that_cannot_be_read_is_asked_for_again(bench: Bench) -> None:
    read = iter([ReplyUnreadable("a doubled bin"), None])

    def reading(_: object) -> str:
        if error := next(read):
            raise error
        return "good"

    assert bench.calls(lambda _: answered()).count("T", reading) == "good"
    assert len(bench.requests) == 2


def test_a_login_host_that_fails_for_a_moment_ends_no_run(bench: Bench) -> None:
    calls = bench.calls(replies(answered))
    failures = iter([ServiceFailed("the login host failed")] * 2)

    def token() -> str:
        if error := next(failures, None):
            raise error
        return "t"

    calls = replace(calls, tokens=SimpleNamespace(token=token))  # type: ignore[arg-type] # the port it needs
    assert calls.fetch("T").table.num_rows == 3


def test_a_failure_of_the_network_is_transient(bench: Bench) -> None:
    def unreachable(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    with pytest.raises(ServiceFailed, match="no route"):
        bench.calls(unreachable).fetch("T")
    assert len(bench.requests) == TABLE_FAILURES


def test_an_expired_token_is_renewed_once(bench: Bench) -> None:
    assert bench.calls(replies(unauthorized, answered)).fetch("T").table.num_rows == 3
    assert bench.tokens.renewals == 1
    first, second = (request.headers["authorization"] for request in bench.requests)
    assert first != second


def test_a_fresh_token_that_is_not_accepted_is_refused(bench: Bench) -> None:
    with pytest.raises(Refused, match="token"):
        bench.calls(replies(unauthorized, unauthorized)).fetch("T")
    assert (bench.tokens.renewals, len(bench.requests)) == (1, 2)


@pytest.mark.parametrize("large", [timed_out, lambda: reply(502), lambda: reply(200, body(TEST.rows))])
def test_a_query_with_too_large_a_result_is_never_retried(bench: Bench, large: object) -> None:
    with pytest.raises(NotFetched):
        bench.calls(replies(large)).fetch("T")  # type: ignore[arg-type]
    assert len(bench.requests) == 1


def test_a_reply_of_exactly_the_limit_of_rows_is_too_big(bench: Bench) -> None:
    full, short = (lambda: reply(200, body(TEST.rows))), (lambda: reply(200, body(TEST.rows - 1)))
    calls = bench.calls(replies(full, short))
    with pytest.raises(NotFetched):
        calls.fetch("T")
    assert calls.fetch("T").table.num_rows == TEST.rows - 1


def test_the_smallest_query_is_retried_if_its_result_is_too_large(bench: Bench) -> None:
    calls = bench.calls(replies(timed_out, timed_out, answered, *[timed_out] * ATTEMPTS))
    assert calls.fetch("T", persist=True).table.num_rows == 3
    with pytest.raises(NotFetched):
        calls.fetch("T", persist=True)


def test_an_indivisible_query_whose_result_is_always_too_large_fails(bench: Bench) -> None:
    calls = bench.calls(replies(*[timed_out] * ATTEMPTS))
    with pytest.raises(ServiceFailed, match="AlertInfo"):
        calls.count_or_fail("T", bool)
    assert len(bench.requests) == ATTEMPTS


@pytest.mark.parametrize(("status", "everything"), [(400, False), (413, False), (403, True), (418, True)])
def test_a_refusal_is_final_and_says_whether_it_concerns_every_call(
    bench: Bench, status: int, everything: bool
) -> None:
    with pytest.raises(Refused) as caught:
        bench.calls(replies(lambda: reply(status))).fetch("T")
    assert caught.value.everything is everything
    assert len(bench.requests) == 1
