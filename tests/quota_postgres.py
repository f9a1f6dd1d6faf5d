"""A separate Postgres server for tests, started with the installed binaries."""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BINARIES = [
    Path(folder)
    for folder in (
        *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True),  # noqa: PTH207 - a pattern from the root
        *os.environ.get("PATH", "").split(":"),
        "/usr/local/bin",
    )
    if (Path(folder) / "initdb").exists() and (Path(folder) / "postgres").exists()
]


class Server:
    """A server in its own folder. It never runs as root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql:///postgres?host={folder}&user=hunter"

    def start(self) -> None:
        """Start the server. Does not wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [BINARIES[0] / "postgres", "-D", "data", "-k", self._folder, "-c", "listen_addresses="],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                **_account(),
            )

    def stop(self) -> None:
        """Stop the server and end all sessions."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None


@contextmanager
def serving() -> Iterator[str]:
    """Start a server and yield its URL over a socket. Skips the test if Postgres is not installed."""
    with restartable() as server:
        yield server.url


@contextmanager
def restartable() -> Iterator[Server]:
    """Start a server that the test may stop and start again. Skips the test if Postgres is not installed."""
    if not BINARIES:
        pytest.skip("no Postgres binaries on this machine (initdb, postgres)")
    folder = Path(tempfile.mkdtemp(prefix="quota-pg-", dir="/tmp"))
    server = Server(folder)
    try:
        _initialize(folder)
        server.start()
        _wait_for(server.url)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _account() -> dict[str, Any]:
    """Return the options of `Popen` that run a process as another user, if this process runs as root."""
    if os.getuid() != 0:
        return {}
    user = next(n for n in ("postgres", "nobody") if any(n == entry.pw_name for entry in pwd.getpwall()))
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _initialize(folder: Path) -> None:
    account = _account()
    if account:
        shutil.chown(folder, account["user"])
    data = folder / "data"
    command = [BINARIES[0] / "initdb", "-D", data, "-U", "hunter", "-A", "trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **account)


def _wait_for(url: str) -> None:
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    for _ in range(200):
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("Postgres did not start")
