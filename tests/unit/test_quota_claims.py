"""Claims on a table: one run at a time holds one, on SQLite and on a real Postgres."""

import logging
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from ledger_clock import Clock
from quota_postgres import Server, restartable

from hunting_pipeline.errors import LakeBusy, Misconfigured, ServiceFailed
from hunting_pipeline.limits import TEST
from hunting_pipeline.quota import Ledger, claiming, claims, open_ledger
from hunting_pipeline.quota import ledger as ledger_module
from hunting_pipeline.quota.claims import LEASE_SECONDS, Claim, requested
from hunting_pipeline.quota.store import open_store

PROCESSES = multiprocessing.get_context("fork")
LAKE = "s3://bucket/lake"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew and ask often, so a test takes no minute."""
    monkeypatch.setattr(claims, "RENEWAL_SECONDS", 0.02)
    monkeypatch.setattr(claiming, "_POLL_SECONDS", 0.01)


def opened(url: str, tenant: str, **clocks: Any) -> Ledger:
    return open_ledger(url, tenant=tenant, limits=TEST, **clocks)


def later(seconds: float) -> dict[str, Callable[[], float]]:
    """Return clocks of a ledger that is opened `seconds` from now."""
    return {
        "clock": lambda: time.time() + seconds,
        "monotonic": lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + seconds,
    }


def claim(ledger: Ledger, holder: str, *, table: str = "T", lake: str = LAKE, max_wait: float = 0) -> Any:
    return ledger.claim(table, lake=lake, holder=holder, max_wait=max_wait)


def is_free(ledger: Ledger) -> bool:
    try:
        with claim(ledger, "another run"):
            return True
    except LakeBusy:
        return False


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# the rules


def test_a_claim_that_no_run_holds_goes_to_the_run_that_asks() -> None:
    assert requested(None, token="a", holder="A", now=5) == Claim("a", "A", 5, 5 + LEASE_SECONDS)


def test_a_claim_is_renewed_by_its_holder_even_after_it_has_expired() -> None:
    held = Claim("a", "A", 5, 65)
    assert requested(held, token="a", holder="A", now=20) == Claim("a", "A", 5, 20 + LEASE_SECONDS)
    assert requested(held, token="a", holder="A", now=99) == Claim("a", "A", 5, 99 + LEASE_SECONDS)


def test_a_claim_of_another_run_stays_until_it_expires() -> None:
    held = Claim("a", "A", 5, 65)
    assert requested(held, token="b", holder="B", now=64.9) is held
    assert requested(held, token="b", holder="B", now=65) == Claim("b", "B", 65, 65 + LEASE_SECONDS)


def test_three_renewals_may_fail() -> None:
    assert 3 * claims.RENEWAL_SECONDS < LEASE_SECONDS


# one run at a time


def test_a_wait_for_a_claim_ends_and_names_its_holder(url: str, tenant: str) -> None:
    first, second = opened(url, tenant), opened(url, tenant)
    with claim(first, "process pod-1:7, run abc"):
        words = (
            rf"another run still fetches T into the lake {LAKE} after 0 seconds \(process pod-1:7, run"
            r" abc, since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00\)\. No call was sent\. Run again when that"
        )
        for max_wait in (0, 0.2):
            with pytest.raises(LakeBusy, match=words), claim(second, "B", max_wait=max_wait):
                pass
        with claim(second, "B", table="Other"), claim(second, "B", lake="s3://bucket/other"):
            pass
        with claim(opened(url, f"{tenant} other"), "C"):
            pass
    assert is_free(second)


def test_a_run_that_waits_reports_it_once_and_gets_the_claim_when_it_is_released(
    url: str, tenant: str, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = opened(url, tenant), opened(url, tenant)
    held, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with claim(first, "A"):
            held.set()
            wait_until(lambda: caplog.records)
            ended.set()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    with caplog.at_level(logging.WARNING), claim(second, "B", max_wait=60):
        assert ended.is_set()
    thread.join()
    (record,) = caplog.records
    assert re.match(
        rf"another run fetches T into the lake {LAKE}; waiting up to 60 seconds until it ends \(A, since",
        record.getMessage(),
    )


def test_an_error_in_a_run_releases_its_claim(url: str, tenant: str) -> None:
    ledger = opened(url, tenant)
    with pytest.raises(ValueError, match="bad"), claim(ledger, "A"):
        raise ValueError("bad")
    assert is_free(ledger)


def enter_often(url: str, tenant: str, folder: Path) -> None:
    """Claim the table again and again. Fail if another process is inside."""
    ledger = opened(url, tenant)
    for _ in range(10):
        with claim(ledger, f"{os.getpid()}", max_wait=60):
            (folder / "inside").touch(exist_ok=False)
            time.sleep(0.005)
            (folder / "inside").unlink()
            with (folder / "entries").open("a") as entries:
                entries.write("x")


def test_processes_that_race_for_a_claim_hold_it_one_at_a_time(
    url: str, tenant: str, tmp_path: Path, quick: None
) -> None:
    workers = [PROCESSES.Process(target=enter_often, args=(url, tenant, tmp_path)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert (tmp_path / "entries").read_text() == "x" * 20


def hold_until_killed(url: str, tenant: str, holds: Any) -> None:
    with claim(opened(url, tenant), "killed"):
        holds.set()
        time.sleep(600)


def test_the_claim_of_a_killed_run_is_free_after_the_lease(url: str, tenant: str) -> None:
    holds = PROCESSES.Event()
    worker = PROCESSES.Process(target=hold_until_killed, args=(url, tenant, holds))
    worker.start()
    assert holds.wait(60)
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    with pytest.raises(LakeBusy, match=r"\(killed, since"), claim(opened(url, tenant), "B"):
        pass
    assert is_free(opened(url, tenant, **later(LEASE_SECONDS + 1)))


def test_a_held_claim_is_renewed(url: str, tenant: str, quick: None) -> None:
    """The clock moves in steps of half a lease, and the holder renews between the steps."""
    clock = Clock()
    first, second = opened(url, tenant, clock=clock), opened(url, tenant, clock=clock)
    with claim(first, "A"):
        for _ in range(6):
            clock.now += LEASE_SECONDS / 2
            wait_until(lambda: expiry(url, tenant) == clock.now + LEASE_SECONDS)
            assert not is_free(second)


def expiry(url: str, tenant: str) -> float:
    """Return the time until which the tenant's only claim is held."""
    store = open_store(url, clock=None, monotonic=None)
    with store.transaction() as run:
        ((expires,),) = run("SELECT expires FROM quota_claim WHERE tenant = ?", tenant)
    store.close()
    return float(expires)


def test_a_lost_claim_is_reported_once_and_the_run_goes_on(
    url: str, tenant: str, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    first, second = opened(url, tenant, clock=clock), opened(url, tenant, clock=clock)
    third = opened(url, tenant, clock=clock)
    with caplog.at_level(logging.WARNING), claim(first, "A"):
        with ExitStack() as stack:
            take_over(stack, second, clock)
            wait_until(lambda: caplog.records)
            time.sleep(0.2)
            assert not is_free(third)
        with claim(third, "C"):
            pass
    (record,) = caplog.records
    assert re.match(
        rf"another run has taken the claim on T in the lake {LAKE} \(B, since .*\)\. It may fetch the same"
        " rows, which costs quota",
        record.getMessage(),
    )


def take_over(stack: ExitStack, ledger: Ledger, clock: Clock) -> None:
    """Let the clock leap past the lease until this run is faster than the next renewal of the holder."""
    while True:
        clock.now += LEASE_SECONDS
        with suppress(LakeBusy):
            stack.enter_context(claim(ledger, "B"))
            return


# outages of the ledger


def test_a_held_claim_outlives_a_restart_of_the_database(tenant: str, quick: None) -> None:
    with restartable() as server:
        first = opened(server.url, tenant)
        with claim(first, "A"):
            before = expiry(server.url, tenant)
            restart(server)
            second = opened(server.url, tenant)
            wait_until(lambda: expiry(server.url, tenant) > before + 0.5)
            with pytest.raises(LakeBusy, match=r"\(A, since"), claim(second, "B"):
                pass
        assert is_free(second)


def restart(server: Server) -> None:
    """Restart a server, and let some renewals fail meanwhile."""
    server.stop()
    time.sleep(0.5)
    server.start()
    wait_until(lambda: answers(server.url))


def answers(url: str) -> bool:
    try:
        opened(url, "anyone").close()
    except ServiceFailed:
        return False
    return True


def test_a_run_ends_without_an_error_if_the_database_is_down_and_its_claim_expires(
    tenant: str, quick: None
) -> None:
    with restartable() as server:
        with claim(opened(server.url, tenant), "A"):
            server.stop()
        server.start()
        wait_until(lambda: answers(server.url))
        with pytest.raises(LakeBusy, match=r"\(A, since"), claim(opened(server.url, tenant), "B"):
            pass
        assert is_free(opened(server.url, tenant, **later(LEASE_SECONDS + 1)))


def test_a_run_that_cannot_reach_the_database_gets_no_claim(
    tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "OUTAGE_SECONDS", 0.5)
    with restartable() as server:
        ledger = opened(server.url, tenant)
        server.stop()
        with pytest.raises(ServiceFailed, match=r"tried again for 0\.5 seconds"), claim(ledger, "A"):
            pass


def test_a_ledger_file_that_vanishes_ends_no_run_that_holds_a_claim(tmp_path: Path, quick: None) -> None:
    path = tmp_path / "ledger.db"
    ledger = opened(str(path), "t")
    with claim(ledger, "A"):
        path.unlink()
        time.sleep(0.1)
    with pytest.raises(Misconfigured, match="was deleted or replaced"), claim(ledger, "A"):
        pass
    assert not path.exists()
