"""Many processes on one ledger. The emulator checks them with its own count.

`HUNTING_LONG=1` adds runs of minutes with eight and sixteen processes, on SQLite and on Postgres.
"""

import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from quota_hammer import Hammer, result_of, running_together
from quota_postgres import serving

from hunting_pipeline.limits import ORIGINAL
from hunting_pipeline.quota import Priority
from hunting_pipeline.quota.ledger import EXPIRY_SECONDS
from support import Emulated, emulated

long = pytest.mark.skipif(not os.environ.get("HUNTING_LONG"), reason="takes minutes: set HUNTING_LONG=1")

TABLE = "DeviceProcessEvents"
LOW_COST = f"{TABLE} | take 0"
HIGH_COST = f"{TABLE} | summarize rows = count() by DeviceName, ActionType | summarize rows = sum(rows)"
LOOSE = [("calls", 100_000, 60)]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with emulated(tmp_path_factory.mktemp("judge"), rows={TABLE: 20_000}, clock_runs=True) as tenant:
        yield tenant


@pytest.fixture
def tenant(judge: Emulated) -> Iterator[Emulated]:
    """Yield the tenant with an unused quota; removes its limits afterwards."""
    judge.post("reset")
    try:
        yield judge
    finally:
        lifted = dict.fromkeys(("calls_per_minute", "calls_per_hour", "running_seconds_per_hour"))
        judge.post("config", limits=lifted, faults={"clear": True})


def hammer(tenant: Emulated, ledger: str, **changes: object) -> Hammer:
    settings = tenant.settings().model_dump(exclude_defaults=True)
    plain = {name: str(value) for name, value in settings.items()}
    secret = {"client_secret": tenant.endpoint.client_secret, "ledger": ledger}
    given = {"rates": LOOSE, "table": TABLE, "query": LOW_COST, "seconds": 20.0}
    return Hammer(settings=plain | secret, **{**given, **changes})


def test_four_processes_spend_every_call_of_a_minute_and_none_more(tenant: Emulated, tmp_path: Path) -> None:
    tenant.post("config", limits={"calls_per_minute": 40})
    one = hammer(tenant, str(tmp_path / "ledger"), rates=[("calls", 40, 60)], seconds=50.0)
    with running_together([one] * 4) as processes:
        spent = [result_of(process) for process in processes]
    stats = tenant.stats()
    assert stats["over_quota"] == 0
    assert stats["calls"] == sum(one["calls"] for one in spent) == 40


@pytest.mark.slow
def test_four_processes_spend_the_running_time_of_an_hour_and_no_more(
    tenant: Emulated, tmp_path: Path
) -> None:
    tenant.post("config", limits={"running_seconds_per_hour": 12})
    one = hammer(tenant, str(tmp_path / "ledger"), rates=[("seconds", 12, 3600)], query=HIGH_COST)
    with running_together([one] * 4) as processes:
        spent = [result_of(process) for process in processes]
    stats = tenant.stats()
    assert stats["over_quota"] == 0
    assert all(one["calls"] for one in spent), spent
    assert sum(one["running_seconds"] for one in spent) >= 10
    assert sum(call["seconds"] for call in stats["log"]) <= 12


@pytest.mark.slow
@pytest.mark.parametrize("api", ["graph", "xdr", pytest.param("endpoint", marks=long)])
def test_a_429_that_one_process_receives_stops_all(tenant: Emulated, tmp_path: Path, api: str) -> None:
    """Each API has its own form of the body. Calls that are already on their way may still arrive."""
    wait, on_their_way = 4, 1.5
    one = hammer(tenant, str(tmp_path / "ledger"), seconds=600.0, pause=0.05)
    one.settings["api"] = api  # type: ignore[index]
    forms = ("quota", "quota_after", "cpu")
    with running_together([one] * 4):
        for number, form in enumerate(forms):
            tenant.post("config", manners={"wait_seconds": wait}, faults={"queue": [form]})
            while tenant.stats()["over_quota"] <= number or tenant.stats()["log"][-1]["status"] == 429:
                time.sleep(0.2)
            time.sleep(wait + 1.5)
    log = tenant.stats()["log"]
    times = [datetime.fromisoformat(call["at"][:23]).timestamp() for call in log]
    refusals = [at for at, call in zip(times, log, strict=True) if call["status"] == 429]
    assert len(refusals) == len(forms)
    for refusal in refusals:
        silent = [at for at in times if refusal + on_their_way < at < refusal + wait]
        assert silent == []
        assert any(refusal + wait <= at < refusal + wait + 1.5 for at in times)


@pytest.fixture(params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield str(tmp_path / "ledger")
        return
    with serving() as url:
        yield url


@long
def test_eight_processes_renew_and_the_killed_leak_nothing(tenant: Emulated, ledger: str) -> None:
    """Calls per minute renew twice, calls per hour run out in the third minute. Half of the processes die."""
    tenant.post("config", limits={"calls_per_minute": 40, "calls_per_hour": 100})
    rates = [("calls", 40, 60), ("calls", 100, 3600)]
    priorities = [Priority.FRESH, Priority.BACKFILL] * 4
    crowd = [
        hammer(tenant, ledger, rates=rates, seconds=160.0, priority=priority, query=HIGH_COST)
        for priority in priorities
    ]
    with running_together(crowd) as processes:
        time.sleep(1.0)
        for process in processes[:4]:
            process.kill()
        for process in processes[4:]:
            result_of(process)
    stats = tenant.stats()
    assert stats["over_quota"] == 0
    theirs = sum(
        call["query"] == HIGH_COST for call in stats["log"]
    )  # calls of an earlier test may arrive late
    assert 96 <= theirs <= 100  # a reservation that dies unsent may cost its call
    assert EXPIRY_SECONDS + crowd[0].limits.request_seconds < 160
    shared = crowd[0].ledger()
    usage = shared.usage()
    shared.close()
    assert usage.running == 0
    assert [use.left for use in usage.rates][1] == 0


@long
def test_sixteen_processes_that_start_together_under_the_original_limits_all_end(
    tenant: Emulated, ledger: str
) -> None:
    """No process gives up: the first calls reserve all running seconds of the hour, but end soon."""
    tenant.post("config", limits={"calls_per_minute": 10, "running_seconds_per_hour": 600})
    rates = [(rate.kind, rate.amount, rate.period) for rate in ORIGINAL.rates]
    crowd = [
        hammer(
            tenant,
            ledger,
            rates=rates,
            seconds=280.0,
            request_seconds=ORIGINAL.request_seconds,
            calls=2,
            max_wait=120.0,  # the default in Dagster
            priority=priority,
        )
        for priority in [Priority.FRESH, Priority.BACKFILL] * 8
    ]
    with running_together(crowd) as processes:
        ends = [result_of(process) for process in processes]
    assert not any(end["gave_up"] for end in ends)
    assert [end["calls"] for end in ends] == [crowd[0].calls] * 16
    assert tenant.stats()["over_quota"] == 0
