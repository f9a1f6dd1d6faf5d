"""A store in memory. It proves that a whole pull needs only the protocol of stores."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pyarrow.fs as pafs
from fsspec.implementations.memory import MemoryFileSystem

from hunting_pipeline.lake.stores import ANY, Entry, Expected
from hunting_pipeline.lake.stores.protocol import refuse_conflict


class MemoryStore:
    """Objects in the memory of this process. Versions are numbers in the order of puts.

    It has no locks, like an object store.
    """

    def __init__(self) -> None:
        self._files = MemoryFileSystem()
        self._root = f"/{uuid4().hex}"
        self._entries: dict[str, Entry] = {}
        self._numbers = count(1)
        self._swap = threading.Lock()

    @property
    def filesystem(self) -> pafs.FileSystem:
        return pafs.SubTreeFileSystem(self._root, pafs.PyFileSystem(pafs.FSSpecHandler(self._files)))

    def filesystem_of(self, entries: Iterable[Entry]) -> pafs.FileSystem:
        return self.filesystem

    def uri(self, path: str = "") -> str:
        return f"memory:/{self._root}/{path}"

    def get(self, path: str) -> bytes | None:
        return bytes(self._files.cat_file(f"{self._root}/{path}")) if path in self._entries else None

    def stat(self, path: str) -> Entry | None:
        return self._entries.get(path)

    def get_all(self, entries: Iterable[Entry]) -> Mapping[str, bytes]:
        found = {entry.path: self.get(entry.path) for entry in entries}
        return {path: data for path, data in found.items() if data is not None}

    def list(self, folder: str, *, start: str = "", end: str = "") -> Sequence[Entry]:
        paths = sorted(path for path in self._entries if path.startswith(f"{folder}/"))
        asked = [path for path in paths if start <= path and (not end or path < end)]
        return [entry for path in asked if (entry := self.stat(path))]

    def folders(self, folder: str) -> Sequence[str]:
        below = [path.removeprefix(f"{folder}/") for path in self._entries if path.startswith(f"{folder}/")]
        return sorted({path.partition("/")[0] for path in below if "/" in path})

    def put(self, path: str, data: bytes, *, expected: Expected = ANY) -> str:
        with self._swap:
            present = self._entries.get(path)
            refuse_conflict(path, present.version if present else None, expected)
            self._files.pipe_file(f"{self._root}/{path}", data)
            self._entries[path] = Entry(path, len(data), str(next(self._numbers)))
            return self._entries[path].version

    def put_file(self, path: str, write: Callable[[Path], None], *, expected: Expected = ANY) -> str:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "spool"
            file.touch()
            write(file)
            return self.put(path, file.read_bytes(), expected=expected)

    @contextmanager
    def local_file(self, path: str, *, version: str) -> Iterator[Path]:
        with TemporaryDirectory() as folder:
            with self._swap:
                present = self._entries.get(path)
                refuse_conflict(path, present.version if present else None, version)
                data = self.get(path)
            file = Path(folder) / "copy"
            file.write_bytes(data or b"")
            yield file

    def delete(self, path: str) -> None:
        with self._swap:
            if self._entries.pop(path, None):
                self._files.rm_file(f"{self._root}/{path}")

    def prove_writable(self, path: str) -> None:
        pass
