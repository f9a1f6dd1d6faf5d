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


@contextmanager
def serving() -> Iterator[str]:
    """Start a server and yield its URL over a socket. Skips the test if Postgres is not installed."""
    if not BINARIES:
        pytest.skip("no Postgres binaries on this machine (initdb, postgres)")
    folder = Path(tempfile.mkdtemp(prefix="quota-pg-", dir="/tmp"))
    server, url = _start(folder)
    try:
        _wait_for(url)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder)


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server in `folder`, never as root."""
    user = pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0:
        user = next(n for n in ("postgres", "nobody") if any(n == entry.pw_name for entry in pwd.getpwall()))
        shutil.chown(folder, user)
    account = (
        {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    )
    data = folder / "data"
    command = [BINARIES[0] / "initdb", "-D", data, "-U", "hunter", "-A", "trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **account)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [BINARIES[0] / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="],
            stdout=log,
            stderr=log,
            cwd=folder,
            **account,
        )
    return server, f"postgresql:///postgres?host={folder}&user=hunter"


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
