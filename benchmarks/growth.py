"""The cost of commands on archives of different ages: the time without start-up, and requests to the store.

    python -m benchmarks.growth [--quick]

Each lake has one table of hourly partitions. One partition is pulled from an emulated tenant; the others are
copies of its manifest, with files without rows. Every command is asked about the newest 30 days. The lakes
are in a folder in memory, and in S3: SeaweedFS on this machine.
"""

import argparse
import gc
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import dagster as dg

from benchmarks.support.archives import extend
from benchmarks.support.counting import CountingStore
from benchmarks.support.object_store import s3_lake
from hunting_emulator.process import running
from hunting_pipeline.catalog import spec
from hunting_pipeline.lake.manifest import load
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import HOUR, SECOND, Grain, Partition, Window
from hunting_pipeline.orchestration.automation.sensors import LAST_CALL, sensor_for
from hunting_pipeline.orchestration.checks.health import health_results
from hunting_pipeline.orchestration.keys import DEADLINE, NEAR_DEADLINE
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.pipeline import Pipeline, coverage, open_pipeline
from hunting_pipeline.settings import load_settings
from hunting_pipeline.window import partitions_in

TABLE = spec("AlertInfo", grain=Grain.HOUR)
CHECK = dg.AssetCheckKey(dg.AssetKey(["defender", TABLE.name]), DEADLINE)
DAYS = 30
ASKED = DAYS * 24 - 24
"""Number of requested partitions: those of 30 days that the service still holds as a whole."""
SIZES = (1_000, 10_000, 100_000)
ROUNDS = 7
WRITERS = 32


Command = Callable[[], object]


def main() -> None:
    """Print a line for each size, and the largest size as a multiple of the smallest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two small lakes")
    options = parser.parse_args()
    sizes, rounds = ((800, 1_600), 2) if options.quick else (SIZES, ROUNDS)
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        s3_lake() as bucket,
        running(profile="test", rows={TABLE.name: 5_000}) as endpoint,
    ):
        os.environ |= endpoint.settings() | {
            "HUNTING_CONFIG": os.devnull,
            "XDG_CACHE_HOME": f"{folder}/cache",
        }
        for place, variables in (("a folder", {"HUNTING_LAKE": folder}), ("S3", bucket)):
            os.environ |= variables
            with ExitStack() as opened:
                lakes = {}
                for size in sizes:
                    os.environ["HUNTING_LAKE"] = f"{variables['HUNTING_LAKE']}/{size}"
                    os.environ["HUNTING_LEDGER"] = f"{folder}/{size}.sqlite"
                    started = time.perf_counter()
                    lakes[size] = filled(size, opened)
                    seconds = time.perf_counter() - started
                    print(f"{size} partitions written to {place} in {seconds:.0f} s", flush=True)
                show(lakes, rounds)


def show(lakes: Mapping[int, tuple[CountingStore, Mapping[str, Command]]], rounds: int) -> None:
    """Measure the commands on all lakes, and print the results. Each round measures all lakes."""
    names = [*next(iter(lakes.values()))[1]]
    seconds: dict[tuple[int, str], list[float]] = defaultdict(list)
    requests: dict[tuple[int, str], str] = {}
    for _ in range(rounds + 1):
        for name in names:
            for size, (store, commands) in lakes.items():
                store.reset()
                gc.collect()
                started = time.perf_counter()
                commands[name]()
                seconds[size, name].append(time.perf_counter() - started)
                requests[size, name] = f"{len(store.read)}/{len(store.listed)}/{len(store.looked_up)}"
    fastest = {key: min(found[1:]) for key, found in seconds.items()}  # the first round fills caches
    print(f"{ASKED} of N hourly partitions requested; fastest of {rounds}; reads/lists/lookups of the store")
    print(f"{'N':>8}" + "".join(f"{name:>26}" for name in names))
    for size in lakes:
        cells = [f"{1000 * fastest[size, name]:>10.1f} ms {requests[size, name]:>12}" for name in names]
        print(f"{size:>8}" + "".join(cells))
    first, *_, last = lakes
    ratios = [f"{fastest[last, name] / fastest[first, name]:>10.2f}{'':16}" for name in names]
    print(f"{'ratio':>8}" + "".join(ratios).rstrip())


def filled(size: int, opened: ExitStack) -> tuple[CountingStore, Mapping[str, Command]]:
    """Fill a lake, and return its store and the measured commands."""
    now = round(time.time() * SECOND)
    newest = now // HOUR * HOUR - 3 * HOUR
    partitions = partitions_in(TABLE, Window(newest - (size - 1) * HOUR, newest + HOUR))
    pipeline = opened.enter_context(open_pipeline(load_settings(), max_wait=60))
    fill(pipeline, partitions)
    store = CountingStore(pipeline.store)
    instance = opened.enter_context(dg.DagsterInstance.ephemeral())
    return store, commands(replace(pipeline, store=store), store, partitions[-ASKED:], instance, now=now)


def fill(pipeline: Pipeline, partitions: tuple[Partition, ...]) -> None:
    """Pull the newest partition, and put files and manifests for all others."""
    *others, newest = partitions
    with pipeline.pull(TABLE, [newest]) as pull:
        list(pull)
    template = load(pipeline.store, newest)
    assert template is not None
    put = _unsafe_put(pipeline.store) if Path(pipeline.store.uri()).is_dir() else pipeline.store.put
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(partial(extend, put, template), [others[n::WRITERS] for n in range(WRITERS)]))


def _unsafe_put(store: Store) -> Callable[[str, bytes], str]:
    """Return a put into a folder that writes without a lock and without fsync."""
    root = Path(store.uri())

    def put(path: str, data: bytes) -> str:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        present = store.stat(path)
        assert present is not None
        return present.version

    return put


def commands(
    pipeline: Pipeline,
    store: CountingStore,
    asked: tuple[Partition, ...],
    instance: dg.DagsterInstance,
    *,
    now: int,
) -> Mapping[str, Command]:
    """Return the measured commands by name."""

    class Counted(HuntingResource):
        """The configured tenant, with a lake that counts."""

        def open_lake(self) -> Store:
            return store

    def pull() -> None:
        with pipeline.pull(TABLE, asked) as pulled:
            assert not list(pulled)

    hunting = Counted()
    no_gap = {NEAR_DEADLINE: dg.MetadataValue.json([])}
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(asset_key=CHECK.asset_key, check_name=DEADLINE, passed=True, metadata=no_gap)
    )
    stopped = dg.DefaultSensorStatus.STOPPED
    sensor = sensor_for(LAST_CALL, [CHECK], hunting, suffix="", status=stopped)
    return {
        "status": lambda: coverage(store, TABLE, asked, now=now, retention_days=DAYS),
        "pull": pull,
        "health checks": lambda: list(
            health_results(hunting, TABLE, start=asked[0].window.start, fresh_hours=6)
        ),
        "sensor tick": lambda: sensor.evaluate_tick(dg.build_sensor_context(instance)),
    }


if __name__ == "__main__":
    main()
