"""A store that counts the operations on another store, and keeps their paths."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from hunting_pipeline.lake.stores import ANY, Entry, Expected, Store


class CountingStore:
    """Operations on a store, in order: `read` and `listed` hold the paths. A read of many counts each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reset()

    def reset(self) -> None:
        """Forget all operations."""
        self.read: list[str] = []
        self.listed: list[str] = []
        self.looked_up: list[str] = []
        self.written: list[str] = []

    @property
    def filesystem(self) -> pafs.FileSystem:
        self.read.append("a file, by Arrow")
        return self._store.filesystem

    def uri(self, path: str = "") -> str:
        return self._store.uri(path)

    def get(self, path: str) -> bytes | None:
        self.read.append(path)
        return self._store.get(path)

    def get_all(self, entries: Iterable[Entry]) -> Mapping[str, bytes]:
        entries = [*entries]
        self.read += [entry.path for entry in entries]
        return self._store.get_all(entries)

    def stat(self, path: str) -> Entry | None:
        self.looked_up.append(path)
        return self._store.stat(path)

    def list(self, folder: str, *, start: str = "", end: str = "") -> Sequence[Entry]:
        self.listed.append(folder)
        return self._store.list(folder, start=start, end=end)

    def folders(self, folder: str) -> Sequence[str]:
        self.listed.append(folder)
        return self._store.folders(folder)

    def put(self, path: str, data: bytes, *, expected: Expected = ANY) -> str:
        self.written.append(path)
        return self._store.put(path, data, expected=expected)

    def put_file(self, path: str, write: Callable[[Path], None], *, expected: Expected = ANY) -> str:
        self.written.append(path)
        return self._store.put_file(path, write, expected=expected)

    def delete(self, path: str) -> None:
        self.written.append(path)
        self._store.delete(path)

    def prove_writable(self, path: str) -> None:
        self._store.prove_writable(path)

    def local_file(self, path: str, *, version: str) -> AbstractContextManager[Path]:
        self.read.append(path)
        return self._store.local_file(path, version=version)

    def __getattr__(self, name: str) -> Any:
        """Return the `lock` of the store, if the store has locks."""
        return getattr(self._store, name)
