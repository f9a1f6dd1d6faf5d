"""The objects of a store as files for Arrow: read only, and each open file is one version of its object.

A reader that fetches ranges of an object while another run replaces it would mix old and new bytes. So every
range carries a version, and the store refuses the range if the object has another version. Arrow keeps the
footer of a file between two scans. So a file keeps its version, too, as long as its file system exists.
"""

from collections.abc import Callable, Iterable, Sequence
from io import SEEK_CUR, SEEK_END, SEEK_SET, RawIOBase

import pyarrow as pa
import pyarrow.fs as pafs

from hunting_pipeline.lake.stores.protocol import Entry

__all__ = ["ObjectFiles", "ReadRange"]

ReadRange = Callable[[Entry, int, int], bytes]
"""Reads the bytes from a start to an end of one version of an object."""


class ObjectFiles(pafs.FileSystemHandler):  # type: ignore[misc] # pyarrow has no types
    """A read-only Arrow file system over a store.

    Args:
        stat: returns size and version of an object; None if it does not exist.
        read_range: reads a part of one version.
        entries: objects whose size and version are known. Each other object is asked for them once.
    """

    def __init__(
        self, stat: Callable[[str], Entry | None], read_range: ReadRange, entries: Iterable[Entry] = ()
    ) -> None:
        self._stat = stat
        self._read_range = read_range
        self._entries = {entry.path: entry for entry in entries}

    def get_type_name(self) -> str:
        return "hunting-objects"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[pafs.FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> pafs.FileInfo:
        entry = self._entry(path)
        if entry is None:
            return pafs.FileInfo(path, pafs.FileType.NotFound)
        return pafs.FileInfo(path, pafs.FileType.File, size=entry.size)

    def _entry(self, path: str) -> Entry | None:
        if path not in self._entries and (found := self._stat(path)) is not None:
            self._entries.setdefault(path, found)
        return self._entries.get(path)

    def open_input_file(self, path: str) -> pa.PythonFile:
        entry = self._entry(path)
        if entry is None:
            raise FileNotFoundError(path)
        return pa.PythonFile(_VersionOfObject(entry, self._read_range), mode="r")

    def open_input_stream(self, path: str) -> pa.PythonFile:
        return self.open_input_file(path)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        raise NotImplementedError("a lake is listed by its store")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = None
    delete_file = move = copy_file = open_output_stream = open_append_stream = None


class _VersionOfObject(RawIOBase):
    """One version of an object as a file for reading."""

    def __init__(self, entry: Entry, read_range: ReadRange) -> None:
        self._entry = entry
        self._read_range = read_range
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        base = {SEEK_SET: 0, SEEK_CUR: self._position, SEEK_END: self._entry.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        rest = max(0, self._entry.size - self._position)
        count = rest if size is None or size < 0 else min(size, rest)
        if not count:
            return b""
        data = self._read_range(self._entry, self._position, self._position + count)
        self._position += len(data)
        return data
