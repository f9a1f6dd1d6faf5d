"""The ledger on SQLite and on a real Postgres: one suite, with threads, processes, kills and clocks."""

import heapq
import itertools
import math
import multiprocessing
import os
import shutil
import signal
import sqlite3
import threading
import time
from dataclasses import replace

import pytest
from ledger_clock import T0, Clock
from quota_postgres import restartable

from hunting_pipeline.errors import Misconfigured, ServiceFailed
from hunting_pipeline.limits import ENDPOINT, GRAPH, ORIGINAL, TEST, Kind, Limits, Rate
from hunting_pipeline.quota import HourOfCalls, Priority, Reservation, WaitUntil, open_ledger
from hunting_pipeline.quota import ledger as ledger_module
from hunting_pipeline.quota.ledger import StoredLedger
from hunting_pipeline.quota.outage import CallEnd
from hunting_pipeline.quota.protocol import Access
from hunting_pipeline.quota.store import open_store
from hunting_pipeline.quota.windows import TRANSIT_SECONDS

PROCESSES = multiprocessing.get_context("fork")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limits(*rates: Rate, request_seconds: float = 100) -> Limits:
    return replace(GRAPH, name="tight", rates=rates, request_seconds=request_seconds)


CALLS = limits(Rate(Kind.CALLS, 3, 60))
SECONDS = limits(Rate(Kind.SECONDS, 300, 3600))


def take(ledger, *, table="T", priority=Priority.FRESH, owner="me") -> Reservation:
    answer = ledger.reserve(table=table, priority=priority, owner=owner)
    assert isinstance(answer, Reservation), answer
    return answer


def refused(ledger, *, table="T", priority=Priority.FRESH, owner="me") -> WaitUntil:
    answer = ledger.reserve(table=table, priority=priority, owner=owner)
    assert isinstance(answer, WaitUntil), answer
    return answer


# --- one process ------------------------------------------------------------------------------------------


def test_all_ledgers_of_a_tenant_share_one_history_and_no_other_tenant_does(url, tenant, clock):
    first = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=clock)
    second = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=clock)
    other = open_ledger(url, tenant=f"{tenant} other", limits=CALLS, share=1, clock=clock)
    for ledger in (first, second, first):
        ledger.settle(take(ledger), seconds=1)
    answer = refused(second)
    assert answer.at == pytest.approx(T0 + 60 + TRANSIT_SECONDS, abs=0.01)
    assert answer.reason == "calls per minute (3 of 3 spent)"
    take(other)
    clock.now = answer.at
    take(second)
    for ledger in (first, second, other):
        ledger.close()


def test_history_outlives_the_ledger_object(url, tenant, clock):
    for _ in range(3):
        ledger = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=clock)
        ledger.settle(take(ledger), seconds=1)
        ledger.close()
    refused(open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=clock))


def test_running_seconds_are_estimated_by_table(url, tenant, clock):
    ledger = open_ledger(url, tenant=tenant, limits=SECONDS, share=1, clock=clock)
    first = take(ledger, table="A")
    assert first.seconds == SECONDS.request_seconds  # no history: the longest request
    ledger.settle(first, seconds=2)
    assert take(ledger, table="A").seconds == 6  # mean 2, deviation 1
    assert take(ledger, table="B").seconds == 6  # unknown: as the table with the highest cost
    for _ in range(30):
        answer = ledger.reserve(table="A", priority=Priority.FRESH, owner="me")
        ledger.settle(answer, seconds=2)
    assert take(ledger, table="A").seconds == pytest.approx(2, abs=0.1)


def test_a_settled_call_counts_its_true_seconds_once(url, tenant, clock):
    ledger = open_ledger(url, tenant=tenant, limits=SECONDS, share=1, clock=clock)
    reservation = take(ledger)
    assert ledger.usage().rates[0].reserved == 100
    ledger.settle(reservation, seconds=7)
    ledger.settle(reservation, seconds=70)
    ledger.cancel(reservation)
    (use,) = ledger.usage().rates
    assert (use.spent, use.reserved, use.left) == (7, 0, 293)
    assert use.renews_at == pytest.approx(T0 + 3600)


def test_a_cancelled_call_counts_nothing(url, tenant, clock):
    ledger = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=clock)
    for _ in range(10):
        ledger.cancel(take(ledger))
    assert ledger.usage().rates[0].left == 3


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_impossible_seconds_are_refused(url, tenant, clock, seconds):
    ledger = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=clock)
    with pytest.raises(ValueError, match="seconds"):
        ledger.settle(take(ledger), seconds=seconds)


def test_the_reservation_of_a_dead_process_counts_in_full_until_it_expires(url, tenant, clock):
    ledger = open_ledger(url, tenant=tenant, limits=SECONDS, share=1, clock=clock)
    for _ in range(3):
        dead = take(ledger)
    assert refused(ledger).at < T0 + 60  # unsettled calls may end at any moment: try again soon
    clock.now = dead.expires - 1
    assert refused(ledger).at < dead.expires + 60
    clock.now = dead.expires
    assert ledger.usage().running == 0
    assert take(ledger).seconds == SECONDS.request_seconds


def test_a_process_that_dies_in_the_first_call_of_a_ledger_stops_no_one_longer_than_its_reservation(
    url, tenant, clock
):
    ledger = open_ledger(url, tenant=tenant, limits=ORIGINAL, share=1, clock=clock)
    dead = take(ledger)
    while isinstance(answer := ledger.reserve(table="T", priority=Priority.FRESH, owner="me"), WaitUntil):
        assert answer.at <= clock.now + 120
        clock.now = answer.at
    assert T0 + 660 <= clock.now <= T0 + 670
    assert dead.expires == T0 + 660


def test_a_late_settlement_replaces_an_expired_reservation(url, tenant, clock):
    ledger = open_ledger(url, tenant=tenant, limits=SECONDS, share=1, clock=clock)
    slow = take(ledger)
    clock.now = slow.expires + 10
    ledger.settle(slow, seconds=90)
    assert ledger.usage().rates[0].spent == 90


def test_a_block_stops_every_caller_and_lasts_a_day_at_most(url, tenant, clock):
    ledger = open_ledger(url, tenant=tenant, limits=CALLS, clock=clock)
    other = open_ledger(url, tenant=tenant, limits=CALLS, clock=clock)
    ledger.block(until=T0 + 2871, reason="CpuQuotaExceeded")
    ledger.block(until=T0 + 10, reason="an older reply")
    answer = refused(other)
    assert answer.at == pytest.approx(T0 + 2871, abs=0.01)
    assert answer.reason == "blocked by the service: CpuQuotaExceeded"
    assert other.usage().blocked_until == T0 + 2871
    clock.now = answer.at
    take(other)
    assert other.usage().blocked_until is None
    ledger.block(until=T0 + 1e9, reason="nonsense")
    assert refused(other).at <= clock.now + 86400 + 1


def test_the_wake_ups_of_several_waiters_differ(url, tenant, clock):
    ledger = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=clock)
    for _ in range(3):
        ledger.settle(take(ledger), seconds=1)
    times = sorted(refused(ledger, owner=f"worker {n}").at for n in range(9))
    assert all(later - earlier >= 0.05 for earlier, later in itertools.pairwise(times))
    assert sum(at < T0 + 100 for at in times) == 3  # three slots renew; the others wait a minute longer
    assert ledger.usage().waiting == {Priority.FRESH: 9, Priority.BACKFILL: 0}


def test_usage_says_how_long_the_first_in_the_queue_has_waited(url, tenant, clock):
    ledger = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=clock)
    for _ in range(3):
        take(ledger, owner="others")
    assert ledger.usage().longest_wait == 0
    for _ in range(3):
        clock.now = refused(ledger, priority=Priority.BACKFILL).at
        take(ledger, owner="others") if ledger.usage().running < 3 else None
    refused(ledger, priority=Priority.BACKFILL)
    assert ledger.usage().longest_wait == pytest.approx(clock.now - T0, abs=0.01)


def test_a_fresh_caller_goes_before_backfill_that_waited_longer(url, tenant, clock):
    ledger = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=clock)
    for _ in range(3):
        ledger.settle(take(ledger, priority=Priority.BACKFILL), seconds=1)
    for n in range(8):
        refused(ledger, priority=Priority.BACKFILL, owner=f"backfill {n}")
    fresh = refused(ledger, owner="fresh")
    assert fresh.at == pytest.approx(T0 + 61, abs=0.01)
    clock.now = fresh.at
    refused(ledger, priority=Priority.BACKFILL, owner="backfill 7")
    take(ledger, owner="fresh")


def test_usage_counts_calls_by_owner_and_priority(url, tenant, clock):
    ledger = open_ledger(url, tenant=tenant, limits=ENDPOINT, share=0.8, clock=clock)
    ledger.settle(take(ledger, owner="a"), seconds=5)
    take(ledger, owner="b", priority=Priority.BACKFILL)
    usage = ledger.usage()
    assert usage.owners == {"a": 1, "b": 1}
    assert usage.priorities == {Priority.FRESH: 1, Priority.BACKFILL: 1}
    assert usage.running == 1
    assert [(use.rate.period, use.amount) for use in usage.rates] == [
        (60, 36),
        (3600, 1200),
        (3600, 480),
        (86400, 8640),
    ]


def test_a_wall_clock_that_jumps_neither_exceeds_the_quota_nor_stops_calls(url, tenant):
    wall, monotonic = Clock(), Clock()
    ledger = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=wall, monotonic=monotonic)
    for _ in range(3):
        ledger.settle(take(ledger), seconds=1)
    wall.now += 86400  # the clock was set forwards: nothing has renewed
    assert refused(ledger).at == pytest.approx(wall.now + 61, abs=0.01)
    wall.now -= 30 * 86400  # the clock was set back: it is still the same minute, in the new time
    assert refused(ledger).at == pytest.approx(wall.now + 61, abs=0.01)
    monotonic.now += 62
    for _ in range(3):
        ledger.settle(take(ledger), seconds=1)
    refused(ledger)


def test_machines_whose_clocks_differ_share_one_ledger_exactly(postgres, tenant):
    """The server's clock is the ledger's clock. Each machine gets the times of its own clock."""
    skews = (0.0, 2400.0, -7200.0)
    ledgers = [
        StoredLedger(
            open_store(postgres, clock=None, monotonic=None),
            tenant=tenant,
            limits=CALLS,
            share=1,
            clock=lambda skew=skew: time.time() + skew,
        )
        for skew in skews
    ]
    start = time.time()
    for skew, ledger in zip(skews, ledgers, strict=True):
        reservation = take(ledger)
        expires = reservation.expires - skew
        assert start + 160 <= expires <= time.time() + 160.1
        ledger.settle(reservation, seconds=1)
    for skew, ledger in zip(skews, ledgers, strict=True):
        assert start + 61 <= refused(ledger).at - skew <= time.time() + 61.5
    ledgers[1].block(until=time.time() + 2400 + 300, reason="429")
    for skew, ledger in zip(skews, ledgers, strict=True):
        assert ledger.usage().blocked_until - skew == pytest.approx(time.time() + 300, abs=2)
        ledger.close()


def test_a_clock_set_back_on_a_restarted_machine_only_waits(url, tenant):
    wall, monotonic = Clock(), Clock()
    ledger = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=wall, monotonic=monotonic)
    for _ in range(3):
        ledger.settle(take(ledger), seconds=1)
    wall.now -= 3600
    monotonic.now = 5.0
    assert refused(ledger).at == pytest.approx(wall.now + 61, abs=0.01)
    wall.now += 62
    monotonic.now += 62
    take(ledger)


def test_old_history_is_pruned(tmp_path, clock):
    path = tmp_path / "ledger.db"
    ledger = open_ledger(str(path), tenant="t", limits=TEST, clock=clock)
    for _ in range(50):
        ledger.settle(take(ledger), seconds=0.1)
        take(ledger)  # never settled
        clock.now += 86400 / 10
    with sqlite3.connect(path) as connection:
        ((rows,),) = connection.execute("SELECT count(*) FROM quota_spend")
    assert rows <= 24


# --- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, -1, 1.01])
def test_a_share_out_of_range_is_refused(tmp_path, share):
    with pytest.raises(Misconfigured, match="share is"):
        open_ledger(str(tmp_path / "l.db"), tenant="t", limits=TEST, share=share)


@pytest.mark.parametrize(
    "bad", ["mysql://host/db", "s3://bucket/q", "sqlite://", "sqlite:///", "", "sqlite://host/db"]
)
def test_a_url_that_names_no_ledger_is_refused(bad):
    with pytest.raises(Misconfigured, match="ledger"):
        open_ledger(bad, tenant="t", limits=TEST)


@pytest.mark.parametrize("path", ["~nosuch/ledger.db", "sqlite:///~nosuch/ledger.db"])
def test_an_unknown_home_folder_is_misconfigured(path):
    with pytest.raises(Misconfigured, match=r"~nosuch/ledger\.db cannot be opened.*ledger"):
        open_ledger(path, tenant="t", limits=TEST)


def test_a_folder_that_cannot_be_made_is_misconfigured(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Misconfigured, match="cannot be opened"):
        open_ledger(str(tmp_path / "file" / "ledger.db"), tenant="t", limits=TEST)


def test_a_file_that_is_no_ledger_is_misconfigured(tmp_path):
    (tmp_path / "ledger.db").write_text("no database at all, " * 100)
    with pytest.raises(Misconfigured, match="cannot be opened"):
        open_ledger(str(tmp_path / "ledger.db"), tenant="t", limits=TEST)


def test_a_ledger_of_a_newer_version_is_misconfigured(tmp_path):
    path = tmp_path / "ledger.db"
    open_ledger(str(path), tenant="t", limits=TEST).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE quota_schema SET version = 99")
    with pytest.raises(Misconfigured, match="version 99"):
        open_ledger(str(path), tenant="t", limits=TEST)


def test_a_ledger_of_an_older_program_is_misconfigured_and_says_what_to_set(tmp_path):
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE quota_schema (version INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO quota_schema VALUES (1)")
        connection.execute("CREATE TABLE quota_spend (id TEXT PRIMARY KEY, tenant TEXT NOT NULL)")
    for _ in range(2):
        with pytest.raises(Misconfigured, match=r"schema version 1.*Set ledger"):
            open_ledger(str(path), tenant="t", limits=TEST)


def test_a_destroyed_ledger_is_an_error_and_allows_no_call(tmp_path):
    path = tmp_path / "ledger.db"
    ledger = open_ledger(str(path), tenant="t", limits=TEST)
    take(ledger)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE quota_spend")
    with pytest.raises(ServiceFailed, match="No call is sent without the ledger"):
        ledger.reserve(table="T", priority=Priority.FRESH, owner="me")


def test_a_postgres_that_does_not_answer_is_service_failed_and_hides_the_password(tmp_path):
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with pytest.raises(ServiceFailed) as caught:
        open_ledger("postgresql://u:hush@127.0.0.1:9/db", tenant="t", limits=TEST)
    assert "hush" not in str(caught.value)
    with pytest.raises(Misconfigured) as wrong:
        open_ledger("postgresql://u:hush@127.0.0.1/db?nonsense=1", tenant="t", limits=TEST)
    assert "hush" not in str(wrong.value)


def test_a_broken_session_is_replaced(postgres, clock):
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    ledger = open_ledger(postgres, tenant="broken", limits=CALLS, share=1, clock=clock)
    take(ledger)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    take(ledger)
    assert ledger.usage().rates[0].reserved == 2


def test_a_restart_of_the_database_delays_calls_and_loses_none(tenant):
    with restartable() as server:
        ledger = open_ledger(server.url, tenant=tenant, limits=CALLS, share=1)
        paid = take(ledger)
        server.stop()
        ledger.settle(paid, seconds=7)  # the caller keeps its reply
        restart = threading.Timer(3, server.start)
        restart.start()
        start = time.monotonic()
        ledger.block(until=time.time() + 0.1, reason="429")
        assert time.monotonic() - start > 2
        restart.join()
        (use,) = ledger.usage().rates
        assert (use.spent, use.reserved) == (1, 0)
        time.sleep(0.2)
        server.stop()
        restart = threading.Timer(2, server.start)
        restart.start()
        second = take(ledger)
        restart.join()
        assert ledger.usage().rates[0].reserved == 1
        server.stop()
        ledger.settle(second, seconds=1)
        threading.Timer(2, server.start).start()
        ledger.close()
        after = open_ledger(server.url, tenant=tenant, limits=CALLS, share=1)
        assert after.usage().running == 0
        after.close()


@pytest.mark.slow
def test_a_database_that_stays_down_is_an_error_after_a_limited_time(tenant, monkeypatch):
    monkeypatch.setattr(ledger_module, "OUTAGE_SECONDS", 1.0)
    with restartable() as server:
        ledger = open_ledger(server.url, tenant=tenant, limits=CALLS, share=1)
        paid = take(ledger)
        server.stop()
        ledger.settle(paid, seconds=7)
        for step in (
            lambda: take(ledger),
            lambda: ledger.block(until=time.time() + 9, reason=""),
            ledger.close,
        ):
            start = time.monotonic()
            with pytest.raises(ServiceFailed, match=r"correct ledger.*tried again for 1 seconds"):
                step()
            assert time.monotonic() - start < 5


@pytest.mark.parametrize("what", ["deleted", "replaced", "log", "folder"])
def test_a_ledger_file_that_vanishes_is_an_error_and_allows_no_call(tmp_path, what):
    path = tmp_path / "home" / "ledger.db"
    ledger = open_ledger(str(path), tenant="t", limits=TEST)
    paid = take(ledger)
    if what == "folder":
        shutil.rmtree(path.parent)
    elif what == "log":
        path.with_name("ledger.db-wal").unlink()
    else:
        path.unlink()
    if what == "replaced":
        open_ledger(str(path), tenant="t", limits=TEST).close()
    ledger.settle(paid, seconds=1)  # the caller keeps its reply
    for step in (lambda: take(ledger), ledger.usage, ledger.close):
        with pytest.raises(Misconfigured, match=r"was deleted or replaced.*No more calls are sent"):
            step()
    if what in {"deleted", "folder"}:
        assert not path.exists()


def test_a_forked_child_notices_that_the_ledger_vanished(tmp_path):
    path = tmp_path / "ledger.db"
    ledger = open_ledger(str(path), tenant="t", limits=TEST)
    path.unlink()
    child = PROCESSES.Process(target=take, args=(ledger,))
    child.start()
    child.join(30)
    assert child.exitcode == 1
    assert not path.exists()


# --- many at once -----------------------------------------------------------------------------------------

TIGHT = limits(Rate(Kind.CALLS, 12, 1), Rate(Kind.SECONDS, 4, 2), request_seconds=0.5)


def hammer(url: str, tenant: str, ready, sent, number: int) -> None:
    """Reserve, call and settle without a pause, once all are ready. Puts every sent call into `sent`."""
    ledger = open_ledger(url, tenant=tenant, limits=TIGHT, share=1)
    ready.wait()
    until = time.time() + 5.5
    while (now := time.time()) < until:
        answer = ledger.reserve(
            table=f"T{number % 3}", priority=list(Priority)[number % 2], owner=f"worker {number}"
        )
        if isinstance(answer, WaitUntil):
            time.sleep(max(0.0, min(answer.at, until) - now))
            continue
        start = time.time()
        time.sleep(0.03 + 0.01 * (number % 3))
        sent.put((number, start, time.time()))
        ledger.settle(answer, seconds=time.time() - start)


def drained(sent) -> list[tuple[int, float, float]]:
    calls = []
    while not sent.empty():
        calls.append(sent.get())
    return calls


def worst(events: list[tuple[float, float]], period: float) -> float:
    """Return the largest sum in any window of that length."""
    return max(sum(a for t, a in events if start <= t < start + period) for start, _ in events)


def test_eight_processes_never_exceed_the_quota_even_if_half_are_killed(url, tenant):
    sent, ready = PROCESSES.SimpleQueue(), PROCESSES.Barrier(9)
    workers = [
        PROCESSES.Process(target=hammer, args=(url, tenant, ready, sent, number)) for number in range(8)
    ]
    for worker in workers:
        worker.start()
    ready.wait(60)
    time.sleep(2.5)
    for worker in workers[:4]:
        os.kill(worker.pid, signal.SIGKILL)
    for worker in workers:
        worker.join(30)
    assert all(worker.exitcode == 0 for worker in workers[4:])
    calls = drained(sent)
    assert len(calls) >= 15  # reservations of dead processes stay until they expire
    assert {number for number, _, _ in calls} == set(range(8))  # no process starves
    assert worst([(start, 1) for _, start, _ in calls], 1) <= 12
    assert worst([(end, end - start) for _, start, end in calls], 2) <= 4 + 1e-3
    after = open_ledger(
        url,
        tenant=tenant,
        limits=TIGHT,
        clock=lambda: time.time() + 61,
        monotonic=lambda: time.clock_gettime(time.CLOCK_BOOTTIME) + 61,
    )
    usage = after.usage()
    assert usage.running == 0
    assert [use.reserved for use in usage.rates] == [0, 0]
    take(after)


def write_until_killed(path: str) -> None:
    ledger = open_ledger(path, tenant="t", limits=TEST)
    while True:
        ledger.settle(take(ledger), seconds=0.1)


def test_a_kill_in_the_middle_of_a_write_leaves_a_sound_ledger(tmp_path):
    path = str(tmp_path / "ledger.db")
    for round_ in range(6):
        workers = [PROCESSES.Process(target=write_until_killed, args=(path,)) for _ in range(3)]
        for worker in workers:
            worker.start()
        time.sleep(0.15 + 0.037 * round_)
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            worker.join()
        ledger = open_ledger(path, tenant="t", limits=TEST)
        start = time.monotonic()
        ledger.settle(take(ledger), seconds=0.1)
        assert time.monotonic() - start < 2
        assert ledger.usage().running <= 3 * (round_ + 1)
        ledger.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_threads_share_one_ledger(url, tenant, clock):
    ledger = open_ledger(url, tenant=tenant, limits=limits(Rate(Kind.CALLS, 50, 60)), share=1, clock=clock)
    taken: list[Reservation] = []

    def work() -> None:
        for _ in range(10):
            answer = ledger.reserve(table="T", priority=Priority.FRESH, owner="same")
            if isinstance(answer, Reservation):
                taken.append(answer)
                ledger.settle(answer, seconds=0.1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 50
    assert ledger.usage().rates[0].left == 0


def test_calls_that_fail_at_once_are_counted_once_each(url, tenant, clock):
    """Each thread also settles the calls that other threads have not settled yet."""
    ledger = open_ledger(url, tenant=tenant, limits=limits(Rate(Kind.CALLS, 50, 60)), share=1, clock=clock)
    together = threading.Barrier(6)

    def fail(sent: Reservation) -> None:
        together.wait(30)
        ledger.settle(sent, seconds=1, end=CallEnd(answered=False, reason="502"))

    threads = [threading.Thread(target=fail, args=(take(ledger),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.usage().failures == 6


def test_a_forked_child_goes_on_with_its_parents_ledger(url, tenant, clock):
    ledger = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=clock)
    take(ledger)
    child = PROCESSES.Process(target=take, args=(ledger,))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    take(ledger)
    refused(ledger)


# --- fairness ---------------------------------------------------------------------------------------------


FRESH = 99


@pytest.mark.parametrize("profile", [GRAPH, ENDPOINT, ORIGINAL], ids=lambda profile: profile.name)
def test_a_fresh_partition_starts_within_one_renewal_of_a_week_of_backfill(tmp_path, profile, clock):
    """Sixteen backfill callers use the whole quota, and more backfill waits. Then a fresh call comes."""
    ledger = open_ledger(str(tmp_path / "l.db"), tenant="t", limits=profile, share=0.8, clock=clock)
    asks = [*((T0, number) for number in range(16)), (T0 + 300, FRESH)]
    sent: dict[int, Reservation] = {}
    while FRESH not in sent:
        clock.now, number = heapq.heappop(asks)
        if number in sent:
            ledger.settle(sent.pop(number), seconds=4)
        priority = Priority.FRESH if number == FRESH else Priority.BACKFILL
        answer = ledger.reserve(table="T", priority=priority, owner=f"{number}")
        if isinstance(answer, Reservation):
            sent[number] = answer
        heapq.heappush(asks, (answer.at if isinstance(answer, WaitUntil) else clock.now + 4, number))
    renewal = max(rate.period for rate in profile.rates if rate.period <= 3600)
    assert clock.now - (T0 + 300) <= renewal + TRANSIT_SECONDS


# --- access -----------------------------------------------------------------------------------------------


def test_the_answer_to_an_identity_is_kept_for_all_processes(url, tenant, clock):
    first = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=clock)
    second = open_ledger(url, tenant=tenant, limits=CALLS, share=1, clock=clock)
    assert first.access("me") is None
    begun = clock.now
    first.record_access("me", refusal="wrong secret")
    clock.now += 60
    first.record_access("me", refusal="wrong secret")
    assert second.access("me") == Access(begun, begun + 60, "wrong secret")
    clock.now += 60
    second.record_access("me")
    clock.now += 60
    second.record_access("me")
    assert first.access("me") == Access(begun + 120, begun + 180, "")
    assert first.access("another") is None
    other = open_ledger(url, tenant=f"{tenant} too", limits=CALLS, share=1, clock=clock)
    assert other.access("me") is None


# --- calls by hour ----------------------------------------------------------------------------------------


def test_calls_are_kept_by_hour_table_and_program_for_a_month(url, tenant, clock):
    clock.now = math.ceil(clock.now / 3600) * 3600.0
    begun, wide = clock.now, limits(Rate(Kind.CALLS, 1000, 60))
    ledger = open_ledger(url, tenant=tenant, limits=wide, share=1, clock=clock)
    for owner, table in (("hunting pod-1:7", "A"), ("dagster pod-2:9", "A"), ("hunting pod-3:1", "B")):
        for _ in range(2):
            ledger.settle(take(ledger, table=table, owner=owner), seconds=1.5)
    late = take(ledger, owner="hunting pod-1:7", table="A")
    clock.now = begun + 3600
    ledger.settle(late, seconds=2)
    ledger.settle(late, seconds=2)  # twice is once
    first = [
        HourOfCalls(begun, "A", "dagster", 2, 3.0),
        HourOfCalls(begun, "A", "hunting", 2, 3.0),
        HourOfCalls(begun, "B", "hunting", 2, 3.0),
    ]
    last = HourOfCalls(begun + 3600, "A", "hunting", 1, 2.0)
    assert ledger.hours(since=begun + 10) == [*first, last]
    assert ledger.hours(since=begun + 3600) == [last]
    clock.now = begun + 36 * 86400
    ledger.settle(take(ledger), seconds=1)
    clock.now += 120
    take(ledger)
    assert [one.start for one in ledger.hours(since=0)] == [begun + 36 * 86400]
