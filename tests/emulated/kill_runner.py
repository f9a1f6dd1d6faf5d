"""Whole pulls are killed with SIGKILL, at one step after another. The next run must complete the lake.

A program with a JSON object on standard input. In a folder, Python's audit hooks see each `open`, `rename`,
`remove` and `mkdir` under the lake. In an object store, each request has three steps: its start, the time
until the reply, and its end. The process counts them and the pull's own steps, and kills itself at the n-th.
Each run is its own process, forked before Arrow and obstore have threads. Prints one JSON object.
"""

import json
import os
import random
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from threading import Timer
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from object_servers import Bucket

from hunting_emulator.process import Endpoint
from hunting_pipeline.catalog import spec
from hunting_pipeline.lake import read
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.lake.write import staged_segments
from hunting_pipeline.model import Window
from hunting_pipeline.pipeline import open_lake
from hunting_pipeline.quota import claiming, claims
from hunting_pipeline.window import partitions_in
from places import Folder, Place
from support import Emulated, plain

TABLE = "AlertInfo"
WATCHED = {"open", "os.rename", "os.remove", "os.mkdir"}
REQUESTS = ("get", "head", "list", "list_with_delimiter", "put", "delete")
LONGEST_REQUEST = 0.005
LEASE_SECONDS = 1.0
"""The claim of a killed run keeps the next run waiting as long as this."""
MOST_POINTS = 2_000


class Step:
    """A counter of steps that kills the process at one of them."""

    def __init__(self, kill_at: int) -> None:
        self.seen = 0
        self._kill_at = kill_at

    def watch(self, place: Place) -> None:
        if isinstance(place, Folder):
            self._watch_files(str(place.root))
        else:
            for name in REQUESTS:
                setattr(obstore, name, self._counted(getattr(obstore, name)))

    def take(self, progress: object = None) -> None:
        if self._due():
            _kill()

    def _due(self) -> bool:
        self.seen += 1
        return self.seen == self._kill_at

    def _watch_files(self, lake: str) -> None:
        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event in WATCHED and str(arguments[0]).startswith(lake):
                self.take()

        sys.addaudithook(hook)

    def _counted(self, request: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.take()
            if self._due():
                Timer(random.uniform(0, LONGEST_REQUEST), _kill).start()
            result = request(*arguments, **options)
            self.take()
            return result

        return counted


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Trial:
    """A tenant and the lake of one trial."""

    def __init__(self, given: dict[str, Any]) -> None:
        home = Path(given["home"])
        endpoint = Endpoint(**given["endpoint"])
        there = given["place"]
        place = Folder(Path(there["root"])) if "root" in there else Bucket(**there)
        self._first = Emulated(endpoint, None, home, place)  # type: ignore[arg-type]
        self.emulated = self._first
        self.asked = Window(*given["asked"])
        self.expected = pq.read_table(given["expected"])
        self.notes = home / "notes.json"

    def renew(self, number: int) -> None:
        """Go on with a new lake."""
        self.emulated = replace(self._first, place=self._first.lake.at(f"lake{number}"))

    def pull(self, kill_at: int = 0) -> None:
        claims.LEASE_SECONDS, claims.RENEWAL_SECONDS, claiming._POLL_SECONDS = LEASE_SECONDS, 0.2, 0.1
        step = Step(kill_at)
        step.watch(self.emulated.lake)
        table = spec(TABLE)
        with self.emulated.open(limits="test", workers=2) as pipeline, pipeline.pull(
            table, partitions_in(table, self.asked), observe=step.take
        ) as pulling:  # fmt: skip
            list(pulling)
        self.notes.write_text(json.dumps(step.seen))

    def fetched(self) -> int:
        """Return the rows that the tenant has sent since the last reset."""
        log = self.emulated.stats()["log"]
        return sum(call["rows"] for call in log if call["kind"] == "rows" and call["outcome"] == "ok")

    def durable(self) -> int:
        """Return the rows in the lake: committed, or staged and not committed."""
        store = open_lake(self.emulated.settings())
        archived = {manifest.partition: manifest.proof.rows for manifest in load_all(store, TABLE)}
        staged = [
            segment.proof.rows
            for segment in staged_segments(store, TABLE, spec(TABLE).query_hash, {}, edge=0)
            if segment.partition not in archived
        ]
        return sum(archived.values()) + sum(staged)

    def after_death(self) -> None:
        """Assert that readers see only complete partitions after the killed run."""
        paid, kept = self.fetched(), self.durable()
        for data in self.emulated.lake.contents(".parquet").values():
            pq.ParquetFile(BytesIO(data)).read()
        self.emulated.post("reset")
        self.notes.write_text(json.dumps({"paid": paid, "kept": kept}))

    def after_next(self) -> None:
        """Assert that the lake is exact, without leftovers, and that no kept row was fetched again."""
        notes = json.loads(self.notes.read_text())
        rows = read.dataset(open_lake(self.emulated.settings()), TABLE).to_table().drop_columns(["date"])
        assert counted(rows) == counted(self.expected)
        left = [key for key in self.emulated.lake.objects() if key.endswith((".tmp", ".arrow"))]
        assert not left, left
        # a store may complete the last PUT of a killed run, so the next run may need fewer rows
        notes["twice"] = max(0, self.fetched() + notes["kept"] - rows.num_rows)
        assert notes["twice"] == 0, f"{notes['twice']} rows that were kept were fetched again"
        self.notes.write_text(json.dumps(notes))


def counted(table: pa.Table) -> Counter[tuple[Any, ...]]:
    return Counter(zip(*(column.to_pylist() for column in plain(table).columns), strict=True))


def in_child(work: Callable[..., None], *arguments: object) -> int:
    """Run `work` in a forked process and return its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        work(*arguments)
        code = 0
    except BaseException:  # noqa: BLE001 - the parent sees the status, and what was printed
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def point(trial: Trial, kill_at: int) -> dict[str, int]:
    """Kill at one step, run again and check. Returns the cost."""
    trial.renew(kill_at)
    trial.emulated.post("reset")
    status = in_child(trial.pull, kill_at)
    assert status == signal.SIGKILL, f"status {status} where a kill was due"
    assert in_child(trial.after_death) == 0, f"step {kill_at}: half a file, or worse"
    kept = trial.notes.read_text()
    assert in_child(trial.pull) == 0, f"step {kill_at}: the next run failed"
    trial.notes.write_text(kept)
    assert in_child(trial.after_next) == 0, f"step {kill_at}: wrong after the next run"
    found: dict[str, int] = json.loads(trial.notes.read_text())
    return found


def main() -> None:
    given = json.load(sys.stdin)
    trial = Trial(given)
    assert in_child(trial.pull) == 0
    steps = json.loads(trial.notes.read_text())
    points = range(1, min(steps - 4, MOST_POINTS))  # the order of threads moves the last ones a little
    if given["sample"]:
        points = sorted(random.Random(7).sample(points, min(given["sample"], len(points))))
    found = [point(trial, kill_at) for kill_at in points]
    print(  # noqa: T201 - for the test
        json.dumps(
            {
                "steps of a pull": steps,
                "killed at": len(found),
                "rows kept": sum(each["kept"] for each in found),
                "rows in flight, paid twice": sum(each["paid"] - each["kept"] for each in found),
                "rows kept and paid twice": sum(each["twice"] for each in found),
            }
        )
    )


if __name__ == "__main__":
    main()
