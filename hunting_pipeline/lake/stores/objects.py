"""A lake in an object store: every put is one conditional PUT, and no lock is needed between machines.

The version of an object is its ETag, as the PUT returned it. A file is written to a temporary file of this
machine first, and put once when it is complete. So no reader ever sees a part of a file, and two writers
never replace each other's change: the store accepts a PUT only for the version that the writer planned with.
"""

import errno
import logging
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from filecmp import cmp
from pathlib import Path
from typing import Any
from uuid import uuid4

import obstore
import pyarrow.fs as pafs
from obstore.exceptions import BaseError, GenericError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

from hunting_pipeline.errors import CommitRefused, HuntingError, Misconfigured, ServiceFailed, setting
from hunting_pipeline.lake.layout import OWN_FOLDER
from hunting_pipeline.lake.stores.object_cache import ObjectCache
from hunting_pipeline.lake.stores.object_errors import NOT_AS_EXPECTED, Operation, Service, explained
from hunting_pipeline.lake.stores.object_files import ObjectFiles
from hunting_pipeline.lake.stores.protocol import (
    ABSENT,
    ANY,
    Conflict,
    Entry,
    Expected,
    refuse_conflict,
)
from hunting_pipeline.lake.stores.temporary import TemporaryFiles

__all__ = ["ObjectStore"]

_PROBE_FOLDER = f"{OWN_FOLDER}/probe"

_LARGE = 1024**3
"""Files above this size cause a warning."""

_PAGE = 1000
"""Objects of one page of a list."""

_PARALLEL = 16
"""Simultaneous requests for many small objects."""

_ATTEMPTS = 4
"""obstore repeats no conditional PUT after a lost connection, and no GET whose body ends early."""

_log = logging.getLogger(__name__)


_repeated = retry(
    retry=retry_if_exception_type(ServiceFailed),
    stop=stop_after_attempt(_ATTEMPTS),
    wait=wait_exponential(multiplier=0.1),
    reraise=True,
)


class ObjectStore:
    """A bucket or container, or a folder in it, see `Store`.

    Args:
        client: the store of obstore, with the lake's prefix.
        uri: the location of the lake.
        service: the kind of store.
    """

    def __init__(self, client: Any, uri: str, service: Service) -> None:
        self._client = client
        self._uri = uri.rstrip("/")
        self._service = service
        self._cache = ObjectCache(self._uri)
        self._honours_conditions = False
        self._temporary: TemporaryFiles | None = None

    @property
    def filesystem(self) -> pafs.FileSystem:
        return self.filesystem_of(())

    def filesystem_of(self, entries: Iterable[Entry]) -> pafs.FileSystem:
        return pafs.PyFileSystem(ObjectFiles(self.stat, self._read_range, entries))

    def uri(self, path: str = "") -> str:
        return f"{self._uri}/{path}" if path else self._uri

    def get(self, path: str) -> memoryview | None:
        try:
            return self._get(path, {})
        except FileNotFoundError:
            return None

    def get_all(self, entries: Iterable[Entry]) -> Mapping[str, bytes]:
        entries = [*entries]
        found = self._cache.find(entries)
        missing = [entry for entry in entries if entry.path not in found]
        if not missing:
            return found
        with ThreadPoolExecutor(min(_PARALLEL, len(missing))) as pool:
            contents = pool.map(self._get_version, missing)
            fetched = {
                entry.path: data for entry, data in zip(missing, contents, strict=True) if data is not None
            }
        self._cache.add(missing, fetched)
        return found | fetched

    def _get_version(self, entry: Entry) -> bytes | None:
        """Return the content of an entry; None if the object has another version now."""
        try:
            return bytes(self._get(entry.path, {"if_match": _quoted(entry.version)}))
        except (FileNotFoundError, *NOT_AS_EXPECTED):
            return None

    @_repeated
    def _get(self, path: str, options: Any) -> memoryview:
        with self._explaining("get"):
            return _complete(self._client, path, options)

    def _read_range(self, entry: Entry, start: int, end: int) -> bytes:
        try:
            return bytes(self._get(entry.path, {"if_match": _quoted(entry.version), "range": (start, end)}))
        except (FileNotFoundError, *NOT_AS_EXPECTED):
            raise _replaced(entry.path) from None

    def stat(self, path: str) -> Entry | None:
        try:
            with self._explaining("get"):
                return _entry(self._head(path))
        except FileNotFoundError:
            return None

    def _head(self, path: str) -> Any:
        try:
            return obstore.head(self._client, path)
        except BaseError as error:
            if "status code: 4" in str(error):
                obstore.get(self._client, path)  # only an answer with a body names the reason
            raise

    @_repeated
    def list(self, folder: str, *, start: str = "", end: str = "") -> Sequence[Entry]:
        found: list[Entry] = []
        with self._explaining("list"):
            # an offset is exclusive; without its last character it is before every path from `start` on
            pages = obstore.list(self._client, folder, offset=start[:-1] or None, chunk_size=_PAGE)
            for page in pages:
                found += [_entry(one) for one in page if one["path"] >= start]
                if end and found and found[-1].path >= end:
                    break
        return sorted((one for one in found if not end or one.path < end), key=lambda one: one.path)

    @_repeated
    def folders(self, folder: str) -> Sequence[str]:
        with self._explaining("list"):
            found = obstore.list_with_delimiter(self._client, folder)
        return sorted(path.rsplit("/", 1)[-1] for path in found["common_prefixes"])

    def put(self, path: str, data: bytes, *, expected: Expected = ANY) -> str:
        try:
            version = self._put(path, data, self._mode(path, expected))
        except NOT_AS_EXPECTED:
            entry = self.stat(path)
            if entry is None or self._get_version(entry) != data:
                raise _conflict(path) from None
            version = entry.version  # this put succeeded, and its answer was lost
        self._cache.add([Entry(path, len(data), version)], {path: data})
        return version

    def put_file(self, path: str, write: Callable[[Path], None], *, expected: Expected = ANY) -> str:
        with self._temporary_file() as temporary:
            with _explaining_disk(temporary.parent):
                write(temporary)
            size = temporary.stat().st_size
            self._refuse_too_large(path, size)
            try:
                return self._put(path, _mapped(temporary, size), self._mode(path, expected))
            except NOT_AS_EXPECTED:
                return self._version_of_own_put(path, temporary)

    @_repeated
    def _put(self, path: str, data: Any, mode: Any) -> str:
        with self._explaining("put"):
            result = obstore.put(self._client, path, data, mode=mode, use_multipart=False)
        return _version(result["e_tag"])

    def _mode(self, path: str, expected: Expected) -> Any:
        """Return the condition of a put in the form of obstore."""
        if expected is ANY:
            return "overwrite"
        if expected is ABSENT:
            return "create"
        if not self._service.generations:
            return {"e_tag": _quoted(str(expected))}
        try:
            with self._explaining("get"):
                present = self._head(path)
        except FileNotFoundError:
            raise _conflict(path) from None
        refuse_conflict(path, _version(present["e_tag"]), expected)
        return {"e_tag": present["e_tag"], "version": present["version"]}

    def _version_of_own_put(self, path: str, file: Path) -> str:
        """Return the version of an object that holds this file: the put succeeded, and its answer was lost.

        Raises:
            Conflict: the object has another content.
        """
        entry = self.stat(path)
        if entry is not None and entry.size == file.stat().st_size:
            with suppress(Conflict), self.local_file(path, version=entry.version) as present:
                if cmp(present, file, shallow=False):
                    return entry.version
        raise _conflict(path)

    @contextmanager
    def local_file(self, path: str, *, version: str) -> Iterator[Path]:
        with self._temporary_file() as temporary:
            try:
                self._download(path, version, temporary)
            except (FileNotFoundError, *NOT_AS_EXPECTED):
                raise _replaced(path) from None
            yield temporary

    @_repeated
    def _download(self, path: str, version: str, target: Path) -> None:
        with self._explaining("get"):
            result = obstore.get(self._client, path, options={"if_match": _quoted(version)})
            with _explaining_disk(target.parent), target.open("wb") as file:
                for chunk in result.stream():
                    file.write(chunk)
                if file.tell() != result.meta["size"]:
                    raise GenericError("the body ended early")

    @_repeated
    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError), self._explaining("delete"):
            obstore.delete(self._client, path)

    def prove_writable(self, path: str) -> None:
        """Check all rights on objects, and that the store honours the conditions of a put."""
        del path  # permissions are granted for the whole prefix
        if self._honours_conditions:
            return
        probe = f"{_PROBE_FOLDER}/{uuid4().hex}"
        try:
            version = self.put(probe, b"1", expected=ABSENT)
            changed = self.put(probe, b"2", expected=version)
            kept = self._refuses(probe, ABSENT) and self._refuses(probe, version)
            kept = kept and bytes(self.get(probe) or b"") == b"2"
            self.list(_PROBE_FOLDER)
        except Conflict:
            kept = False
        except HuntingError:
            with suppress(HuntingError):  # the first error says more
                self.delete(probe)
            raise
        self.delete(probe)
        if not kept or version == changed:
            raise Misconfigured(
                f"the object store at {self._uri} ignores the conditions If-Match and If-None-Match of a PUT."
                " Two runs could replace each other's rows. No table was written."
                f" Set {setting('lake')} to a store with conditional writes"
            )
        self._honours_conditions = True

    def _refuses(self, path: str, expected: Expected) -> bool:
        try:
            self._put(path, b"3", self._mode(path, expected))
        except (Conflict, *NOT_AS_EXPECTED):
            return True
        return False

    def _refuse_too_large(self, path: str, size: int) -> None:
        if size > self._service.largest:
            raise CommitRefused(
                f"{path} would have {size / 1024**3:.1f} GiB, and {self._service.name} takes at most"
                f" {self._service.largest / 1024**3:.1f} GiB in one PUT. The archive is unchanged."
                " Set `grain: hour` for this table in its `defs.yaml`, and archive it in a new lake"
            )
        if size > _LARGE:
            _log.warning(
                "%s has %.1f GiB. Each extension of this partition replaces the whole file;"
                " with `grain: hour` the files would be smaller",
                *(path, size / 1024**3),
            )

    @contextmanager
    def _temporary_file(self) -> Iterator[Path]:
        if self._temporary is None:
            folder = _temporary_folder()
            self._temporary = TemporaryFiles(folder, root=folder)
        with self._temporary.new() as temporary:
            yield temporary

    def _explaining(self, operation: Operation) -> AbstractContextManager[None]:
        return explained(self._uri, self._service, operation)


def _complete(client: Any, path: str, options: Any) -> memoryview:
    """Fetch an object or a range of it, complete, without a second copy in memory."""
    result = obstore.get(client, path, options=options)
    first, last = result.range
    data = memoryview(result.bytes())
    if len(data) != last - first:
        raise GenericError("the body ended early")
    return data


def _mapped(file: Path, size: int) -> Any:
    """Map a file into memory. The system can drop its pages, so a large file needs no memory of its own."""
    if not size:
        return b""
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def _entry(found: Mapping[str, Any]) -> Entry:
    return Entry(found["path"], found["size"], _version(found["e_tag"]))


def _version(e_tag: str | None) -> str:
    """Return an ETag without its quotes, which some services leave out in lists."""
    if not e_tag:
        raise ServiceFailed("the object store sent no ETag for an object. Nothing is lost. Run again")
    return e_tag.strip('"')


def _quoted(version: str) -> str:
    return f'"{version}"'


def _conflict(path: str) -> Conflict:
    return Conflict(f"another run changed {path} in the meantime; that change stays. Run again")


def _replaced(path: str) -> Conflict:
    return Conflict(
        f"another run replaced or removed {path} while this run read it. Nothing was changed. Run again"
    )


def _temporary_folder() -> Path:
    """Return this user's folder for temporary files. `TMPDIR` changes its place."""
    folder = Path(tempfile.gettempdir()) / f"hunting-pipeline-{os.getuid() if hasattr(os, 'getuid') else ''}"
    with _explaining_disk(folder):
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077):
            raise PermissionError(errno.EACCES, "another user can write there", str(folder))
    return folder


@contextmanager
def _explaining_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"the folder for temporary files {folder} cannot be used ({error.strerror or error})."
            " All committed partitions are unchanged. Free some space, or set TMPDIR to another folder"
        ) from error
