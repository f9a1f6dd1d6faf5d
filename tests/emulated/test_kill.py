"""A pull is killed by SIGKILL at any step: the next run makes the lake exact and fetches no row twice.

The test takes a sample of the steps, and a smaller one in object stores; `HUNTING_KILL_POINTS=0` takes all.
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
import pytest
from test_reconcile import alerts, loaded

from hunting_pipeline.model import DAY, Window
from places import Folder, Place
from support import WEEK, emulated, window_of_tenant

ASKED = Window(WEEK.start, WEEK.start + 4 * DAY)


@pytest.mark.stores
def test_the_next_pull_completes_a_pull_that_was_killed_at_any_step(
    tmp_path: Path,
    place: Place,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    points = os.environ.get("HUNTING_KILL_POINTS", "6" if isinstance(place, Folder) else "4")
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
            "sample": int(points),
            "place": asdict(place),
        }
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("kill_runner.py")],
            input=json.dumps(given, default=str),
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
            text=True,
            capture_output=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-4_000:]
    found = json.loads(done.stdout)
    record_property(f"report: killed pulls in {request.node.callspec.id}", found)
    assert found["killed at"] > 0
    assert found["rows kept and paid twice"] == 0
