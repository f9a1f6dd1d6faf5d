"""Locks in files. A lock's file names its holder, so another run can say for whom it waits."""

import getpass
import os
import socket
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

__all__ = ["clear_holder", "holder_of", "new_lock", "write_holder"]

_LONGEST = 300
"""Most characters that a message quotes from a lock's file."""


def new_lock(file: Path, *, lake: Path) -> FileLock:
    """Return a lock that all writers of a lake can hold, and no one else: not even its readers.

    Only a class of users (owner, group, others) that may write the lake's folder may open the lock's file.
    """
    folder = lake.stat().st_mode
    mode = stat.S_IRUSR | stat.S_IWUSR
    for write, both in (
        (stat.S_IWGRP, stat.S_IRGRP | stat.S_IWGRP),
        (stat.S_IWOTH, stat.S_IROTH | stat.S_IWOTH),
    ):
        mode |= both if folder & write else 0
    return FileLock(file, mode=mode, fallback_to_soft=False)


def write_holder(file: Path) -> None:
    """Write this process into the file of a lock that it holds. Not possible on Windows."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(OSError):
        file.write_text(f"process {os.getpid()} of {_user()} on {socket.gethostname()}, since {since}\n")


def clear_holder(file: Path) -> None:
    """Empty the file of a lock before its release. The file of a killed holder stays as it is."""
    with suppress(OSError):
        os.truncate(file, 0)


def holder_of(file: Path) -> str:
    """Return the holder of a lock, as its file names it."""
    with suppress(OSError):
        if found := file.read_text(errors="replace")[:_LONGEST].strip():
            return found
    return "its process is unknown"


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"
