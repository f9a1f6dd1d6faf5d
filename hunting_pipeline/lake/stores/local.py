"""A lake in a local or mounted folder: temporary file, fsync, rename, fsync of the folder.

Temporary files are in a separate folder, so a table's folder holds only Parquet files. Each temporary file
has a lock file, and its writer holds this lock. If the lock is free, the writer was killed. The first put of
every store removes the temporary files of killed writers.
"""

import errno
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import urlsplit
from urllib.request import url2pathname
from uuid import uuid4

import pyarrow.fs as pafs
from filelock import FileLock, Timeout

from hunting_pipeline.errors import Misconfigured, setting
from hunting_pipeline.lake.layout import OWN_FOLDER
from hunting_pipeline.lake.stores.protocol import ANY, Entry, Expected, Store, refuse_conflict
from hunting_pipeline.private_files import create, file_mode, make_folders

__all__ = ["LocalStore", "open_at"]

_TEMPORARY = f"{OWN_FOLDER}/temporary"

_FOLDER_SECONDS = 10.0
"""Seconds in which a lock's folder is created again and again while other runs remove it."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNUSABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV),
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.ENOLCK, errno.EOPNOTSUPP),  # a mounted folder without locks
}

_log = logging.getLogger(__name__)


def open_at(location: str) -> Store:
    """Open a folder by its path or its `file://` URL."""
    if location.lower().startswith("file://"):
        location = url2pathname(urlsplit(location).path)
    return LocalStore(Path(location))


class LocalStore:
    """A folder of a local or mounted disk, see `Store`."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._swept = False

    @property
    def filesystem(self) -> pafs.FileSystem:
        return pafs.SubTreeFileSystem(str(self._root), pafs.LocalFileSystem())

    def uri(self, path: str = "") -> str:
        return str(self._root / path)

    def get(self, path: str) -> bytes | None:
        with self._explaining():
            try:
                return (self._root / path).read_bytes()
            except FileNotFoundError:
                return None

    def stat(self, path: str) -> Entry | None:
        with self._explaining():
            try:
                found = (self._root / path).stat()
            except FileNotFoundError:
                return None
            return Entry(path, found.st_size, _version(found))

    def list(self, folder: str) -> Sequence[Entry]:
        with self._explaining():
            return sorted(self._walk(folder), key=lambda entry: entry.path)

    def _walk(self, folder: str) -> Iterator[Entry]:
        try:
            found = [*os.scandir(self._root / folder)]
        except FileNotFoundError:
            return
        for entry in found:
            path = f"{folder}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(path)
            elif entry.is_file() and (present := self.stat(path)) is not None:
                yield present

    def put(self, path: str, data: bytes, *, expected: Expected = ANY) -> str:
        def write(temporary: Path) -> None:
            temporary.write_bytes(data)

        return self.put_file(path, write, expected=expected)

    def put_file(self, path: str, write: Callable[[Path], None], *, expected: Expected = ANY) -> str:
        target = self._root / path
        with self._explaining():
            self._make_folder(target.parent)
            with self._temporary_file() as temporary:
                write(temporary)
                version = _version(temporary.stat())
                _sync_file(temporary)
                present = self.stat(path)
                refuse_conflict(path, present.version if present else None, expected)
                temporary.replace(target)
                _sync_folder(target.parent)
                return version

    def delete(self, path: str) -> None:
        with self._explaining():
            (self._root / path).unlink(missing_ok=True)

    def prove_writable(self, path: str) -> None:
        with self._explaining():
            devices = {self._device_written(place) for place in (path, f"{_TEMPORARY}/file")}
            if len(devices) > 1:  # a file cannot be renamed into another file system
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def _device_written(self, path: str) -> int:
        """Write into the nearest folder that exists, without a trace, and return its device."""
        nearest = next(folder for folder in (self._root / path).parents if os.path.lexists(folder))
        with TemporaryFile(dir=nearest, buffering=0) as file:
            file.write(b"\n")
            return os.fstat(file.fileno()).st_dev

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        file = self._root / path
        with self._explaining():
            lock, created = self._acquire(file)
        try:
            yield
        finally:
            _leave_no_trace(file, created)
            lock.release()

    def _acquire(self, file: Path) -> tuple[FileLock, Sequence[Path]]:
        """Acquire a lock. Return it with the folders that were created for its file, deepest first."""
        timeout, deadline = 0, time.monotonic() + _FOLDER_SECONDS
        while True:
            try:
                created = self._make_folder(file.parent)
                lock = FileLock(file, mode=file_mode(self._root))
                lock.acquire(timeout=timeout)
            except Timeout:
                timeout = -1
                _log.warning(
                    "another run writes %s into the lake %s; waiting until it ends", file.stem, self._root
                )
            except (FileNotFoundError, FileExistsError):
                # another run that wrote nothing has just removed the folder again
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.001)
            else:
                return lock, created

    @contextmanager
    def _temporary_file(self) -> Iterator[Path]:
        """Create a temporary file, and hold its lock until the file is renamed or removed."""
        folder = self._root / _TEMPORARY
        self._make_folder(folder)
        self._sweep(folder)
        temporary = folder / f"{uuid4().hex}.tmp"
        lock = FileLock(temporary.with_suffix(".lock"), mode=file_mode(self._root))
        with suppress(OSError):  # on a file system without locks, temporary files are never removed
            lock.acquire()
        try:
            create(temporary, root=self._root)
            yield temporary
        finally:
            _remove_with_lock(temporary, lock)

    def _sweep(self, folder: Path) -> None:
        """Remove the temporary files of killed writers, once per store."""
        if self._swept:
            return
        self._swept = True
        for leftover in {file.with_suffix(".tmp") for file in folder.iterdir()}:
            lock = FileLock(leftover.with_suffix(".lock"), mode=file_mode(self._root))
            with suppress(OSError, Timeout):  # the writer is alive
                lock.acquire(timeout=0)
                _remove_with_lock(leftover, lock)

    def _make_folder(self, folder: Path) -> Sequence[Path]:
        """Create a folder that survives a power cut, and return all created folders, deepest first."""
        created = make_folders(folder, root=self._root)
        for path in created:
            _sync_folder(path.parent)
        return created

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise Misconfigured(
                    f"the disk of the lake {self._root} is full ({error.strerror})."
                    " All committed partitions are unchanged. Free some space and run again"
                ) from error
            if error.errno in _UNUSABLE:
                raise Misconfigured(
                    f"the lake {self._root} cannot be used ({error.strerror})."
                    f" Change {setting('lake')}, or the permissions of this folder"
                ) from error
            raise


def _version(found: os.stat_result) -> str:
    return f"{found.st_size}-{found.st_mtime_ns}"


def _remove_with_lock(temporary: Path, lock: FileLock) -> None:
    """Remove a temporary file, if it exists, and then its lock."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
    with suppress(OSError):  # filelock tries again if the file was removed while it waited
        temporary.with_suffix(".lock").unlink(missing_ok=True)
    lock.release()


def _leave_no_trace(file: Path, created: Sequence[Path]) -> None:
    """Remove a lock's file and its new folders if the lake was new and the run wrote nothing into the lake.

    In an existing lake, the lock's file stays: on NFS it is unsafe to remove the file of a lock.
    """
    if file.parent.parent not in created:
        return
    if any(path != file and path.is_file() for path in created[-1].rglob("*")):
        return
    with suppress(OSError):
        file.unlink()
        for folder in created:
            folder.rmdir()


def _sync_file(path: Path) -> None:
    """Make a file's content survive a power cut."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make a folder's entries survive a power cut, on platforms that can open a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
