"""A commit is killed with SIGKILL at each of its file operations, and the next run repairs the lake.

Run as a program. Python's audit hooks see each `open`, `link`, `rename`, `remove` and `mkdir`. The child that
commits counts them and kills itself at the n-th, for every n until a child completes. Each step is a separate
process, forked before Arrow has threads.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
from lake_workshop import EVENTS, HOUR, MIDNIGHT, NOON, Window, Workshop, day, reply, text

from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.lake.manifest import load

WATCHED = {"open", "os.link", "os.rename", "os.remove", "os.mkdir"}
MORNING, AFTERNOON = Window(MIDNIGHT, NOON), Window(NOON, day().window.end)
EARLY = [MIDNIGHT + n * HOUR for n in range(10)]
LATE = [NOON + n * HOUR for n in range(10)]


def in_child(work: Callable[..., None], *arguments: object) -> int:
    """Run `work` in a forked process and return its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        work(*arguments)
        code = 0
    except Exception:  # noqa: BLE001 - the parent sees the status and the traceback
        traceback.print_exc()
    finally:
        os._exit(code)


def kill_later(operation: int) -> None:
    """Kill this process with SIGKILL at the n-th file operation from now on."""
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in WATCHED:
            seen += 1
            if seen == operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def values(ticks: list[int]) -> dict[str, object]:
    return {"A": text(*map(str, ticks))}


def morning(folder: Path, kill_at: int = 0) -> None:
    shop = Workshop(folder)
    kill_later(kill_at)
    shop.land(EARLY, MORNING, values(EARLY))


def afternoon(folder: Path, kill_at: int = 0) -> None:
    shop = Workshop(folder)
    kill_later(kill_at)
    shop.land(LATE, AFTERNOON, values(LATE))


def check(folder: Path, before: list[int], after: list[int]) -> None:
    """Assert that readers see one of two states, with a correct manifest, and a new run completes it."""
    shop = Workshop(folder)
    found = sorted(shop.ticks()) if shop.file().exists() else []
    assert found in (before, after), f"{len(found)} rows"
    manifest = load(shop.store, day())
    assert (manifest.proof.rows if manifest else 0) == len(found)
    assert [m.partition for m in load_all(shop.store, EVENTS.name)] == [day()] * bool(found)
    complete(shop, after)


def complete(shop: Workshop, after: list[int]) -> None:
    """Run again a minute later: use the staged segments that are valid, and fetch the others."""
    shop.now += 600_000_000
    archived = load(shop.store, day())
    missing = [t for t in after if not archived or t >= archived.covered[-1].end]
    segments = shop.staged()
    if missing:
        window = MORNING if missing == EARLY else AFTERNOON
        segments = segments or shop.stage(reply(missing, values(missing)), window)
        shop.commit(segments)
    assert sorted(shop.ticks()) == after
    assert sorted(shop.rows()["A"].to_pylist()) == sorted(map(str, after))
    assert pq.read_metadata(shop.file()).num_rows == len(after)
    left = [path for path in shop.contents() if path.endswith((".tmp", ".arrow"))]
    assert not left, left


def kill_everywhere(step: Callable[..., None], before: list[int], after: list[int]) -> int:
    """Kill the step at every point, and return the number of points."""
    for operation in range(1, 200):
        with TemporaryDirectory() as name:
            folder = Path(name)
            if before:
                assert in_child(morning, folder) == 0
            status = in_child(step, folder, operation)
            assert status in (0, signal.SIGKILL), f"status {status} at operation {operation}"
            assert in_child(check, folder, before, after) == 0, f"wrong after operation {operation}"
            if status == 0:
                return operation - 1
    raise AssertionError("no child completed")


if __name__ == "__main__":
    print(kill_everywhere(morning, [], EARLY), kill_everywhere(afternoon, EARLY, EARLY + LATE))  # noqa: T201 - for the test
