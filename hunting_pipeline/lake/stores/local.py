"""A lake in a local or mounted folder: temporary file, fsync, rename, fsync of the folder.

A put that expects a version compares and renames under one lock inside the lake. So all processes,
containers, machines and users that share the folder share the lock.

Temporary files are in a separate folder, so a table's folder holds only Parquet files.
"""

import errno
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pyarrow.fs as pafs
from filelock import BaseFileLock, Timeout

from hunting_pipeline.errors import LakeBusy, Misconfigured, setting
from hunting_pipeline.lake.layout import OWN_FOLDER
from hunting_pipeline.lake.location import StoreOptions
from hunting_pipeline.lake.stores import mounts
from hunting_pipeline.lake.stores.locks import clear_holder, holder_of, new_lock, write_holder
from hunting_pipeline.lake.stores.protocol import (
    ABSENT,
    ANY,
    Entry,
    Expected,
    Store,
    refuse_conflict,
)
from hunting_pipeline.lake.stores.temporary import TemporaryFiles
from hunting_pipeline.private_files import make_folders

__all__ = ["LocalStore", "open_at"]

_TEMPORARY = f"{OWN_FOLDER}/temporary"

_SWAP_LOCK = f"{OWN_FOLDER}/locks/files"
"""The lock of all puts that expect a version."""

_SWAP_SECONDS = 60.0
"""Longest wait for another put. Each put holds the lock for a few file operations only."""

_FILE_SUFFIX = ".parquet"
_AFTER_SLASH = chr(ord("/") + 1)

_FOLDER_SECONDS = 10.0
"""Seconds in which a lock's folder is created again and again while other runs remove it."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNUSABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EXDEV),
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS),  # a mounted folder without locks
}
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}

_log = logging.getLogger(__name__)


def open_at(location: str, options: StoreOptions) -> Store:
    """Open a folder by its path or its `file://` URL. No option applies to folders."""
    del options
    if location.lower().startswith("file://"):
        location = url2pathname(urlsplit(location).path)
    return LocalStore(Path(location))


class LocalStore:
    """A folder of a local or mounted disk, see `Store` and `LockingStore`."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._temporary = TemporaryFiles(self._root / _TEMPORARY, root=self._root)
        self._checked = False

    @property
    def filesystem(self) -> pafs.FileSystem:
        return pafs.SubTreeFileSystem(str(self._root), pafs.LocalFileSystem())

    def filesystem_of(self, entries: Iterable[Entry]) -> pafs.FileSystem:
        del entries  # an open file keeps its content
        return self.filesystem

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

    def get_all(self, entries: Iterable[Entry]) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for entry in entries:
            with suppress(OSError):
                found[entry.path] = (self._root / entry.path).read_bytes()
        return found

    def list(self, folder: str, *, start: str = "", end: str = "") -> Sequence[Entry]:
        with self._explaining():
            return sorted(self._walk(folder, start, end), key=lambda entry: entry.path)

    def folders(self, folder: str) -> Sequence[str]:
        with self._explaining():
            return sorted(entry.name for entry in self._scan(folder) if entry.is_dir())

    def _scan(self, folder: str) -> Sequence[os.DirEntry[str]]:
        try:
            with os.scandir(self._root / folder) as found:
                return [*found]
        except FileNotFoundError:
            return ()

    def _walk(self, folder: str, start: str, end: str, *, linked: bool = False) -> Iterator[Entry]:
        """Yield the objects. A folder that has a file's name counts as an object: it is in a file's place.

        At most one link on a path is followed, so links that form a circle do no harm.
        """
        for entry in self._scan(folder):
            path = f"{folder}/{entry.name}"
            # all paths below this one are greater than `path` and smaller than `after`
            after = f"{path}{_AFTER_SLASH}"
            if (end and path >= end) or after <= start:
                continue
            is_link = entry.is_symlink()
            if entry.is_dir(follow_symlinks=not linked):
                if path.endswith(_FILE_SUFFIX) and path >= start:
                    yield self._entry(path, entry)
                yield from self._walk(path, start, end, linked=linked or is_link)
            elif path >= start and entry.is_file():
                with suppress(FileNotFoundError):
                    yield self._entry(path, entry)

    def _entry(self, path: str, entry: os.DirEntry[str]) -> Entry:
        found = entry.stat()
        return Entry(path, found.st_size, _version(found))

    def put(self, path: str, data: bytes, *, expected: Expected = ANY) -> str:
        def write(temporary: Path) -> None:
            temporary.write_bytes(data)

        return self.put_file(path, write, expected=expected)

    def put_file(self, path: str, write: Callable[[Path], None], *, expected: Expected = ANY) -> str:
        target = self._root / path
        with self._explaining():
            self._refuse_object_store()
            self._make_folder(target.parent)
            self._make_folder(self._root / _TEMPORARY)
            with self._temporary.new() as temporary:
                write(temporary)
                _sync_file(temporary)
                with suppress(OSError):  # an empty folder that has the object's path
                    target.rmdir()
                if expected is ANY:
                    version = _version(temporary.stat())
                    temporary.replace(target)
                else:
                    with self.lock(_SWAP_LOCK, max_wait=_SWAP_SECONDS):
                        version = _swap(temporary, target, path, expected)
                _sync_folder(target.parent)
                return version

    @contextmanager
    def local_file(self, path: str, *, version: str) -> Iterator[Path]:
        del version  # a commit checks the version again, under the lock of the swap
        yield self._root / path

    def delete(self, path: str) -> None:
        with self._explaining():
            (self._root / path).unlink(missing_ok=True)

    def prove_writable(self, path: str) -> None:
        with self._explaining():
            self._refuse_object_store()
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
    def lock(self, path: str, *, max_wait: float) -> Iterator[None]:
        file = self._root / path
        with self._explaining():
            self._refuse_object_store()
            lock, created = self._acquire(file, max_wait)
        try:
            write_holder(file)
            yield
        finally:
            clear_holder(file)
            _leave_no_trace(file, created)
            lock.release()

    def _acquire(self, file: Path, max_wait: float) -> tuple[BaseFileLock, Sequence[Path]]:
        """Acquire a lock. Return it with the folders that were created for its file, deepest first."""
        timeout, deadline = 0.0, time.monotonic() + _FOLDER_SECONDS
        while True:
            try:
                created = self._make_folder(file.parent)
                lock = new_lock(file, lake=self._root)
                lock.acquire(timeout=timeout)
            except Timeout as error:
                if timeout >= max_wait:
                    raise LakeBusy(
                        f"another run still writes {file.stem} into the lake {self._root} after"
                        f" {max_wait:.0f} seconds ({holder_of(file)}). No file was replaced. Run again when"
                        " that run has ended"
                    ) from error
                timeout = max_wait
                _log.warning(
                    "another run writes %s into the lake %s; waiting up to %.0f seconds until it ends (%s)",
                    *(file.stem, self._root, max_wait, holder_of(file)),
                )
            except (FileNotFoundError, FileExistsError):
                # another run that wrote nothing has just removed the folder again
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.001)
            else:
                return lock, created

    def _make_folder(self, folder: Path) -> Sequence[Path]:
        """Create a folder that survives a power cut, and return all created folders, deepest first."""
        created = make_folders(folder, root=self._root)
        for path in created:
            _sync_folder(path.parent)
        return created

    def _refuse_object_store(self) -> None:
        if self._checked:
            return
        text = mounts.MOUNTS.read_text(errors="replace") if mounts.MOUNTS.exists() else ""
        if program := mounts.object_store_at(self._root.resolve(), text):
            raise Misconfigured(
                f"the lake {self._root} is an object store that {program} mounts. Such a mount has no locks,"
                " so two runs could replace each other's rows. No data was written. Set"
                f" {setting('lake')} to a folder on a disk or on NFS"
            )
        self._checked = True

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
                    f"the lake {self._root} cannot be used ({_reason(error)})."
                    f" Change {setting('lake')}, or the permissions of this folder"
                ) from error
            raise


def _version(found: os.stat_result) -> str:
    return f"{found.st_size}-{found.st_mtime_ns}"


def _reason(error: OSError) -> str:
    """Return the reason of the system, and the file if it is known."""
    reason = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
    return f"{error.filename}: {reason}" if error.filename else str(reason)


def _swap(temporary: Path, target: Path, path: str, expected: Expected) -> str:
    """Rename a file to `target` if the present file has the expected version. Return the new version.

    The present file is opened, because NFS asks its server for the state of a file when the file is opened.
    """
    try:
        with target.open("rb") as file:
            present = os.fstat(file.fileno())
    except FileNotFoundError:
        refuse_conflict(path, None, expected)
        return _create(temporary, target, path)
    refuse_conflict(path, _version(present), expected)
    _make_newer(temporary, present)
    version = _version(temporary.stat())
    temporary.replace(target)
    return version


def _create(temporary: Path, target: Path, path: str) -> str:
    """Rename a file to `target`, which must not exist.

    A hard link is refused by the server, even if this machine does not see the present file yet.
    """
    version = _version(temporary.stat())
    try:
        os.link(temporary, target)
    except FileExistsError:
        refuse_conflict(path, "", ABSENT)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        temporary.replace(target)
    return version


def _make_newer(path: Path, replaced: os.stat_result) -> None:
    """Make a file newer than the file that it replaces, so no version of a path occurs twice.

    Clocks go back, and some file systems only store whole seconds.
    """
    for step in (1, 1_000, 1_000_000, 2_000_000_000):
        if path.stat().st_mtime_ns > replaced.st_mtime_ns:
            return
        later = replaced.st_mtime_ns + step
        os.utime(path, ns=(later, later))


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
