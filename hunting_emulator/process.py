"""Start and stop an emulator in its own process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

_END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a running emulator, and the credentials for it."""

    url: str
    login_url: str
    ca_bundle: str
    tenant_id: str
    client_id: str
    client_secret: str
    pid: int
    stats_url: str

    def settings(self) -> dict[str, str]:
        """Return the environment variables that connect the pipeline to this emulator."""
        return {
            "HUNTING_TENANT_ID": self.tenant_id,
            "HUNTING_CLIENT_ID": self.client_id,
            "HUNTING_CLIENT_SECRET": self.client_secret,
            "HUNTING_API_URL": self.url,
            "HUNTING_LOGIN_URL": self.login_url,
            "HUNTING_CA_BUNDLE": self.ca_bundle,
        }


class EmulatorFailed(RuntimeError):
    """The emulator ended before it was ready. The message contains its error output."""


@contextlib.contextmanager
def running(*, ready_seconds: float = 60.0, **options: object) -> Iterator[Endpoint]:
    """Start an emulator on a free port. The emulator stops at the end of the `with` block.

    The options are those of the command line, with underscores: `profile="test"`, `rows={"AlertInfo": 500}`,
    `unlicensed=["EmailEvents"]`, `gzip=True`.
    """
    with tempfile.TemporaryDirectory(prefix="emulator-run-") as folder:
        ready, errors = Path(folder, "ready.json"), Path(folder, "stderr")
        given = {"directory": folder, **options, "ready_file": ready}
        command = [sys.executable, "-m", "hunting_emulator", *arguments(given)]
        with errors.open("wb") as stderr:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, env=_environment())
        try:
            yield _endpoint(process, ready, errors, time.monotonic() + ready_seconds)
        finally:
            _end(process)


def _environment() -> dict[str, str]:
    """Return the environment of this process, with the folder of this package in PYTHONPATH."""
    folder = str(Path(__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))}


def arguments(options: Mapping[str, object]) -> Sequence[str]:
    """Convert options to command-line arguments."""
    found: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, Mapping):
            found += [part for key, each in value.items() for part in (flag, f"{key}={each}")]
        elif isinstance(value, list | tuple | set | frozenset):
            found += [part for each in value for part in (flag, str(each))]
        elif value is True:
            found.append(flag)
        elif value is not None and value is not False:
            found += [flag, str(value)]
    return found


def _endpoint(process: "subprocess.Popen[bytes]", ready: Path, errors: Path, deadline: float) -> Endpoint:
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise EmulatorFailed(f"the emulator did not start: {errors.read_text(errors='replace').strip()}")
        time.sleep(0.02)
    line = json.loads(ready.read_text(encoding="utf-8"))
    return Endpoint(**{entry.name: line[entry.name] for entry in fields(Endpoint)})


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
