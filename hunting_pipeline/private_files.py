"""New files and folders that only their user can read, unless the user shares their root folder with a group.

A root is shared if its group may write it or if its setgid bit is set, as in `chmod 2770` or `chmod 2750`.
New files and folders then get the group's rights on the root. Other users never get rights. Files that exist
keep their mode. The umask of the process is not changed, because it applies to all threads.
"""

import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["create", "file_mode", "make_folders", "share"]


def file_mode(root: Path) -> int:
    """Return the mode of a new file below a root: 600, and with the group's rights if the root is shared."""
    mode = root.stat().st_mode
    shared = mode & (stat.S_IWGRP | stat.S_ISGID)
    return 0o600 | (mode & 0o060 if shared else 0)


def share(path: Path, *, root: Path) -> None:
    """Give the group of a shared root its rights on a new file or folder."""
    mode, new = file_mode(root), path.stat()
    if mode & 0o060 and new.st_gid == root.stat().st_gid:  # another group must not get the rights
        with suppress(OSError):  # some mounted folders have fixed modes
            path.chmod(0o2700 | root.stat().st_mode & 0o070 if path.is_dir() else mode)


def create(path: Path, *, root: Path) -> None:
    """Create an empty file below a root.

    Raises:
        FileExistsError: the file exists.
    """
    path.touch(mode=0o600, exist_ok=False)
    share(path, root=root)


def make_folders(folder: Path, *, root: Path) -> Sequence[Path]:
    """Create a folder and its parents, and return the folders that were created, deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        share(path, root=root if root.exists() else path)
    return missing
