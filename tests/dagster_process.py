"""Dagster on an emulated tenant, in processes: the code server, the web server and the daemon."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent

_INSTANCE = "telemetry: {enabled: false}\nnux: {enabled: false}\n"

_REPOSITORY = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
    name location { name } } } } }"""

_FAILURES = """{ runsOrError(limit: 3) { ... on Runs { results { eventConnection(limit: 10000) { events {
    ... on ExecutionStepFailureEvent { stepKey error { message causes { message } } }
    ... on RunFailureEvent { message error { message } } } } } } } }"""

_PARTITIONS = """query Done($path: [String!]!) { assetNodeOrError(assetKey: {path: $path}) {
    ... on AssetNode { partitionStats { numMaterialized numFailed } } } }"""

_LAST_RUN = """{ runsOrError(limit: 1) { ... on Runs { results { id } } } }"""

_RUN = """query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status eventConnection(limit: 1000) {
    events { ... on EngineEvent { message } } } } } }"""

_STARTED = re.compile(r"Started process for run \(pid: (\d+)\)")

_START = """mutation Start($of: SensorSelector!) { startSensor(sensorSelector: $of) {
    __typename ... on PythonError { message } } }"""

_LAUNCH = """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { id } } ... on PythonError { message } } }"""

_RUNS = """{ runsOrError { ... on Runs { results { id } } } }"""

_CHECKED = """query Checked($key: AssetKeyInput!, $name: String!) {
    assetCheckExecutions(assetKey: $key, checkName: $name, limit: 1) { status
    evaluation { success metadataEntries { label ... on JsonMetadataEntry { jsonString } } } } }"""


@dataclass(frozen=True)
class Dagster:
    """A running web server with its daemon.

    Attributes:
        url: address of the web server.
        log: file with the output of all processes.
    """

    url: str
    log: Path

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Send one GraphQL query, and return its data."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            answer = json.load(reply)
        assert "errors" not in answer, answer["errors"]
        return dict(answer["data"])

    def until(self, found: Callable[[], Any], *, seconds: float) -> Any:
        """Wait until `found` returns something, and return it."""
        deadline = time.monotonic() + seconds
        while not (answer := found()):
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")[-3000:]
            time.sleep(0.5)
        return answer

    def partitions(self, table: str) -> tuple[int, int]:
        """Return how many partitions of a table are materialized, and how many failed."""
        found = self.ask(_PARTITIONS, path=["defender", table])["assetNodeOrError"]["partitionStats"]
        return int(found["numMaterialized"]), int(found["numFailed"])

    def last_run(self) -> str | None:
        """Return the id of the last run that was created."""
        runs = self.ask(_LAST_RUN)["runsOrError"]["results"]
        return str(runs[0]["id"]) if runs else None

    def status(self, run: str) -> str:
        """Return the status of a run, such as QUEUED or STARTED."""
        return str(self.ask(_RUN, id=run)["runOrError"]["status"])

    def ended(self, run: str) -> str | None:
        """Return SUCCESS, FAILURE or CANCELED if the run has ended."""
        status = self.status(run)
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

    def process_of(self, run: str) -> int:
        """Return the id of the process that executes a run, from the run's log."""
        events = self.ask(_RUN, id=run)["runOrError"]["eventConnection"]["events"]
        (found,) = (m for event in events if (m := _STARTED.search(event.get("message", ""))))
        return int(found[1])

    def failures(self) -> list[object]:
        """Return the failure events of the last runs."""
        runs = self.ask(_FAILURES)["runsOrError"]["results"]
        return [event for run in runs for event in run["eventConnection"]["events"] if event]

    def runs(self) -> list[str]:
        """Return the ids of all runs."""
        return [str(run["id"]) for run in self.ask(_RUNS)["runsOrError"]["results"]]

    def materialize(self, table: str, first: str, last: str) -> str:
        """Launch a run of the partitions `first` to `last`, and return its id."""
        ends = {"start": first, "end": last}
        tags = [{"key": f"dagster/asset_partition_range_{end}", "value": key} for end, key in ends.items()]
        return self._launched({"assetSelection": [{"path": ["defender", table]}]}, {"tags": tags})

    def check(self, table: str, name: str) -> str:
        """Launch a run of one check of a table, and return its id."""
        key = {"path": ["defender", table]}
        selected = {"assetSelection": [], "assetCheckSelection": [{"assetKey": key, "name": name}]}
        return self._launched(selected, {})

    def _launched(self, selected: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
        params = {
            "selector": {**self._location(), "pipelineName": "__ASSET_JOB", **selected},
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": metadata,
        }
        done = self.ask(_LAUNCH, params=params)["launchRun"]
        assert done["__typename"] == "LaunchRunSuccess", done
        return str(done["run"]["id"])

    def checked(self, table: str, name: str) -> tuple[bool, dict[str, Any]]:
        """Return whether the latest evaluation of a check passed, and the lists in its metadata."""
        asset = {"path": ["defender", table]}
        (found,) = self.ask(_CHECKED, key=asset, name=name)["assetCheckExecutions"]
        evaluation = found["evaluation"]
        lists = {
            entry["label"]: json.loads(entry["jsonString"])
            for entry in evaluation["metadataEntries"]
            if "jsonString" in entry
        }
        return bool(evaluation["success"]), lists

    def start_sensor(self, name: str) -> None:
        """Start a sensor."""
        done = self.ask(_START, of={**self._location(), "sensorName": name})["startSensor"]
        assert done["__typename"] == "Sensor", done

    def _location(self) -> dict[str, str]:
        (repository,) = self.ask(_REPOSITORY)["repositoriesOrError"]["nodes"]
        return {
            "repositoryName": repository["name"],
            "repositoryLocationName": repository["location"]["name"],
        }


@dataclass(frozen=True)
class Machine:
    """A place where processes of Dagster start. It shares no home, cache or temporary folder with another.

    Attributes:
        home: the home of Dagster, with its own instance, and of the processes.
        settings: variables of the processes.
    """

    home: Path
    settings: Mapping[str, str]

    @property
    def log(self) -> Path:
        """The file with the output of all processes."""
        return self.home / "log"

    @contextlib.contextmanager
    def started(self, *command: str) -> Iterator[None]:
        """Start a process, and end it with its children when the block ends."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith("HUNTING_")}
        folders = {"HOME": self.home, "XDG_CACHE_HOME": self.home / "cache", "TMPDIR": self.home / "tmp"}
        folders["TMPDIR"].mkdir(exist_ok=True)
        own = {name: str(path) for name, path in folders.items()}
        own |= {"DAGSTER_HOME": str(self.home), "PYTHONUNBUFFERED": "1"}
        settings = {**ours, **self.settings, **own}
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                [BIN / command[0], *command[1:]],
                cwd=ROOT,
                env=settings,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                yield
            finally:
                _end(process)


@contextlib.contextmanager
def machine(settings: Mapping[str, str], instance: str = _INSTANCE) -> Iterator[Machine]:
    """Open a place for processes with these variables; `instance` is its dagster.yaml."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as home:
        Path(home, "dagster.yaml").write_text(instance)
        yield Machine(Path(home), settings)


@contextlib.contextmanager
def dagster(
    settings: Mapping[str, str], instance: str = _INSTANCE, *, without: Collection[str] = ()
) -> Iterator[Dagster]:
    """Serve the code location with these `HUNTING_*` settings, as in a deployment. No sensor runs.

    At the end, no file of Dagster may hold the client secret or a token. `without` names settings that are
    in a file.
    """
    variables = {name: value for name, value in settings.items() if name not in without}
    with machine(variables, instance) as one:
        with contextlib.ExitStack() as started:
            yield _served(one, started)
        secrets = settings["HUNTING_CLIENT_SECRET"].encode(), b"eyJ0eXAiOi"
        for path in filter(Path.is_file, one.home.rglob("*")):
            content = path.read_bytes()
            assert not any(secret in content for secret in secrets), f"{path} holds a secret"


def _served(one: Machine, started: contextlib.ExitStack) -> Dagster:
    code, port = free_port(), free_port()
    found = Dagster(f"http://127.0.0.1:{port}", one.log)

    def start(command: str) -> None:
        started.enter_context(one.started(*command.split()))

    start(f"dagster api grpc -h 127.0.0.1 -p {code} -m hunting_pipeline.definitions -d {ROOT}")
    found.until(lambda: _listens(code), seconds=120)
    workspace = one.home / "workspace.yaml"
    (entry,) = yaml.safe_load((ROOT / "docs" / "deploy" / "workspace.yaml").read_text())["load_from"]
    entry["grpc_server"] |= {"host": "127.0.0.1", "port": code}
    workspace.write_text(yaml.safe_dump({"load_from": [entry]}))
    start(f"dagster-webserver -h 127.0.0.1 -p {port} -w {workspace}")
    found.until(lambda: _listens(port), seconds=120)
    start(f"dagster-daemon run -w {workspace}")
    return found


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the whole process group. Code servers and runs are its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
