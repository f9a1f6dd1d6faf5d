"""The cost of commands on archives of different ages: the time without start-up, and requests to the store.

    python -m benchmarks.growth [--quick] [--lake URL]

Each lake has one table of hourly partitions. One partition is pulled from an emulated tenant; the others are
copies of its manifest, with files without rows. Every command is asked about the newest 30 days. `--lake`
measures below another location, with the settings of that store.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import dagster as dg

from benchmarks.support.archives import extend
from benchmarks.support.counting import CountingStore
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


def main() -> None:
    """Print a line for each size, and the largest size as a multiple of the smallest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two small lakes")
    parser.add_argument("--lake", metavar="URL", help="location of the lakes; default: a temporary folder")
    options = parser.parse_args()
    sizes, rounds = ((800, 1_600), 2) if options.quick else (SIZES, ROUNDS)
    memory = Path("/dev/shm")
    print(f"{ASKED} of N hourly partitions requested; fastest of {rounds}; requests: reads/lists/lookups")
    print(f"{'N':>8}" + "".join(f"{name:>26}" for name in ("status", "pull", "health checks", "sensor tick")))
    found: list[list[float]] = []
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        running(profile="test", rows={TABLE.name: 5_000}) as endpoint,
    ):
        os.environ |= endpoint.settings() | {"HUNTING_CONFIG": os.devnull}
        for size in sizes:
            lake = f"{options.lake.rstrip('/')}/{uuid4().hex}" if options.lake else f"{folder}/{size}"
            os.environ |= {"HUNTING_LAKE": lake, "HUNTING_LEDGER": f"{folder}/{size}.sqlite"}
            found.append(measured(size, rounds))
    ratios = (largest / smallest for largest, smallest in zip(found[-1], found[0], strict=True))
    print(f"{'ratio':>8}" + "".join(f"{ratio:>10.2f}{'':16}" for ratio in ratios))


def measured(size: int, rounds: int) -> list[float]:
    """Fill a lake, print the cost of each command on it, and return the seconds."""
    now = round(time.time() * SECOND)
    newest = now // HOUR * HOUR - 3 * HOUR
    partitions = partitions_in(TABLE, Window(newest - (size - 1) * HOUR, newest + HOUR))
    with open_pipeline(load_settings(), max_wait=60) as pipeline:
        started = time.perf_counter()
        fill(pipeline, partitions)
        filled = time.perf_counter() - started
        store = CountingStore(pipeline.store)
        results = [
            timed(command, store, rounds)
            for command in commands(replace(pipeline, store=store), store, partitions[-ASKED:], now)
        ]
    print(f"{size:>8}" + "".join(f"{1000 * seconds:>10.1f} ms {shown:>12}" for seconds, shown in results)
          + f"   filled in {filled:.0f} s", flush=True)  # fmt: skip
    return [seconds for seconds, _ in results]


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
    pipeline: Pipeline, store: CountingStore, asked: tuple[Partition, ...], now: int
) -> Iterator[Callable[[], object]]:
    """Yield the measured commands."""

    class Counted(HuntingResource):
        """The configured tenant, with a lake that counts."""

        def lake(self) -> Store:
            return store

    def pull() -> None:
        with pipeline.pull(TABLE, asked) as pulled:
            assert not list(pulled)

    hunting, start = Counted(), asked[0].window.start
    yield lambda: coverage(store, TABLE, asked, now=now, retention_days=DAYS)
    yield pull
    yield lambda: list(health_results(hunting, TABLE, start=start, fresh_hours=6))
    with dg.DagsterInstance.ephemeral() as instance:
        no_gap = {NEAR_DEADLINE: dg.MetadataValue.json([])}
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=CHECK.asset_key, check_name=DEADLINE, passed=True, metadata=no_gap
            )
        )
        sensor = sensor_for(LAST_CALL, [CHECK], hunting)
        yield lambda: sensor.evaluate_tick(dg.build_sensor_context(instance))


def timed(command: Callable[[], object], store: CountingStore, rounds: int) -> tuple[float, str]:
    """Return the fewest of a command's seconds, and the store's requests of one run."""
    seconds = []
    for _ in range(rounds + 1):  # the first run imports and fills caches
        store.reset()
        started = time.perf_counter()
        command()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:]), f"{len(store.read)}/{len(store.listed)}/{len(store.looked_up)}"


if __name__ == "__main__":
    main()
