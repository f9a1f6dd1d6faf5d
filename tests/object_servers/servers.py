"""One server of each kind per test run, shared by all workers of pytest-xdist.

The controller of the run creates a folder and holds the lock `run.lock` in it as long as it lives. The first
worker that needs a kind starts its server under a lock of this kind. `keeper.py` waits for `run.lock`, so it
ends all servers when the controller ends, in any way.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from filelock import FileLock
from obstore.exceptions import BaseError

from object_servers.buckets import Bucket
from object_servers.signing import ACCOUNT, KEY_ID, SECRET, create_bucket

ROOT: Final = Path(__file__).parents[2]
AZURITE: Final = ROOT / ".node/node_modules/.bin/azurite-blob"
START_TIMEOUT: Final = 60.0


class NotStarted(Exception):
    """A server did not start. The message ends with its log."""


@dataclass(frozen=True)
class Kind:
    """The way to start a server of one kind.

    Attributes:
        command: makes the command from a data folder and free ports. The first port is that of the store.
        ports: number of free ports that the command needs.
        path: path of the endpoint's URL.
    """

    command: Callable[[Path, list[int]], list[str]]
    ports: int = 1
    path: str = ""


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _seaweedfs(data: Path, ports: list[int]) -> list[str]:
    parts = ("s3", "master", "filer", "volume", "admin")
    names = [
        *(f"{part}.port{kind}" for part in parts for kind in ("", ".grpc")),
        "s3.port.iceberg",
        "s3.port.lance",
    ]
    return [  # each bucket takes a volume, and by default the free disk decides how many there are
        *(_tool("weed"), "mini", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=10000"),
        *("-webdav=false", "-admin.ui=false", "-master.telemetry=false", "-s3.autoCreateBucket=false"),
        *("-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock"),
        *(f"-{name}={port}" for name, port in zip(names, ports, strict=True)),
    ]


def _azurite(data: Path, ports: list[int]) -> list[str]:
    if not AZURITE.exists():
        raise NotStarted("Azurite is not installed. Run `make .node/.ready`; it needs npm")
    return [
        *(str(AZURITE), "--silent", "--disableTelemetry", "--skipApiVersionCheck"),
        *("--location", str(data), "--blobHost", "127.0.0.1", "--blobPort", str(ports[0])),
    ]


def _moto(_data: Path, ports: list[int]) -> list[str]:
    return [_tool("moto_server"), "-H", "127.0.0.1", "-p", str(ports[0])]


def _rclone(data: Path, ports: list[int]) -> list[str]:
    return [
        *(_tool("rclone"), "serve", "s3", str(data), "--config", os.devnull, "--vfs-cache-mode", "off"),
        *("--addr", f"127.0.0.1:{ports[0]}", "--auth-key", f"{KEY_ID},{SECRET}"),
    ]


def _gcs(_data: Path, ports: list[int]) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name("gcs.py")), str(ports[0])]


KINDS: Final[Mapping[str, Kind]] = {
    "seaweedfs": Kind(_seaweedfs, ports=12),
    "azurite": Kind(_azurite, path=f"/{ACCOUNT}"),
    "moto": Kind(_moto),
    "rclone": Kind(_rclone),
    "gcs": Kind(_gcs),
}


def endpoint_of(kind: str, folder: Path) -> str:
    """Return the endpoint of the run's server of this kind. Starts the server if no worker has done so.

    Raises:
        NotStarted: the server did not answer within a minute.
    """
    known = folder / f"{kind}.url"
    with FileLock(folder / f"{kind}.lock"):
        if not known.exists():
            known.write_text(_start(kind, folder))
        return known.read_text()


def _start(kind: str, folder: Path) -> str:
    """Start a server and wait until it keeps buckets.

    Another process may take a free port before the server does. The server ends then, and starts again with
    other ports.
    """
    _start_keeper(folder)
    data, log = folder / kind, folder / f"{kind}.log"
    data.mkdir()
    deadline = time.monotonic() + START_TIMEOUT
    for _ in range(3):
        ports = _free_ports(KINDS[kind].ports)
        server = _spawn(KINDS[kind].command(data, ports), data, log)
        (folder / f"{server.pid}.group").write_text(" ".join(map(str, ports)))
        endpoint = f"http://127.0.0.1:{ports[0]}{KINDS[kind].path}"
        if _ready(kind, endpoint, server, deadline):
            return endpoint
    raise NotStarted(f"{kind} did not start. Its log:\n{log.read_text(errors='replace')[-4000:]}")


def _ready(kind: str, endpoint: str, server: "subprocess.Popen[bytes]", deadline: float) -> bool:
    """Wait until a put works. Return False if the server ended or the deadline passed."""
    while server.poll() is None and time.monotonic() < deadline:
        name = f"ready{time.monotonic_ns()}"
        try:
            create_bucket(kind, endpoint, name)
            Bucket(kind, name, endpoint=endpoint, server=endpoint, env={}).write("key", b"data")
        except (httpx.HTTPError, BaseError, OSError):
            time.sleep(0.1)
        else:
            return True
    return False


def _start_keeper(folder: Path) -> None:
    """Start the process that ends all servers. There is one per run."""
    with FileLock(folder / "keeper.lock"):
        started = folder / "keeper.log"
        if not started.exists():
            _spawn([sys.executable, str(Path(__file__).with_name("keeper.py")), str(folder)], folder, started)


def _spawn(command: list[str], folder: Path, log: Path) -> "subprocess.Popen[bytes]":
    """Start a process in a group of its own and in this folder, also for temporary files.

    The variables are the credentials that SeaweedFS asks for. Its sockets are relative to the folder, because
    the kernel limits the length of their paths.
    """
    credentials = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **credentials, "TMPDIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
