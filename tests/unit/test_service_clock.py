"""The service's time from the `Date` of replies: whole seconds, slow replies, and replies of others."""

from collections.abc import Callable
from email.utils import formatdate

import httpx
import pytest
from http_handler import FakeClock, client_of, replies, reply, without_sockets
from hypothesis import given
from hypothesis import strategies as st

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.http.client import Client, NotAccepted
from hunting_pipeline.http.service_clock import ServiceClock, seconds_of_date
from hunting_pipeline.http.verdict import Wait

__all__ = ["without_sockets"]

pytestmark = pytest.mark.usefixtures("without_sockets")

NOON = 1_795_000_000.0


def at(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


def whole(client: Client) -> bytes:
    with client.ask("T") as chunks:
        return b"".join(chunks)


@given(
    skew=st.floats(-2_500, 2_500),
    steps=st.lists(st.tuples(st.floats(0, 600), st.floats(0, 1), st.floats(0, 900)), min_size=1, max_size=8),
)
def test_it_is_never_ahead_of_the_service_and_at_most_a_reply_behind(
    skew: float, steps: list[tuple[float, float, float]]
) -> None:
    """A reply is sent, gets its `Date` at any moment, and arrives."""
    machine = FakeClock(NOON)
    clock = ServiceClock(machine.now, machine.now)
    slowest = 0.0
    for pause, part, duration in steps:
        machine.sleep(pause)
        sent = machine.now()
        machine.sleep(part * duration)
        date = at(machine.now() + skew)
        machine.sleep((1 - part) * duration)
        clock.correct(date, sent=sent, received=machine.now())
        slowest = max(slowest, (1 - part) * duration)
        behind = machine.now() + skew - clock.now()
        assert -0.01 <= behind <= slowest + 1.01


def test_a_quick_reply_corrects_what_a_slow_reply_left_open() -> None:
    machine = FakeClock(NOON)
    clock = ServiceClock(machine.now, machine.now)
    clock.correct(at(NOON), sent=NOON - 150, received=NOON)  # the service may be 151 seconds ahead
    assert clock.now() == NOON
    clock.correct(at(NOON + 100), sent=NOON, received=NOON)
    assert clock.now() == NOON + 100
    clock.correct(at(NOON), sent=NOON - 150, received=NOON)
    assert clock.now() == NOON + 100, "a slow reply that does not contradict changes nothing"
    clock.correct(at(NOON - 60), sent=NOON, received=NOON)
    assert clock.now() == NOON - 60


def test_a_machine_clock_that_is_set_during_a_run_changes_nothing() -> None:
    machine, monotonic = FakeClock(NOON), FakeClock(0.0)
    clock = ServiceClock(machine.now, monotonic.now)
    assert clock.now() == NOON
    for _ in range(2):
        machine.sleep(86_400)
        clock.correct(at(NOON - 30), sent=0.0, received=0.0)
        assert (clock.now(), clock.machine_wrong) == (NOON - 30, False)
        assert clock.summary == "0:00:30 ahead of the service's clock"


@pytest.mark.parametrize("hours", [1, -1, 48])
def test_a_difference_of_an_hour_is_refused_at_the_first_reply(hours: int) -> None:
    machine = FakeClock(NOON + 3600 * hours)
    clock = ServiceClock(machine.now, machine.now)
    for _ in range(2):
        with pytest.raises(Misconfigured, match=r"No rows were fetched\. Correct this machine's clock"):
            clock.correct(at(NOON), sent=machine.now(), received=machine.now())
    assert (clock.now(), clock.difference) == (machine.now(), None)


@pytest.mark.parametrize("date", ["", "soon", "Mon, 30 Feb 2026 12:00:00 GMT", "2026-11-20T15:00:00Z", "0"])
def test_an_unreadable_date_changes_nothing(date: str) -> None:
    machine = FakeClock(NOON)
    clock = ServiceClock(machine.now, machine.now)
    clock.correct(date, sent=NOON, received=NOON)
    assert (clock.now(), clock.difference) == (NOON, None)
    assert seconds_of_date(date) is None


def test_a_date_without_a_zone_is_in_utc() -> None:
    assert seconds_of_date("Fri, 20 Nov 2026 15:00:00 -0000") == seconds_of_date(
        "Fri, 20 Nov 2026 15:00:00 GMT"
    )


@pytest.mark.parametrize(
    "other",
    [
        lambda date: reply(503, date=date),
        lambda date: reply(200, b"<html>", date=date, content_type="text/html"),
        lambda date: reply(302, date=date),
    ],
)
def test_only_an_accepted_reply_shows_the_time(other: Callable[[str], httpx.Response]) -> None:
    def answered() -> httpx.Response:
        return reply(200, b"{}", date=at(NOON))

    with client_of(
        replies(lambda: other(at(NOON + 1_800)), answered), machine_clock=lambda: NOON + 600
    ) as client:
        with pytest.raises(NotAccepted):
            whole(client)
        assert client.clock.difference is None
        whole(client)
        assert client.clock.machine_wrong


@pytest.mark.parametrize("ahead", [0.0, 2_400.0, -2_400.0])
def test_a_wait_until_a_date_is_counted_from_the_date_of_the_reply(ahead: float) -> None:
    throttled = reply(429, b"{}", date=at(NOON), retry_after=at(NOON + 90))
    with (
        client_of(replies(lambda: throttled), machine_clock=lambda: NOON + ahead) as client,
        pytest.raises(NotAccepted) as caught,
    ):
        whole(client)
    assert isinstance(caught.value.verdict, Wait)
    assert caught.value.verdict.seconds == 90
