"""A pull is killed by SIGKILL at any step: the next run makes the lake exact and fetches no row twice.

The test takes a sample of the steps; `HUNTING_KILL_POINTS=0` takes all steps.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
from test_reconcile import alerts, loaded

from hunting_pipeline.model import DAY, Window
from support import WEEK, emulated, window_of_tenant

POINTS = int(os.environ.get("HUNTING_KILL_POINTS", "24"))
ASKED = Window(WEEK.start, WEEK.start + 4 * DAY)


def test_the_next_pull_completes_a_pull_that_was_killed_at_any_step(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = Random(3)
    times: list[int | None] = [WEEK.start + chance.randrange(4 * DAY) for _ in range(3_000)]
    data = loaded(tmp_path, alerts(times, [f"a{n}" for n in range(3_000)]))
    limits = {"rows": 1_000, "bytes": 1_000_000}
    with emulated(tmp_path, load={"AlertInfo": data}, limits=limits) as tenant:
        tenant.tenant.load("AlertInfo", data)
        expected = tmp_path / "expected.parquet"
        pq.write_table(window_of_tenant(tenant, "AlertInfo", ASKED), expected)
        given = {
            "home": str(tmp_path),
            "endpoint": asdict(tenant.endpoint),
            "asked": [ASKED.start, ASKED.end],
            "expected": str(expected),
            "sample": POINTS,
        }
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("kill_runner.py")],
            input=json.dumps(given),
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
            text=True,
            capture_output=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4_000:]
    found = json.loads(done.stdout)
    record_property("report: killed pulls", found)
    assert found["killed at"] > 0
    assert found["rows kept and paid twice"] == 0
