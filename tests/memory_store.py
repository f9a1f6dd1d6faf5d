"""A store in memory. It proves that a whole pull needs only the protocol of stores."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
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
        self._versions: dict[str, str] = {}
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
        return bytes(self._files.cat_file(f"{self._root}/{path}")) if path in self._versions else None

    def stat(self, path: str) -> Entry | None:
        version = self._versions.get(path)
        return Entry(path, self._files.size(f"{self._root}/{path}"), version) if version else None

    def list(self, folder: str) -> Sequence[Entry]:
        paths = sorted(path for path in self._versions if path.startswith(f"{folder}/"))
        return [entry for path in paths if (entry := self.stat(path))]

    def put(self, path: str, data: bytes, *, expected: Expected = ANY) -> str:
        with self._swap:
            refuse_conflict(path, self._versions.get(path), expected)
            self._files.pipe_file(f"{self._root}/{path}", data)
            self._versions[path] = str(next(self._numbers))
            return self._versions[path]

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
                refuse_conflict(path, self._versions.get(path), version)
                data = self.get(path)
            file = Path(folder) / "copy"
            file.write_bytes(data or b"")
            yield file

    def delete(self, path: str) -> None:
        with self._swap:
            if self._versions.pop(path, None):
                self._files.rm_file(f"{self._root}/{path}")

    def prove_writable(self, path: str) -> None:
        pass
