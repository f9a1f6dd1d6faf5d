"""Temporary files, and the removal of those that killed writers left behind.

Each temporary file has a lock file, and its writer holds this lock. If the lock is free, the writer was
killed. The first new file of every instance removes the files of killed writers.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import BaseFileLock, Timeout

from hunting_pipeline.lake.stores.locks import new_lock
from hunting_pipeline.private_files import create

__all__ = ["TemporaryFiles"]


class TemporaryFiles:
    """The temporary files in one folder.

    Args:
        folder: the folder, which must exist when a file is created.
        root: the folder whose mode decides who can read the files, see `private_files`.
    """

    def __init__(self, folder: Path, *, root: Path) -> None:
        self._folder = folder
        self._root = root
        self._swept = False

    @contextmanager
    def new(self) -> Iterator[Path]:
        """Create an empty file, and hold its lock until the file is renamed or removed."""
        self._sweep()
        temporary = self._folder / f"{uuid4().hex}.tmp"
        lock = new_lock(temporary.with_suffix(".lock"), lake=self._root)
        with suppress(OSError):  # on a file system without locks, temporary files are never removed
            lock.acquire()
        try:
            create(temporary, root=self._root)
            yield temporary
        finally:
            _remove_with_lock(temporary, lock)

    def _sweep(self) -> None:
        """Remove the temporary files of killed writers, once per instance."""
        if self._swept:
            return
        self._swept = True
        for leftover in {file.with_suffix(".tmp") for file in self._folder.iterdir()}:
            lock = new_lock(leftover.with_suffix(".lock"), lake=self._root)
            with suppress(OSError, Timeout):  # the writer is alive
                lock.acquire(timeout=0)
                _remove_with_lock(leftover, lock)


def _remove_with_lock(temporary: Path, lock: BaseFileLock) -> None:
    """Remove a temporary file, if it exists, and then its lock."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
    with suppress(OSError):  # filelock tries again if the file was removed while it waited
        temporary.with_suffix(".lock").unlink(missing_ok=True)
    lock.release()
