"""Ends all servers of a test run when the run has ended, and removes their data.

python keeper.py FOLDER
"""

import contextlib
import fcntl
import os
import shutil
import signal
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Wait for the controller's lock. The kernel frees the lock even if the controller was killed."""
    with (folder / "run.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    for group in folder.glob("*.group"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(group.stem), signal.SIGKILL)
        for port in group.read_text().split():
            for sock in Path("/tmp").glob(
                f"seaweedfs-*-grpc-{port}.sock"
            ):  # SeaweedFS has no setting for them
                sock.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
