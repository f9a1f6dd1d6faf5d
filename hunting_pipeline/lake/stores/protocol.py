"""The operations that a lake needs of a store: few enough that a folder and an object store both offer them.

A put is all or nothing: a reader sees the old object or the new one, and a failed put keeps the old one.
A put is also a compare-and-swap: it replaces the object only if the object has the expected version.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Literal, Protocol

import pyarrow.fs as pafs

from hunting_pipeline.errors import CommitRefused

__all__ = ["ABSENT", "ANY", "Conflict", "Entry", "Expected", "Store", "refuse_conflict"]


class _Expectation(Enum):
    """What a put may find in the place of an object, other than one version."""

    ANY = "any"
    ABSENT = "absent"


ANY: Final = _Expectation.ANY
"""Put the object whether there is one or not."""
ABSENT: Final = _Expectation.ABSENT
"""Put the object only if there is none."""

Expected = str | Literal[_Expectation.ANY, _Expectation.ABSENT]
"""The version that a put replaces, or `ABSENT`, or `ANY`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a store.

    Attributes:
        path: relative to the root, with forward slashes.
        size: bytes.
        version: differs whenever the object was replaced; only compared for equality.
    """

    path: str
    size: int
    version: str


class Conflict(CommitRefused):
    """The object does not have the version that the put expected. The object was not replaced."""


class Store(Protocol):
    """Objects under one root, addressed by relative paths with forward slashes.

    Raises:
        Misconfigured: the store is full, or cannot be used; the message names the store.
    """

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The root as an Arrow file system, for reading."""

    def uri(self, path: str = "") -> str:
        """Return the location of an object, or of the root, as people and other programs name it."""

    def get(self, path: str) -> bytes | None:
        """Return the whole object, or None if there is none."""

    def stat(self, path: str) -> Entry | None:
        """Return size and version of an object, or None if there is none."""

    def list(self, folder: str) -> Sequence[Entry]:
        """List the objects anywhere under a folder, sorted by path; none if the folder does not exist."""

    def put(self, path: str, data: bytes, *, expected: Expected = ANY) -> str:
        """Create or replace an object, and return its new version.

        Raises:
            Conflict: the present version is not `expected`.
        """

    def put_file(self, path: str, write: Callable[[Path], None], *, expected: Expected = ANY) -> str:
        """Create or replace an object by the local file that `write` fills, and return its new version.

        If `write` raises, the object stays as it is.

        Raises:
            Conflict: the present version is not `expected`.
        """

    def delete(self, path: str) -> None:
        """Remove an object. Nothing happens if there is none."""

    def prove_writable(self, path: str) -> None:
        """Check that an object can be put here, without a trace."""

    def lock(self, path: str) -> AbstractContextManager[None]:
        """Hold an exclusive lock by this name, shared by all who use the store. Wait until it is free."""


def refuse_conflict(path: str, present: str | None, expected: Expected) -> None:
    """Compare the version of an object with the version that a put expects.

    Args:
        path: of the object.
        present: its version; None if there is none.
        expected: what the put may replace.

    Raises:
        Conflict: they differ.
    """
    if expected is not ANY and present != (None if expected is ABSENT else expected):
        raise Conflict(f"another run changed {path} in the meantime; that change stays. Run again")
