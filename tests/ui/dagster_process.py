"""Dagster on an emulated tenant, as processes of their own: the web server, then the daemon."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

_INSTANCE = "telemetry: {enabled: false}\nnux: {enabled: false}\n"

_SENSORS = """{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } sensors {
    name sensorState { id selectorId status } } } } } }"""

_FAILURES = """{ runsOrError(limit: 3) { ... on Runs { results { eventConnection(limit: 10000) { events {
    ... on ExecutionStepFailureEvent { stepKey error { message causes { message } } }
    ... on RunFailureEvent { message error { message } } } } } } } }"""

_STOP = (
    """mutation Stop($id: String!) { stopSensor(id: $id) { __typename ... on PythonError { message } } }"""
)


@dataclass(frozen=True)
class Dagster:
    """A running web server. Its daemon is there too."""

    url: str
    log: Path

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """One GraphQL query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            answer = json.load(reply)
        assert "errors" not in answer, answer["errors"]
        return dict(answer["data"])

    def until(self, found: Callable[[], Any], *, seconds: float) -> Any:
        """What `found` gives as soon as it gives something."""
        deadline = time.monotonic() + seconds
        while not (answer := found()):
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")[-3000:]
            time.sleep(0.5)
        return answer

    def failures(self) -> list[object]:
        """What went wrong in the last runs."""
        runs = self.ask(_FAILURES)["runsOrError"]["results"]
        return [event for run in runs for event in run["eventConnection"]["events"] if event]

    def stop_sensors(self) -> None:
        """Nothing shall run that the test did not launch."""
        for repository in self.ask(_SENSORS)["repositoriesOrError"]["nodes"]:
            for sensor in repository["sensors"]:
                done = self.ask(_STOP, id=sensor["sensorState"]["id"])["stopSensor"]
                assert done["__typename"] == "StopSensorMutationResult", done


@contextlib.contextmanager
def dagster(settings: Mapping[str, str]) -> Iterator[Dagster]:
    """The project's code location with these `HUNTING_*` settings, on a free port, all sensors stopped."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as home,
        socket.socket() as free,
    ):
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        Path(home, "dagster.yaml").write_text(_INSTANCE)
        log = Path(home, "log")
        ours = {name: value for name, value in os.environ.items() if not name.startswith("HUNTING_")}
        environment = {**ours, **settings, "DAGSTER_HOME": home, "PYTHONUNBUFFERED": "1"}
        found = Dagster(f"http://127.0.0.1:{port}", log)
        with log.open("ab") as output, contextlib.ExitStack() as started:

            def start(*command: str) -> None:
                process = subprocess.Popen(
                    [BIN / command[0], *command[1:]],
                    cwd=ROOT,
                    env=environment,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
                started.callback(_end, process)

            start("dagster-webserver", "-h", "127.0.0.1", "-p", str(port), "-w", "workspace.yaml")
            found.until(lambda: _answers(found.url), seconds=90)
            found.stop_sensors()
            start("dagster-daemon", "run", "-w", "workspace.yaml")
            yield found


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The whole group: code servers and runs are its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
