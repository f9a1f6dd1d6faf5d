"""The few file operations a lake needs, so that object stores can offer them too.

A put is all or nothing: a reader sees the old object or the new one, and a failed put leaves the old one.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol
from uuid import uuid4

import pyarrow as pa
import pyarrow.fs as pafs

from hunting_pipeline.errors import CommitRefused, Misconfigured

__all__ = ["LocalStore", "Store", "opened"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNUSABLE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG),
}


class Store(Protocol):
    """Objects under one root, addressed by relative paths with forward slashes.

    Raises:
        Misconfigured: the store is full, or cannot be used; the message names it.
    """

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The root as Arrow reads it."""

    def get(self, path: str) -> bytes | None:
        """The whole object, or None if there is none."""

    def put(self, path: str, data: bytes) -> None:
        """Replace an object, or create it."""

    def put_file(self, path: str) -> AbstractContextManager[Path]:
        """A local file to write; it replaces the object when the context ends without an error."""

    def prove_writable(self, path: str) -> None:
        """Make sure that an object could be put here; leaves no trace."""

    def size(self, path: str) -> int | None:
        """Bytes of an object, or None if there is none."""

    def version(self, path: str) -> str | None:
        """What differs whenever an object was replaced, or None if there is none."""

    def find(self, folder: str, ending: str) -> list[str]:
        """Paths of the objects anywhere under a folder whose names end so, sorted."""

    def list(self, folder: str) -> list[str]:
        """Paths of the objects right under a folder, sorted; none if the folder does not exist."""

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens if there is none."""


class LocalStore:
    """A folder of the local disk: temporary file, fsync, rename, fsync of the folders.

    A writer holds a lock on its temporary file. So what a killed process left behind is told from what
    another one is writing, and swept by the next put into the same folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._swept: set[Path] = set()

    @property
    def filesystem(self) -> pafs.FileSystem:
        return pafs.SubTreeFileSystem(str(self.root), pafs.LocalFileSystem())

    def get(self, path: str) -> bytes | None:
        with self._explaining():
            try:
                return (self.root / path).read_bytes()
            except FileNotFoundError:
                return None

    def put(self, path: str, data: bytes) -> None:
        with self.put_file(path) as temporary:
            temporary.write_bytes(data)

    @contextmanager
    def put_file(self, path: str) -> Iterator[Path]:
        target = self.root / path
        # readers match *.parquet, so a leftover of a killed process is invisible to them
        temporary = target.with_name(f"_{uuid4().hex}.tmp")
        with self._explaining():
            _make_folder(target.parent)
            self._sweep(target.parent)
            try:
                with temporary.open("xb") as lock:
                    with suppress(OSError):  # a file system without locks is never swept
                        fcntl.flock(lock, fcntl.LOCK_EX)
                    yield temporary
                    _sync(temporary)
                    temporary.replace(target)
                    _sync(target.parent)
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def prove_writable(self, path: str) -> None:
        with self._explaining():
            nearest = next(folder for folder in (self.root / path).parents if os.path.lexists(folder))
            with TemporaryFile(dir=nearest, buffering=0) as file:
                file.write(b"\n")

    def size(self, path: str) -> int | None:
        with self._explaining():
            try:
                return (self.root / path).stat().st_size
            except FileNotFoundError:
                return None

    def version(self, path: str) -> str | None:
        with self._explaining():
            try:
                found = (self.root / path).stat()
            except FileNotFoundError:
                return None
            return f"{found.st_size}-{found.st_mtime_ns}"

    def find(self, folder: str, ending: str) -> list[str]:
        with self._explaining():
            found = (self.root / folder).rglob(f"*{ending}")
            return sorted(path.relative_to(self.root).as_posix() for path in found if path.is_file())

    def list(self, folder: str) -> list[str]:
        with self._explaining():
            try:
                names = sorted(entry.name for entry in (self.root / folder).iterdir() if entry.is_file())
            except FileNotFoundError:
                return []
        return [f"{folder}/{name}" for name in names]

    def delete(self, path: str) -> None:
        with self._explaining():
            (self.root / path).unlink(missing_ok=True)

    def _sweep(self, folder: Path) -> None:
        """Remove what killed writers left in a folder; once for each folder is enough."""
        if folder in self._swept:
            return
        self._swept.add(folder)
        for leftover in folder.glob("_*.tmp"):
            with suppress(OSError), leftover.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise Misconfigured(
                    f"the disk of the lake {self.root} is full ({error.strerror});"
                    " what was there before is intact"
                ) from error
            if error.errno in _UNUSABLE:
                raise Misconfigured(
                    f"the lake {self.root} cannot be used ({error.strerror}):"
                    " change HUNTING_LAKE, or the rights of that folder"
                ) from error
            raise


@contextmanager
def opened(store: Store, path: str) -> Iterator[pa.NativeFile]:
    """An archived file, to be read as Arrow reads it.

    Raises:
        CommitRefused: it is damaged, or may not be read.
    """
    try:
        with store.filesystem.open_input_file(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise CommitRefused(
            f"{path} cannot be read ({error}); it is left as it is."
            " Move it away to archive that partition anew"
        ) from error


def _make_folder(folder: Path) -> None:
    """Create a folder whose existence survives a power cut."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync(path.parent)


def _sync(path: Path) -> None:
    """Make a file or a folder's entries survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
