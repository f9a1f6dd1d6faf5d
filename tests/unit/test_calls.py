"""The wrappers around one call: which reply is sent again, after which wait, and how often."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from http_handler import FakeClock, Handler, Tokens, client_of, replies, reply, without_sockets
from quota_postgres import restartable

from hunting_pipeline.errors import (
    HuntingError,
    Misconfigured,
    QuotaExhausted,
    Refused,
    ReplyUnreadable,
    ServiceFailed,
)
from hunting_pipeline.limits import TEST
from hunting_pipeline.pipeline.calls import Calls, SystemClock, TooBig
from hunting_pipeline.quota.ledger import Ledger, open_ledger
from hunting_pipeline.quota.rules import Priority

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
        return Calls(
            client=client,
            tokens=self.tokens,
            ledger=self.ledger(),
            limits=TEST,
            clock=self.clock,
            table="AlertInfo",
            priority=Priority.FRESH,
            owner="test",
            max_wait=MAX_WAIT,
            on_wait=self.waits.append,
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


def test_an_accepted_reply_is_one_call_and_its_running_time(bench: Bench) -> None:
    calls = bench.calls(replies(answered))
    assert calls.ask("T").table.num_rows == 3
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
        assert calls.ask("T").table.num_rows == 3
        for step in (lambda: calls.ask("T"), calls.ledger.close):
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
        assert calls.ask("T").table.num_rows == 3
        assert calls.ask("T").table.num_rows == 3
        usage = ledger.usage()
        assert (usage.running, sum(usage.owners.values())) == (0, 2)
        ledger.close()


def test_the_running_time_that_the_service_states_is_charged(bench: Bench) -> None:
    stated = json.dumps({"Stats": {"ExecutionTime": 42.5}} | json.loads(body())).encode()
    calls = bench.calls(replies(lambda: reply(200, stated)))
    calls.ask("T")
    assert calls.spent.running_seconds == 42.5


def test_a_throttled_call_waits_as_long_as_the_service_says_and_never_ran(bench: Bench) -> None:
    def throttled_late() -> httpx.Response:
        time.sleep(0.5)
        return throttled()

    stated = json.dumps({"Stats": {"ExecutionTime": 0.25}} | json.loads(body())).encode()
    calls = bench.calls(replies(throttled_late, lambda: reply(200, stated)))
    assert calls.ask("T").table.num_rows == 3
    assert sum(bench.clock.sleeps) >= 17
    assert calls.spent.waited_seconds == pytest.approx(sum(bench.clock.sleeps))
    assert len(bench.waits) == len(bench.clock.sleeps)
    assert "429 TooManyRequests" in bench.waits[0]
    assert (calls.spent.calls, bench.tokens.renewals) == (2, 0)
    assert calls.spent.running_seconds == 0.25


def test_a_throttled_tenant_blocks_every_other_owner_of_the_ledger(bench: Bench) -> None:
    until = bench.clock.now() + 2871
    with pytest.raises(QuotaExhausted):
        bench.calls(replies(lambda: throttled("2871"))).ask("T")
    usage = bench.ledger().usage()
    assert usage.blocked_until == pytest.approx(until)
    assert "429 TooManyRequests" in usage.block_reason


def test_a_wait_longer_than_the_caller_allows_is_handed_to_the_caller(bench: Bench) -> None:
    calls = bench.calls(replies(lambda: throttled("2871")))
    until = bench.clock.now() + 2871
    with pytest.raises(QuotaExhausted, match="AlertInfo") as caught:
        calls.ask("T")
    assert caught.value.until >= datetime.fromtimestamp(int(until), UTC)
    assert bench.clock.sleeps == []
    with pytest.raises(QuotaExhausted):  # no request is sent while the tenant is blocked
        calls.ask("T")
    assert len(bench.requests) == 1


def test_a_service_that_throttles_again_and_again_ends_in_quota_exhausted(bench: Bench) -> None:
    calls = bench.calls(lambda _: throttled("30"))
    with pytest.raises(QuotaExhausted):
        calls.ask("T")
    assert len(bench.requests) == 4  # 4 times 30 seconds exceed the allowed 100
    assert sum(bench.clock.sleeps) <= MAX_WAIT + 30


@pytest.mark.parametrize("failure", [unavailable, cut, lambda: reply(500), lambda: reply(200, b"<html>")])
def test_a_transient_failure_is_retried_a_few_times(bench: Bench, failure: object) -> None:
    calls = bench.calls(replies(*[failure] * (ATTEMPTS - 1), answered))  # type: ignore[list-item]
    assert calls.ask("T").table.num_rows == 3
    assert (len(bench.requests), calls.spent.calls) == (ATTEMPTS, ATTEMPTS)
    assert len(bench.clock.sleeps) == ATTEMPTS - 1
    assert all(0 <= seconds <= 20 for seconds in bench.clock.sleeps)
    assert {request.content for request in bench.requests} == {bench.requests[0].content}


@pytest.mark.parametrize(("failure", "error"), [(unavailable, ServiceFailed), (cut, ReplyUnreadable)])
def test_a_failure_in_every_attempt_is_an_error(
    bench: Bench, failure: object, error: type[HuntingError]
) -> None:
    calls = bench.calls(replies(*[failure] * ATTEMPTS))  # type: ignore[list-item]
    with pytest.raises(error):
        calls.ask("T")
    assert len(bench.requests) == ATTEMPTS
    assert calls.ledger.usage().running == 0


def test_a_failure_of_the_network_is_transient(bench: Bench) -> None:
    def unreachable(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    with pytest.raises(ServiceFailed, match="no route"):
        bench.calls(unreachable).ask("T")
    assert len(bench.requests) == ATTEMPTS


def test_an_expired_token_is_renewed_once(bench: Bench) -> None:
    assert bench.calls(replies(unauthorized, answered)).ask("T").table.num_rows == 3
    assert bench.tokens.renewals == 1
    first, second = (request.headers["authorization"] for request in bench.requests)
    assert first != second


def test_a_fresh_token_that_is_not_accepted_is_refused(bench: Bench) -> None:
    with pytest.raises(Refused, match="token"):
        bench.calls(replies(unauthorized, unauthorized)).ask("T")
    assert (bench.tokens.renewals, len(bench.requests)) == (1, 2)


@pytest.mark.parametrize("large", [timed_out, lambda: reply(502), lambda: reply(200, body(TEST.rows))])
def test_a_query_with_too_large_a_result_is_never_retried(bench: Bench, large: object) -> None:
    with pytest.raises(TooBig):
        bench.calls(replies(large)).ask("T")  # type: ignore[arg-type]
    assert len(bench.requests) == 1


def test_a_reply_of_exactly_the_limit_of_rows_is_too_big(bench: Bench) -> None:
    full, short = (lambda: reply(200, body(TEST.rows))), (lambda: reply(200, body(TEST.rows - 1)))
    calls = bench.calls(replies(full, short))
    with pytest.raises(TooBig):
        calls.ask("T")
    assert calls.ask("T").table.num_rows == TEST.rows - 1


def test_the_smallest_query_is_retried_if_its_result_is_too_large(bench: Bench) -> None:
    calls = bench.calls(replies(timed_out, timed_out, answered, *[timed_out] * ATTEMPTS))
    assert calls.ask_unsplittable("T").table.num_rows == 3
    with pytest.raises(TooBig):
        calls.ask_unsplittable("T")


def test_an_indivisible_query_whose_result_is_always_too_large_fails(bench: Bench) -> None:
    calls = bench.calls(replies(*[timed_out] * ATTEMPTS))
    with pytest.raises(ServiceFailed, match="AlertInfo"):
        calls.ask_or_fail("T")
    assert len(bench.requests) == ATTEMPTS


@pytest.mark.parametrize(("status", "everything"), [(400, False), (413, False), (403, True), (418, True)])
def test_a_refusal_is_final_and_says_whether_it_concerns_every_call(
    bench: Bench, status: int, everything: bool
) -> None:
    with pytest.raises(Refused) as caught:
        bench.calls(replies(lambda: reply(status))).ask("T")
    assert caught.value.everything is everything
    assert len(bench.requests) == 1
