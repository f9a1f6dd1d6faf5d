"""Fixtures of object stores: a bucket of its own for each test, with its credentials in the environment.

def test_a(s3: Bucket) -> None: ...

@pytest.mark.parametrize("bucket", ["seaweedfs", "azurite"], indirect=True)
def test_b(bucket: Bucket) -> None: ...
"""

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from object_servers.buckets import FOREIGN, Bucket, credentials
from object_servers.servers import endpoint_of
from object_servers.signing import create_bucket

_FOLDER = pytest.StashKey[Path]()
"""Folder of the run's servers, shared by all workers."""


def pytest_configure(config: pytest.Config) -> None:
    """Create the folder and lock it, or take the controller's folder in a worker of pytest-xdist."""
    if hasattr(config, "workerinput"):
        config.stash[_FOLDER] = Path(config.workerinput["object_servers"])
        return
    folder = config.stash[_FOLDER] = Path(tempfile.mkdtemp(prefix="object-servers-"))
    lock = (folder / "run.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    config.add_cleanup(lambda: _end(folder, lock))


def _end(folder: Path, lock: Any) -> None:
    """Release the lock, so the keeper ends the servers. Remove the folder if there is no keeper."""
    if not (folder / "keeper.log").exists():
        shutil.rmtree(folder)
    lock.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell the folder to a new worker of pytest-xdist."""
    node.workerinput["object_servers"] = str(node.config.stash[_FOLDER])


@pytest.fixture
def open_bucket(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str], Bucket]:
    """Return a function from a kind of server to a new bucket there."""

    def opened(kind: str) -> Bucket:
        server = endpoint_of(kind, pytestconfig.stash[_FOLDER])
        name = f"t{uuid.uuid4().hex[:20]}"
        create_bucket(kind, server, name)
        env = credentials(kind, server, tmp_path)
        for variable in [one for one in os.environ if one.startswith(FOREIGN)]:
            monkeypatch.delenv(variable)
        for variable, value in env.items():
            monkeypatch.setenv(variable, value)
        return Bucket(kind, name, endpoint=server, server=server, env=env)

    return opened


@pytest.fixture
def bucket(request: pytest.FixtureRequest, open_bucket: Callable[[str], Bucket]) -> Bucket:
    """Return a bucket of the kind that the test's parameter names."""
    return open_bucket(request.param)


@pytest.fixture
def s3(open_bucket: Callable[[str], Bucket]) -> Bucket:
    return open_bucket("seaweedfs")


@pytest.fixture
def azure(open_bucket: Callable[[str], Bucket]) -> Bucket:
    return open_bucket("azurite")


@pytest.fixture
def gcs(open_bucket: Callable[[str], Bucket]) -> Bucket:
    return open_bucket("gcs")


@pytest.fixture
def moto(open_bucket: Callable[[str], Bucket]) -> Bucket:
    return open_bucket("moto")


@pytest.fixture
def rclone(open_bucket: Callable[[str], Bucket]) -> Bucket:
    return open_bucket("rclone")
