"""What Dagster costs beyond the data work: loading the code location, and each partition of a ranged run.

    python -m benchmarks.dagster_overhead [HOURS]

The same hourly partitions of one table are brought twice from an emulated tenant, into two lakes: by the
pipeline alone, and by one ranged run of the asset on an instance that keeps its events in SQLite.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from hunting_emulator.process import Endpoint, running
from hunting_pipeline.catalog import spec
from hunting_pipeline.lake.layout import partition_from_key
from hunting_pipeline.model import Grain
from hunting_pipeline.orchestration import HuntingTables, TableConfig, materialize_range
from hunting_pipeline.pipeline import open_pipeline
from hunting_pipeline.settings import load_settings

TABLE = "AlertInfo"

_LOAD = """
import time; start = time.perf_counter()
import dagster; imported = time.perf_counter()
from hunting_pipeline.definitions import defs
tables = defs().resolve_all_asset_keys()
print(imported - start, time.perf_counter() - imported, len(tables))
"""


def loading() -> None:
    """Figures of a fresh process."""
    done = subprocess.run([sys.executable, "-c", _LOAD], capture_output=True, text=True, check=True)
    dagster, location, tables = done.stdout.split()
    print(f"import dagster {float(dagster):.2f} s; {tables} tables loaded in {float(location):.2f} s more")


@contextmanager
def settings(endpoint: Endpoint, home: Path) -> Iterator[None]:
    """The emulated tenant, and a lake in `home`."""
    home.mkdir()
    variables = endpoint.settings() | {
        "HUNTING_LAKE": str(home / "lake"),
        "HUNTING_LEDGER": str(home / "quota.sqlite"),
        "HUNTING_CONFIG": os.devnull,
    }
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def bare(keys: list[str]) -> None:
    """The data work alone."""
    table = spec(TABLE, grain=Grain.HOUR)
    partitions = [partition_from_key(TABLE, key) for key in keys]
    with open_pipeline(load_settings(), patience=60) as pipeline, pipeline.pull(table, partitions) as pull:
        assert len(list(pull)) == len(keys)


def ranged(keys: list[str], instance: dg.DagsterInstance) -> None:
    """One run of the asset over the whole range."""
    component = HuntingTables(tables=[TableConfig(name=TABLE, grain=Grain.HOUR)])
    defs = component.build_defs(None)  # type: ignore[arg-type] # needs no context
    result = materialize_range(defs, [TABLE], first=keys[0], last=keys[-1], instance=instance)
    assert result.success
    assert len(result.get_asset_materialization_events()) == len(keys)


@contextmanager
def timed(times: list[tuple[float, float]]) -> Iterator[None]:
    """Adds wall and processor seconds of the block."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    times.append((time.perf_counter() - wall, time.process_time() - processor))


def main(hours: int = 720) -> None:
    """Print all figures."""
    loading()
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=4)
    first = max(last - timedelta(hours=hours - 1), datetime.now(UTC) - timedelta(days=29, hours=20))
    count = int((last - first) / timedelta(hours=1)) + 1
    keys = [f"{last - timedelta(hours=back):%Y-%m-%dT%H}" for back in reversed(range(count))]
    memory = Path("/dev/shm")
    times: list[tuple[float, float]] = []
    with (
        running(profile="test", limit={"rows": "off"}, rows={TABLE: 50 * 720}) as endpoint,
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        dg.DagsterInstance.local_temp(folder) as instance,
    ):
        with settings(endpoint, Path(folder, "bare")), timed(times):
            bare(keys)
        with settings(endpoint, Path(folder, "dagster")), timed(times):
            ranged(keys, instance)
    (wall, processor), (dagster_wall, dagster_processor) = times
    print(f"{count} hourly partitions, one run, event storage and lake in memory:")
    print(f"  data work alone  {wall:6.1f} s wall  {processor:6.1f} s CPU")
    print(f"  through Dagster  {dagster_wall:6.1f} s wall  {dagster_processor:6.1f} s CPU")
    each = (dagster_wall - wall) / count * 1000, (dagster_processor - processor) / count * 1000
    print(f"  a partition adds {each[0]:6.1f} ms wall {each[1]:6.1f} ms CPU")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
