"""The few file operations a lake needs, so that object stores can offer them too.

A put is all or nothing: a reader sees the old object or the new one, and a failed put leaves the old one.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pyarrow.fs as pafs

from hunting_pipeline.errors import Misconfigured

__all__ = ["LocalStore", "Store"]


class Store(Protocol):
    """Objects under one root, addressed by relative paths with forward slashes."""

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The root as Arrow reads it."""

    def get(self, path: str) -> bytes | None:
        """The whole object, or None if there is none."""

    def put(self, path: str, data: bytes) -> None:
        """Replace an object, or create it."""

    def put_file(self, path: str) -> AbstractContextManager[Path]:
        """A local file to write; it replaces the object when the context ends without an error."""

    def size(self, path: str) -> int | None:
        """Bytes of an object, or None if there is none."""

    def list(self, folder: str) -> list[str]:
        """Paths of the objects right under a folder, sorted; none if the folder does not exist."""

    def delete(self, path: str) -> None:
        """Remove an object; nothing happens if there is none."""


class LocalStore:
    """A folder of the local disk: temporary file, fsync, rename, fsync of the folder.

    Raises:
        Misconfigured: the disk is full or the folder cannot be written; the message names it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def filesystem(self) -> pafs.FileSystem:
        return pafs.SubTreeFileSystem(str(self.root), pafs.LocalFileSystem())

    def get(self, path: str) -> bytes | None:
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
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            _sync(temporary)
            temporary.replace(target)
            _sync(target.parent)
        except OSError as error:
            raise self._explained(error) from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def size(self, path: str) -> int | None:
        try:
            return (self.root / path).stat().st_size
        except FileNotFoundError:
            return None

    def list(self, folder: str) -> list[str]:
        try:
            names = sorted(entry.name for entry in (self.root / folder).iterdir() if entry.is_file())
        except FileNotFoundError:
            return []
        return [f"{folder}/{name}" for name in names]

    def delete(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    def _explained(self, error: OSError) -> Exception:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Misconfigured(f"the disk of the lake {self.root} is full; what was there before is intact")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            return Misconfigured(
                f"the lake {self.root} cannot be written ({error.strerror}):"
                " change HUNTING_LAKE, or the rights of that folder"
            )
        return error


def _sync(path: Path) -> None:
    """Make a file or a folder's entries survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
