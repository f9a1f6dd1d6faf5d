"""The cost of Dagster in addition to the data work: to load the code location, and for each partition.

    python -m benchmarks.dagster_overhead [HOURS [ROUNDS]]

The same hourly partitions of one table are archived twice from an emulated tenant: by the pipeline alone, and
by one run of the asset over the range. The Dagster instance stores its events in SQLite. Each round runs
both, into new lakes.
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
from statistics import median

import dagster as dg

from hunting_emulator.process import Endpoint, running
from hunting_pipeline.catalog import spec
from hunting_pipeline.model import Grain, partition_from_key
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


def loading(rounds: int) -> None:
    """Print the loading times of new processes."""
    found = []
    for _ in range(rounds):
        done = subprocess.run([sys.executable, "-c", _LOAD], capture_output=True, text=True, check=True)
        found.append([float(figure) for figure in done.stdout.split()])
    dagster, location, assets = map(median, zip(*found, strict=True))
    print(f"import dagster {dagster:.2f} s; {assets:.0f} assets loaded in {location:.2f} s more")


@contextmanager
def settings(endpoint: Endpoint, home: Path) -> Iterator[None]:
    """Set the variables of the emulated tenant and of a lake in `home`."""
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
    """Run the data work alone."""
    table = spec(TABLE, grain=Grain.HOUR)
    partitions = [partition_from_key(TABLE, key) for key in keys]
    with open_pipeline(load_settings(), max_wait=60) as pipeline, pipeline.pull(table, partitions) as pull:
        assert len(list(pull)) == len(keys)


def ranged(keys: list[str], instance: dg.DagsterInstance) -> None:
    """Run the asset once, over the whole range."""
    component = HuntingTables(tables=[TableConfig(name=TABLE, grain=Grain.HOUR)])
    defs = component.build_defs(None)  # type: ignore[arg-type] # needs no context
    result = materialize_range(defs, [TABLE], first=keys[0], last=keys[-1], instance=instance)
    assert result.success
    assert len(result.get_asset_materialization_events()) == len(keys)


@contextmanager
def timed(times: list[tuple[float, float]]) -> Iterator[None]:
    """Append wall and CPU seconds of the block to `times`."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    times.append((time.perf_counter() - wall, time.process_time() - processor))


def settled(hours: int) -> list[str]:
    """List the keys of the latest hours that are settled and still fully available."""
    now = datetime.now(UTC)
    last = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=4)
    every = [last - timedelta(hours=back) for back in reversed(range(hours))]
    return [f"{hour:%Y-%m-%dT%H}" for hour in every if hour > now - timedelta(days=29, hours=20)]


def main(hours: int = 720, rounds: int = 3) -> None:
    """Print all figures."""
    loading(rounds)
    keys = settled(hours)
    memory = Path("/dev/shm")
    alone: list[tuple[float, float]] = []
    through: list[tuple[float, float]] = []
    with running(profile="test", limit={"rows": "off"}, rows={TABLE: 50 * 720}) as endpoint:
        for _ in range(rounds):
            with (
                tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
                dg.DagsterInstance.local_temp(folder) as instance,
            ):
                with settings(endpoint, Path(folder, "alone")), timed(alone):
                    bare(keys)
                with settings(endpoint, Path(folder, "through")), timed(through):
                    ranged(keys, instance)
    print(f"{len(keys)} hourly partitions (of 30 days, those whole and settled), one run; rounds: {rounds}")
    added = [
        tuple((more - less) / len(keys) for more, less in zip(with_it, without, strict=True))
        for with_it, without in zip(through, alone, strict=True)
    ]
    for name, figures in {"data work alone": alone, "through Dagster": through}.items():
        wall, processor = (median(column) for column in zip(*figures, strict=True))
        print(f"  {name}  {wall:6.1f} s wall  {processor:6.1f} s CPU")
    wall, processor = (1000 * median(column) for column in zip(*added, strict=True))
    print(f"  a partition adds {wall:6.1f} ms wall {processor:6.1f} ms CPU")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
