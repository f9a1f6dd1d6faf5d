"""Several machines: Dagster on Postgres, a broker, two Celery workers, one ledger, a lake in S3.

The machines share no folder. The emulator checks. `make workers` runs this in its own environment.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from dagster_process import ROOT, Dagster, dagster, free_port, machine
from object_servers import Bucket
from quota_postgres import serving

from hunting_emulator.process import running
from hunting_emulator.tenant import Tenant, TenantOptions
from hunting_pipeline.catalog import catalog, spec
from hunting_pipeline.model import Grain, Window, ticks_of
from support import Emulated, differences, window_of_tenant

DEPLOY = ROOT / "docs" / "deploy"
RUNS, TABLES_A_RUN, DAYS = 8, 4, 3
CALLS_A_MINUTE = 45

LAUNCH = """mutation Launch($params: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $params) { __typename ... on PythonError { message } } }"""

RUNS_QUERY = """{ runsOrError { ... on Runs { results { status startTime endTime } } } }"""

_STARTED = re.compile(r"Task execute_job\[\S+\] received")


def timed_tables() -> list[str]:
    """List tables with daily partitions and a time column."""
    return [
        entry.name
        for entry in catalog().values()
        if not entry.deprecated and spec(entry.name).time_column and spec(entry.name).grain is Grain.DAY
    ]


TABLES = timed_tables()[: RUNS * TABLES_A_RUN]
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
FIRST = TODAY - timedelta(days=DAYS + 2)
KEYS = [f"{FIRST + timedelta(days=day):%Y-%m-%d}" for day in range(DAYS)]
ASKED = Window(ticks_of(FIRST), ticks_of(FIRST + timedelta(days=DAYS)))


@pytest.fixture
def tenant(tmp_path: Path, s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    """Start a tenant with the documented rate; the test uses all of it."""
    rows = dict.fromkeys(TABLES, 2_000)
    reference = Tenant(TenantOptions(rows=rows))
    with running(profile="graph", rows=rows) as endpoint:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield Emulated(endpoint, reference, tmp_path, s3)
    reference.close()


@pytest.fixture
def variables(tenant: Emulated) -> Iterator[dict[str, str]]:
    """Return the variables of every machine: the tenant, the lake's URL, Postgres and the broker."""
    redis = shutil.which("redis-server") or pytest.fail("needs redis-server (apt-get install redis-server)")
    port = free_port()
    broker = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tenant.home)]
    with serving() as postgres, machine({}) as elsewhere, elsewhere.started(redis, *broker):
        yield tenant.endpoint.settings() | {
            **tenant.lake.variables,
            "HUNTING_LEDGER": postgres,
            "HUNTING_SHARE": "1",
            "HUNTING_CONFIG": os.devnull,
            "DAGSTER_POSTGRES_URL": postgres.replace("postgresql:", "postgresql+psycopg2:"),
            "CELERY_BROKER_URL": f"redis://127.0.0.1:{port}/0",
            "CELERY_RESULT_BACKEND": f"redis://127.0.0.1:{port}/1",
        }


def worker_command() -> list[str]:
    """Read the worker's command from the documented compose file."""
    compose = yaml.safe_load((DEPLOY / "compose.celery.yaml").read_text())
    return shlex.split(compose["services"]["worker"]["command"])


def launch(location: Dagster, tables: list[str]) -> None:
    params = {
        "assetSelection": [{"path": ["defender", table]} for table in tables],
        "partitionNames": KEYS,
    }
    done = location.ask(LAUNCH, params=params)["launchPartitionBackfill"]
    assert done["__typename"] == "LaunchBackfillSuccess", done


def test_two_workers_with_eight_runs_send_no_call_over_quota_and_leave_an_exact_lake(
    tenant: Emulated, variables: dict[str, str]
) -> None:
    instance = (DEPLOY / "dagster.celery.yaml").read_text()
    with dagster(variables, instance) as location, ExitStack() as started:
        workers = [started.enter_context(machine(variables, instance)) for _ in range(2)]
        for number, worker in enumerate(workers):
            started.enter_context(worker.started(*worker_command(), "-n", f"worker{number}@%h"))
        tenant.post("reset")
        for run in range(RUNS):
            launch(location, TABLES[run * TABLES_A_RUN :][:TABLES_A_RUN])
        runs = location.until(lambda: ended(location), seconds=500)
        shares = [len(_STARTED.findall(worker.log.read_text())) for worker in workers]

    stats = tenant.stats()
    assert [run["status"] for run in runs] == ["SUCCESS"] * RUNS
    assert max(run["startTime"] for run in runs) < min(run["endTime"] for run in runs), "eight at once"
    assert shares == [RUNS // 2] * 2
    assert stats["calls"] > CALLS_A_MINUTE, "the quota was not reached"
    assert stats["over_quota"] == 0
    for table in TABLES:
        landed = tenant.landed(table)
        assert landed.num_rows, table
        assert differences(landed, window_of_tenant(tenant, table, ASKED)) == (0, 0), table
    assert not (tenant.home / "lake").exists()


def ended(location: Dagster) -> list[dict[str, object]]:
    """Return all runs once all have ended, else an empty list."""
    runs = location.ask(RUNS_QUERY)["runsOrError"]["results"]
    there = len(runs) == RUNS and all(run["status"] in ("SUCCESS", "FAILURE") for run in runs)
    return runs if there else []
