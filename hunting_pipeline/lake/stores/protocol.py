"""The operations that a lake needs from a store: few operations, which folders and object stores both offer.

A put is atomic: a reader sees the old object or the new object, and a failed put keeps the old object. A put
is also a compare-and-swap: it replaces the object only if the object has the expected version. Either all
puts of a path expect a version, or all of them expect `ANY`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Literal, Protocol, runtime_checkable

import pyarrow.fs as pafs

from hunting_pipeline.errors import CommitRefused

__all__ = [
    "ABSENT",
    "ANY",
    "Conflict",
    "Entry",
    "Expected",
    "LockingStore",
    "Store",
    "read_current",
    "refuse_conflict",
]


class _Expectation(Enum):
    """The expectations of a put that are not one version."""

    ANY = "any"
    ABSENT = "absent"


ANY: Final = _Expectation.ANY
"""Put the object in any case."""
ABSENT: Final = _Expectation.ABSENT
"""Put the object only if it does not exist."""

Expected = str | Literal[_Expectation.ANY, _Expectation.ABSENT]
"""The version that a put replaces, or `ABSENT`, or `ANY`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a store.

    Attributes:
        path: path relative to the root, with forward slashes.
        size: size in bytes.
        version: changes with every put of the object; only compared for equality.
    """

    path: str
    size: int
    version: str


class Conflict(CommitRefused):
    """The object does not have the version that the put expected. The object was not replaced."""


class Store(Protocol):
    """Objects under one root, with relative paths and forward slashes.

    Raises:
        Misconfigured: the store is full or cannot be used. The message names the store.
    """

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The root as an Arrow file system, for reading."""

    def filesystem_of(self, entries: Iterable[Entry]) -> pafs.FileSystem:
        """Return the root as an Arrow file system that reads these objects, each in this version.

        A folder reads the present version. In an object store, reading raises `Conflict` if the object has
        another version now.
        """

    def uri(self, path: str = "") -> str:
        """Return the location of an object or of the root, for messages and other programs."""

    def get(self, path: str) -> bytes | memoryview | None:
        """Return the content of an object; None if it does not exist."""

    def stat(self, path: str) -> Entry | None:
        """Return size and version of an object; None if it does not exist."""

    def get_all(self, entries: Iterable[Entry]) -> Mapping[str, bytes]:
        """Return the contents of listed objects, by path. Objects that cannot be read are left out.

        A store may return a content from its cache, if the content has the version of the entry.
        """

    def list(self, folder: str, *, start: str = "", end: str = "") -> Sequence[Entry]:
        """List the objects below a folder, sorted by path; none if the folder does not exist.

        Without limits, these are all objects. What lies outside the limits costs nothing.

        Args:
            folder: path of the folder.
            start: smallest path; empty for no limit.
            end: all paths are smaller than this one; empty for no limit.
        """

    def folders(self, folder: str) -> Sequence[str]:
        """Return the sorted names of the folders in a folder; none if the folder does not exist."""

    def put(self, path: str, data: bytes, *, expected: Expected = ANY) -> str:
        """Create or replace an object, and return its new version.

        If two writers put the same content, both may succeed: the content decides, and not the writer.

        Raises:
            Conflict: the present version is not `expected`, and the present content is another one.
        """

    def put_file(self, path: str, write: Callable[[Path], None], *, expected: Expected = ANY) -> str:
        """Create or replace an object with the local file that `write` fills, and return its new version.

        If `write` raises, the object stays as it is.

        Raises:
            Conflict: the present version is not `expected`.
        """

    def local_file(self, path: str, *, version: str) -> AbstractContextManager[Path]:
        """Open an object as a local file, to read the object several times.

        Raises:
            Conflict: the store no longer has this version.
        """

    def delete(self, path: str) -> None:
        """Remove an object, if it exists."""

    def prove_writable(self, path: str) -> None:
        """Check that an object can be put at this path. Leaves no file behind."""


@runtime_checkable
class LockingStore(Protocol):
    """A store with locks that all its users share. A folder has such locks, an object store has none."""

    def lock(self, path: str, *, max_wait: float) -> AbstractContextManager[None]:
        """Wait for the exclusive lock at this path, and hold it.

        Raises:
            LakeBusy: another run holds the lock for longer than `max_wait` seconds.
        """


def read_current(store: Store, path: str) -> tuple[Entry | None, bytes | None]:
    """Return an object and its content. The content is not fetched if the store has it in its cache.

    Both are None if the object does not exist. The content alone is None if it cannot be read.
    """
    entry = store.stat(path)
    return (entry, store.get_all([entry]).get(path)) if entry else (None, None)


def refuse_conflict(path: str, present: str | None, expected: Expected) -> None:
    """Compare the version of an object with the version that a put expects.

    Args:
        path: path of the object.
        present: the version of the object; None if it does not exist.
        expected: the version that the put expects.

    Raises:
        Conflict: the versions differ.
    """
    if expected is not ANY and present != (None if expected is ABSENT else expected):
        raise Conflict(f"another run changed {path} in the meantime; that change stays. Run again")
