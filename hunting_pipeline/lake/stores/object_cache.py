"""A cache of small objects on this machine, by path and version. It can be deleted at any time.

An object of one version never changes, so the cache is never wrong. If the cache cannot be used, the objects
are fetched again.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from hashlib import sha256

from platformdirs import user_cache_path

from hunting_pipeline.lake.stores.protocol import Entry
from hunting_pipeline.private_files import make_folders

__all__ = ["ObjectCache"]

_SCHEMA = "CREATE TABLE IF NOT EXISTS object (path TEXT PRIMARY KEY, version TEXT, data BLOB) WITHOUT ROWID"

_AT_ONCE = 500
"""Most paths in one statement; SQLite allows 999 variables in old versions."""

_BUSY_SECONDS = 5.0


class ObjectCache:
    """The cached objects of one lake.

    Args:
        uri: the location of the lake. Each location has its own file.
    """

    def __init__(self, uri: str) -> None:
        name = sha256(uri.encode()).hexdigest()[:24]
        self._file = user_cache_path("hunting-pipeline") / "objects" / f"{name}.sqlite"

    def find(self, entries: Iterable[Entry]) -> dict[str, bytes]:
        """Return the content of the entries that are cached in exactly their version, by path."""
        wanted = {entry.path: entry.version for entry in entries}
        found: dict[str, bytes] = {}
        if not self._file.exists():
            return found
        with suppress(sqlite3.Error, OSError), closing(self._connect()) as database:
            paths = sorted(wanted)
            for first in range(0, len(paths), _AT_ONCE):
                some = paths[first : first + _AT_ONCE]
                marks = ", ".join("?" * len(some))
                rows = database.execute(
                    f"SELECT path, version, data FROM object WHERE path IN ({marks})",  # noqa: S608 # only marks
                    some,
                )
                found |= {path: bytes(data) for path, version, data in rows if version == wanted[path]}
        return found

    def add(self, entries: Iterable[Entry], contents: Mapping[str, bytes]) -> None:
        """Add the content of entries."""
        rows = [(one.path, one.version, contents[one.path]) for one in entries if one.path in contents]
        if not rows:
            return
        with suppress(sqlite3.Error, OSError):
            try:
                self._write(rows)
            except sqlite3.OperationalError:  # for example, another process writes for too long
                raise
            except sqlite3.DatabaseError:  # a damaged file is replaced
                self._file.unlink(missing_ok=True)
                self._write(rows)

    def _write(self, rows: Iterable[tuple[str, str, bytes]]) -> None:
        """Write rows into the file, which only this user can read."""
        make_folders(self._file.parent, root=self._file.parent)
        self._file.touch(mode=0o600, exist_ok=True)
        with closing(self._connect()) as database, database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(_SCHEMA)
            database.executemany("INSERT OR REPLACE INTO object VALUES (?, ?, ?)", rows)

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._file, timeout=_BUSY_SECONDS)
        database.execute("PRAGMA synchronous = NORMAL")  # with a write-ahead log, a commit needs no fsync
        return database
