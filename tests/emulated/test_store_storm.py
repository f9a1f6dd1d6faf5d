"""Processes that share only the URL of an object store and the ledger. No row is lost or doubled.

Each process has its own home, its own cache and its own folder for temporary files, as on another machine.
"""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from object_servers import Break, Bucket, Proxy, Rule, watch
from started import go
from storm_runs import REFUSED, TABLE, Runs, runs
from test_reconcile import alerts

from hunting_emulator.process import running
from hunting_pipeline.model import DAY, SECOND, Window, ticks_of
from support import DOTNET_EPOCH, Emulated

TESTS = Path(__file__).parents[1]

BIG_CLOUDS = pytest.mark.parametrize("bucket", ["seaweedfs", "azurite"], indirect=True)
KILLED_IN = pytest.mark.parametrize(
    "bucket", ["seaweedfs", "azurite"] if os.environ.get("HUNTING_LONG") else ["seaweedfs"], indirect=True
)
"""The stores of killed runs: in the short tests, one is enough."""
EXTENDS = 30
LONG = bool(os.environ.get("HUNTING_LONG"))
KILLS = 200 if LONG else 8
"""Killed runs on each kind of store."""


def own_place(folder: Path) -> dict[str, str]:
    """Return the variables of a process on a machine of its own."""
    folder.mkdir()
    return {name: str(folder) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}


def started(program: str, given: Mapping[str, Any], place: Path) -> "subprocess.Popen[str]":
    """Start a program of this folder with a JSON object as its argument."""
    paths = [str(TESTS.parent), str(TESTS), str(TESTS / "unit"), str(TESTS / "emulated"), *sys.path]
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name(program)), json.dumps(given)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **own_place(place), "PYTHONPATH": os.pathsep.join(paths)},
        text=True,
    )


def extended(bucket: Bucket, home: Path, extends: int, *, careless: bool) -> tuple[list[str], int]:
    """Extend one day with two processes at once. Return the rows of its file, and the number of conflicts."""
    given = {"writers": 2, "extends": extends, "careless": careless, "settings": bucket.settings}
    writers = [started("storm_extend.py", given | {"writer": n}, home / f"writer {n}") for n in range(2)]
    go(writers)
    conflicts = [int(writer.communicate()[0]) for writer in writers]
    (file,) = bucket.objects("DeviceEvents")
    rows = pq.read_table(io.BytesIO(bucket.read(file)))["A"].to_pylist()
    return sorted(rows), sum(conflicts)


def every_row(extends: int) -> list[str]:
    return sorted(f"{writer}-{number}" for writer in range(2) for number in range(extends))


@BIG_CLOUDS
def test_two_processes_extend_one_day_and_every_row_is_there_once(
    bucket: Bucket, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    rows, conflicts = extended(bucket, tmp_path, EXTENDS, careless=False)
    assert rows == every_row(EXTENDS)
    assert conflicts, "the processes did not meet"
    record_property(f"report: two writers of one day on {bucket.kind}", {"conflicts": conflicts})


@pytest.mark.slow
@KILLED_IN
def test_the_same_processes_lose_rows_if_they_replace_any_version(bucket: Bucket, tmp_path: Path) -> None:
    rows, conflicts = extended(bucket, tmp_path, EXTENDS, careless=True)
    assert set(rows) < set(every_row(EXTENDS))
    assert not conflicts


# runs that are killed


MIDNIGHT = ticks_of(datetime.now(UTC)) // DAY * DAY
ASKED = Window(MIDNIGHT - 6 * DAY, MIDNIGHT - 2 * DAY)
ROWS = 2_000


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """Start a tenant with the real clock, as Dagster needs it, and with small calls."""
    with running(profile="test", limit={"rows": 1_000, "bytes": 1_000_000}) as endpoint:
        yield Emulated(endpoint, tenant=None, home=tmp_path_factory.mktemp("storm"))  # type: ignore[arg-type] # rows are not compared here


@pytest.fixture(scope="module")
def runner() -> Iterator[Runs]:
    with runs() as runner:
        yield runner


@dataclass
class Storm:
    """A lake in a bucket, and the rows of the tenant that belong there: those of the first `days`."""

    bucket: Bucket
    tenant: Emulated
    runner: Runs
    home: Path
    days: int = 0
    rows: dict[str, int | None] = field(default_factory=dict)

    @property
    def asked(self) -> Window:
        return Window(ASKED.start, ASKED.start + self.days * DAY)

    def load(self, number: int, chance: Random, *, late: float = 0.0) -> None:
        """Add rows to the tenant, each with its own id. The late ones arrive within `late` seconds."""
        begun = len(self.rows)
        for one in range(begun, begun + number):
            moment = ASKED.start + chance.randrange(ASKED.ticks)
            self.rows[f"a{one}"] = None if one % 50 == 7 else moment
        now = ticks_of(datetime.now(UTC)) + DOTNET_EPOCH
        arrival = [0] * len(self.rows)
        if late:
            arrival = [
                now + round(chance.random() * late * SECOND) * (chance.random() < 0.2) for _ in arrival
            ]
        given = alerts(list(self.rows.values()), list(self.rows))
        path = self.home / f"{TABLE}.parquet"
        pq.write_table(given.append_column("_arrival", pa.array(arrival, pa.int64())), path)
        self.tenant.post("config", load={TABLE: str(path)})

    def start(self, kind: str, *, lease: float = 0.5) -> int:
        """Start a run on a machine of its own."""
        settings = {name: str(value) for name, value in self.bucket.settings.items()}
        lake = {f"HUNTING_{name.upper()}": value for name, value in settings.items()}
        ours = {name: value for name, value in os.environ.items() if not name.startswith("HUNTING_")}
        environment = {
            **ours,
            **self.tenant.one_by_one(),
            **lake,
            **own_place(self.home / f"machine {time.monotonic_ns()}"),
            "HUNTING_LEDGER": str(self.home / "ledger"),
            "HUNTING_WORKERS": "2",
            "STORM_ASKED": json.dumps([self.asked.start, self.asked.end]),
            "STORM_LOG": str(self.home / "log"),
        }
        return self.runner.start(kind, environment, lease=lease)

    def finish(self, kind: str) -> None:
        """Run undisturbed, and assert that the lake has every row once and no leftovers."""
        assert self.runner.status(self.start(kind)) == 0, self.log()
        found = Counter(row for key in data_files(self.bucket) for row in rows_of(self.bucket.read(key)))
        due = Counter(
            (name, moment)
            for name, moment in self.rows.items()
            if moment is None or self.asked.start <= moment < self.asked.end
        )
        assert found == due, f"{(due - found).total()} rows lost, {(found - due).total()} doubled"
        assert self.bucket.objects("_hunting/staging") == []

    def log(self) -> str:
        path = self.home / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return "\n".join([line for line in lines if " - dagster - " not in line][-60:])


def data_files(bucket: Bucket) -> list[str]:
    return [*bucket.objects(TABLE), *bucket.objects("_hunting/null_time")]


def rows_of(content: bytes) -> list[tuple[str, int | None]]:
    """Read a whole Parquet file, and return id and time of its rows."""
    table = pq.ParquetFile(io.BytesIO(content)).read()
    ticks = [time and time // 100 for time in table["Timestamp"].cast(pa.int64()).to_pylist()]
    return list(zip(table["AlertId"].to_pylist(), ticks, strict=True))


@contextmanager
def read_all_the_while(bucket: Bucket) -> Iterator[Counter[str]]:
    """Read every data file again and again, as another program does. Each file opens, and no row vanishes."""
    ended = threading.Event()
    seen: dict[str, int] = {}
    reads: Counter[str] = Counter()

    def read() -> None:
        while not ended.is_set():
            for key in data_files(bucket):
                rows = len(rows_of(bucket.read(key)))
                assert rows >= seen.get(key, 0), f"{key} had {seen[key]} rows, and has {rows}"
                seen[key] = rows
                reads["files"] += 1
            ended.wait(0.02)

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        try:
            yield reads
        finally:
            ended.set()
            reading.result()


@dataclass(frozen=True)
class Moment:
    """A request that a run never completes, because it is killed meanwhile.

    Attributes:
        kind: the kind of the run.
        part: text in the path of the object that the run puts.
        fault: how much of the request the store gets.
    """

    kind: str
    part: str
    fault: Break


SEGMENT, FILE, MANIFEST = f"/staging/{TABLE}/2", "/date=", f"/manifest/{TABLE}/2"

MOMENTS = [
    Moment("pull", SEGMENT, Break.HELD_REQUEST),
    Moment("pull", FILE, Break.HELD_ANSWER),
    Moment("pull", MANIFEST, Break.HELD_REQUEST),
    Moment("pull", FILE, Break.HELD_REQUEST),
    Moment("reconcile", SEGMENT, Break.HELD_REQUEST),
    Moment("reconcile", FILE, Break.HELD_REQUEST),
    Moment("reconcile", MANIFEST, Break.HELD_REQUEST),
    Moment("reconcile", FILE, Break.HELD_ANSWER),
]
"""A pull creates files here, and a reconcile replaces files by files with more rows."""


@pytest.mark.skipif(not LONG, reason="takes minutes: set HUNTING_LONG")
@BIG_CLOUDS
def test_a_run_that_is_killed_during_a_put_is_mended_by_the_next_run(
    bucket: Bucket,
    tenant: Emulated,
    runner: Runs,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """A reader that reads the files all the while sees only whole files."""
    chance = Random(5)
    with watch(bucket) as (near, proxy), read_all_the_while(bucket) as reads:
        storm = Storm(near, tenant, runner, tmp_path)
        for moment in MOMENTS:
            storm.load(400, chance)
            storm.days += moment.kind == "pull"
            kill_during(storm, moment, proxy)
            storm.finish("both")
    record_property(f"report: runs killed during a put on {bucket.kind}", dict(reads))


def kill_during(storm: Storm, moment: Moment, proxy: Proxy) -> None:
    """Start a run, and kill it when the request of this moment waits in the proxy."""
    rule = Rule(lambda request: request.kind == "PUT" and moment.part in request.path, moment.fault)
    proxy.rules[:] = [rule]
    proxy.clear()
    process = storm.start(moment.kind)
    deadline = time.monotonic() + 60
    while rule.times or not any(rule.matches(request) for request in list(proxy.seen)):
        assert time.monotonic() < deadline, f"{moment} did not come: {storm.log()}"
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    assert storm.runner.status(process) == -signal.SIGKILL


@KILLED_IN
def test_no_row_is_lost_or_doubled_by_pulls_reconciles_and_dagster_that_are_killed(
    open_bucket: Callable[[str], Bucket],
    bucket: Bucket,
    tenant: Emulated,
    runner: Runs,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Three runs at a time share one table. Some have no claim, as if the ledger had lost it."""
    chance = Random(19)
    outcome: Counter[str] = Counter()
    number = 0
    while outcome["killed"] < KILLS:
        number += 1
        home = tmp_path / str(number)
        home.mkdir()
        storm = Storm(open_bucket(bucket.kind), tenant, runner, home, days=2)
        storm.load(ROWS, chance)
        storm.finish("pull")
        storm.days, late = 4, 4.0
        storm.load(ROWS, chance, late=late)
        end = time.monotonic() + late + 0.1
        with read_all_the_while(storm.bucket) as reads:
            batter(storm, chance, 12, outcome)
            time.sleep(max(0.0, end - time.monotonic()))
            storm.finish("both")
        outcome["lakes"] += 1
        outcome.update(reads)
    record_property(f"report: killed runs on {bucket.kind}", dict(outcome))


def batter(storm: Storm, chance: Random, kills: int, outcome: Counter[str]) -> None:
    """Run a pull, a reconcile and Dagster at once, and kill each at a random moment, again and again."""
    left = iter(range(kills))
    lock = threading.Lock()

    def slot(kind: str, seed: int) -> None:
        mine = Random(seed)
        while next(left, None) is not None:
            lease = mine.choice([0.0, 0.0, 1.0])
            process = storm.start(kind, lease=lease)
            time.sleep(mine.uniform(0.3, 2.5) + (kind == "dagster"))
            os.kill(process, signal.SIGKILL)
            status = storm.runner.status(process)
            assert status in (0, REFUSED, -signal.SIGKILL), storm.log()
            with lock:
                outcome["killed" if status == -signal.SIGKILL else "ended"] += 1
                outcome[f"killed {kind}"] += status == -signal.SIGKILL

    with ThreadPoolExecutor(3) as pool:
        kinds = ("pull", "reconcile", "dagster")
        for ended in [pool.submit(slot, kind, chance.getrandbits(32)) for kind in kinds]:
            ended.result()
