"""Whole pulls are killed with SIGKILL, at one step after another. The next run must complete the lake.

A program with a JSON object on standard input. Python's audit hooks see each `open`, `rename`, `remove` and
`mkdir` under the lake. The process counts them and the pull's own steps, and kills itself at the n-th. Each
run is its own process, forked before Arrow has threads. Prints one JSON object.
"""

import json
import os
import random
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hunting_emulator.process import Endpoint
from hunting_pipeline.catalog import spec
from hunting_pipeline.lake import read
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.lake.write import staged_segments
from hunting_pipeline.model import Window
from hunting_pipeline.pipeline import open_lake
from hunting_pipeline.window import partitions_in
from support import Emulated, plain

TABLE = "AlertInfo"
WATCHED = {"open", "os.rename", "os.remove", "os.mkdir"}
MOST_POINTS = 2_000


class Step:
    """A counter of steps that kills the process at one of them."""

    def __init__(self, lake: Path, kill_at: int) -> None:
        self.seen = 0
        self._lake = str(lake)
        self._kill_at = kill_at

    def watch(self) -> None:
        sys.addaudithook(self._hook)

    def take(self, progress: object = None) -> None:
        self.seen += 1
        if self.seen == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in WATCHED and str(arguments[0]).startswith(self._lake):
            self.take()


class Trial:
    """A tenant and the lake of one trial."""

    def __init__(self, given: dict[str, Any]) -> None:
        home = Path(given["home"])
        endpoint = Endpoint(**given["endpoint"])
        self.emulated = Emulated(endpoint, None, home)  # type: ignore[arg-type]
        self.asked = Window(*given["asked"])
        self.expected = pq.read_table(given["expected"])
        self.lake = home / "lake"
        self.notes = home / "notes.json"

    def pull(self, kill_at: int = 0) -> None:
        step = Step(self.lake, kill_at)
        step.watch()
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
        for path in self.lake.rglob("*.parquet"):
            pq.ParquetFile(path).read()
        self.emulated.post("reset")
        self.notes.write_text(json.dumps({"paid": paid, "kept": kept}))

    def after_next(self) -> None:
        """Assert that the lake is exact, without leftovers, and that no kept row was fetched again."""
        notes = json.loads(self.notes.read_text())
        rows = read.dataset(open_lake(self.emulated.settings()), TABLE).to_table().drop_columns(["date"])
        assert counted(rows) == counted(self.expected)
        left = [str(path) for path in self.lake.rglob("*") if path.suffix in (".tmp", ".arrow")]
        assert not left, left
        notes["twice"] = self.fetched() + notes["kept"] - rows.num_rows
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
    shutil.rmtree(trial.lake, ignore_errors=True)
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
