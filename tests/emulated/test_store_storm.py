"""Processes that share only the URL of an object store and the ledger. No row is lost or doubled.

Each process has its own home, its own cache and its own folder for temporary files, as on another machine.
"""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from object_servers import Bucket

TESTS = Path(__file__).parents[1]

BIG_CLOUDS = pytest.mark.parametrize("bucket", ["seaweedfs", "azurite"], indirect=True)
EXTENDS = 30


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


def extended(bucket: Bucket, home: Path, *, careless: bool) -> tuple[list[str], int]:
    """Extend one day with two processes at once. Return the rows of its file, and the number of conflicts."""
    given = {"writers": 2, "extends": EXTENDS, "careless": careless, "settings": bucket.settings}
    writers = [started("storm_extend.py", given | {"writer": n}, home / f"writer {n}") for n in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    conflicts = [int(writer.communicate()[0]) for writer in writers]
    (file,) = bucket.objects("DeviceEvents")
    rows = pq.read_table(io.BytesIO(bucket.read(file)))["A"].to_pylist()
    return sorted(rows), sum(conflicts)


EVERY_ROW = sorted(f"{writer}-{number}" for writer in range(2) for number in range(EXTENDS))


@BIG_CLOUDS
def test_two_processes_extend_one_day_and_every_row_is_there_once(
    bucket: Bucket, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    rows, conflicts = extended(bucket, tmp_path, careless=False)
    assert rows == EVERY_ROW
    assert conflicts, "the processes did not meet"
    record_property(f"report: two writers of one day on {bucket.kind}", {"conflicts": conflicts})


@BIG_CLOUDS
def test_the_same_processes_lose_rows_if_they_replace_any_version(bucket: Bucket, tmp_path: Path) -> None:
    rows, conflicts = extended(bucket, tmp_path, careless=True)
    assert set(rows) < set(EVERY_ROW)
    assert not conflicts
