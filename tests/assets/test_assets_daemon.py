"""Dagster's daemon: runs wait for the pool, and a sensor requests the partitions of late rows."""

import datetime
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster_process import ROOT, Dagster, dagster

from hunting_emulator.process import running
from hunting_pipeline.orchestration.keys import RECONCILED, STALE_PARTITIONS
from support import Emulated, settled_day

TABLES = ("AlertInfo", "AlertEvidence")
TODAY = settled_day()
PASS = 5.0
"""Seconds after which the daemon reads the queue again."""

AVAILABLE = [str(TODAY - datetime.timedelta(days=back)) for back in range(28, 0, -1)]


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """Start a tenant where one row in twenty arrives up to four days late."""
    late = {"late_share": 0.05, "late_seconds": 4 * 86400.0}
    with running(profile="test", rows=dict.fromkeys(TABLES, 3_000), **late) as endpoint:
        yield Emulated(endpoint, tenant=None, home=tmp_path_factory.mktemp("daemon"))  # type: ignore[arg-type] # rows are not compared here


@pytest.fixture(scope="module")
def location(tenant: Emulated) -> Iterator[Dagster]:
    """Start Dagster with the instance of this repository, but with a pool of one."""
    instance = (ROOT / "dagster.yaml").read_text()
    assert "default_limit: 4" in instance
    with dagster(tenant.one_by_one(), instance.replace("default_limit: 4", "default_limit: 1")) as started:
        yield started


@pytest.mark.slow
def test_a_run_waits_in_the_queue_until_the_pool_has_room(location: Dagster, tenant: Emulated) -> None:
    tenant.post("config", manners={"slow_seconds": 4.0})
    tenant.post("config", faults={"on": "rows", "queue": ["slow"] * 200})
    first = location.materialize(TABLES[0], AVAILABLE[0], AVAILABLE[-1])
    location.until(lambda: location.status(first) == "STARTED", seconds=90)
    second = location.materialize(TABLES[1], AVAILABLE[0], AVAILABLE[-1])
    location.until(lambda: location.status(second) == "QUEUED", seconds=60)
    time.sleep(2 * PASS)
    assert [location.status(run) for run in (first, second)] == ["STARTED", "QUEUED"]
    tenant.post("config", faults={"clear": True})
    assert location.until(lambda: location.ended(second), seconds=180) == "SUCCESS"
    assert location.status(first) == "SUCCESS"


def files(lake: Path) -> dict[str, tuple[int, bytes]]:
    return {path.stem: (path.stat().st_mtime_ns, path.read_bytes()) for path in lake.rglob("*.parquet")}


def recounted(location: Dagster) -> tuple[bool, list[str]]:
    """Run the recount check; return whether it passed, and the stale partitions."""
    run = location.check("AlertInfo", RECONCILED)
    assert location.until(lambda: location.ended(run), seconds=120) == "SUCCESS"
    passed, lists = location.checked("AlertInfo", RECONCILED)
    return passed, lists[STALE_PARTITIONS]


@pytest.mark.slow
def test_late_rows_fail_the_check_and_the_sensor_updates_exactly_their_partitions(
    location: Dagster, tenant: Emulated
) -> None:
    run = location.materialize("AlertInfo", AVAILABLE[0], AVAILABLE[-1])
    assert location.until(lambda: location.ended(run), seconds=180) == "SUCCESS"
    assert recounted(location) == (True, [])
    before = files(tenant.home / "lake")
    tenant.post("config", late_share=0.0)  # all late rows have arrived
    passed, stale = recounted(location)
    assert not passed
    assert 1 <= len(stale) <= 5

    launched = location.last_run()
    location.start_sensor("reconcile_stale")
    location.until(lambda: location.last_run() != launched, seconds=120)
    location.until(lambda: all(map(location.ended, location.runs())), seconds=180)
    after = files(tenant.home / "lake")
    changed = sorted(name for name in before if before[name] != after[name])
    assert changed == [f"AlertInfo-{key}" for key in stale]
    assert recounted(location) == (True, [])
