"""An S3 server for benchmarks: SeaweedFS on the loopback address, started like the servers of the tests."""

import fcntl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from object_servers.buckets import Bucket, credentials
from object_servers.servers import endpoint_of
from object_servers.signing import create_bucket

__all__ = ["s3_lake"]


@contextmanager
def s3_lake() -> Iterator[dict[str, str]]:
    """Start a server with a new bucket. Yields the variables of a lake in it; the server ends afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="object-servers-"))
    with (folder / "run.lock").open("w") as lock:  # the server lives as long as this lock is held
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = endpoint_of("seaweedfs", folder)
        name = f"b{uuid4().hex[:20]}"
        create_bucket("seaweedfs", server, name)
        env = credentials("seaweedfs", server, folder)
        yield Bucket("seaweedfs", name, endpoint=server, server=server, env=env).variables
