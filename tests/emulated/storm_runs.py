"""Runs in processes of their own that share only the lake's URL and the ledger, and that can be killed.

    python storm_runs.py

Each line on standard input starts a run: `[kind, lease, environment]`. The answer is the process's id. A line
with an id waits for the end of that process, and the answer is its status. A run is forked after all imports,
before Arrow has threads, because an import takes seconds.
"""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import dagster as dg

from hunting_pipeline.catalog import spec
from hunting_pipeline.definitions import defs
from hunting_pipeline.errors import HuntingError
from hunting_pipeline.model import Window
from hunting_pipeline.orchestration import materialize_range
from hunting_pipeline.pipeline import open_pipeline
from hunting_pipeline.quota import claiming, claims
from hunting_pipeline.settings import load_settings
from hunting_pipeline.window import partitions_in

TABLE = "AlertInfo"
REFUSED = 3
"""Exit code of a run that ended with an error of this package."""


class Runs:
    """The program of this file, as a test uses it. Several threads may use it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lock = Lock()

    def start(self, kind: str, environment: Mapping[str, str], *, lease: float = 2.0) -> int:
        """Start a run and return the id of its process. `lease` is the length of its claims in seconds."""
        return self._ask([kind, lease, environment])

    def status(self, process: int) -> int:
        """Wait for the end of a process. The status is negative if a signal ended the process."""
        return os.waitstatus_to_exitcode(self._ask(process))

    def _ask(self, given: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(given) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


@contextmanager
def runs() -> Iterator[Runs]:
    """Start the program of this file, and end it at the end of the block."""
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join([str(tests.parent), str(tests), *sys.path])
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
        text=True,
    )
    try:
        yield Runs(process)
    finally:
        process.communicate()


def pull(asked: Window) -> None:
    table = spec(TABLE)
    with (
        open_pipeline(load_settings(""), max_wait=60) as pipeline,
        pipeline.pull(table, partitions_in(table, asked)) as pulling,
    ):
        list(pulling)


def reconcile(asked: Window) -> None:
    table = spec(TABLE)
    with (
        open_pipeline(load_settings(""), max_wait=60) as pipeline,
        pipeline.reconcile(table, partitions_in(table, asked)) as (_, pulling),
    ):
        list(pulling)


def both(asked: Window) -> None:
    pull(asked)
    reconcile(asked)


def in_dagster(asked: Window) -> None:
    """Materialize the partitions in Dagster. A step that fails with an error of this package is refused."""
    first, *_, last = (partition.key for partition in partitions_in(spec(TABLE), asked))
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize_range(defs(), [TABLE], first=first, last=last, instance=instance)
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            if not ours() & {one.cls_name for one in (error, error and error.cause) if one}:
                raise AssertionError(error)
            raise HuntingError(str(error))


def ours() -> set[str | None]:
    """Return the names of the errors of this package."""
    classes: list[type[HuntingError]] = [HuntingError]
    for one in classes:
        classes += one.__subclasses__()
    return {one.__name__ for one in classes}


KINDS = {"pull": pull, "reconcile": reconcile, "dagster": in_dagster, "both": both}


def run(kind: str, lease: float, environment: dict[str, str]) -> int:
    """Run in the environment of another machine, and return the exit code."""
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    claims.LEASE_SECONDS, claims.RENEWAL_SECONDS, claiming._POLL_SECONDS = lease, max(0.2, lease / 4), 0.1
    try:
        KINDS[kind](Window(*json.loads(environment["STORM_ASKED"])))
    except HuntingError as error:
        print(f"{kind}: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 - for the test
        return REFUSED
    return 0


def main() -> None:
    """Answer each line of standard input."""
    for line in sys.stdin:
        given = json.loads(line)
        if isinstance(given, int):
            answer = os.waitpid(given, 0)[1]
        elif not (answer := os.fork()):
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            os.dup2(os.open(given[2]["STORM_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT), 2)
            code = 1
            try:
                code = run(*given)
            except BaseException:  # noqa: BLE001 - the test sees the status, and what was printed
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(answer, flush=True)  # noqa: T201 - for the test


if __name__ == "__main__":
    main()
