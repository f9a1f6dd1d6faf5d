"""The database of a ledger: one transaction at a time, over threads, processes and, with Postgres, machines.

A store runs one transaction at a time and reads its clocks. It contains no rules of the quota. Statements use
`?` for values and work in both databases.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import filelock

from hunting_pipeline.errors import Misconfigured, ServiceFailed, setting
from hunting_pipeline.private_files import create as create_file
from hunting_pipeline.private_files import file_mode, make_folders
from hunting_pipeline.redaction import hold_url, redacted

if TYPE_CHECKING:
    import psycopg

__all__ = ["DatabaseDown", "Run", "Store", "create", "open_store"]

LOCK_SECONDS = 30.0
"""Longest wait for the lock: 30 times the longest wait measured with 8 processes."""
CONNECT_SECONDS = 10
"""Longest time for a connection to the database server: without it, libpq waits for minutes."""
SCHEMA_VERSION = 3
_LOCK_KEY = int.from_bytes(blake2b(b"hunting-pipeline quota ledger", digest_size=8).digest(), signed=True)
"""The number of the ledger's advisory lock in Postgres."""
_POSTGRES_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_LEFT_TO_THE_PARENT: list[object] = []
"""Connections that a fork copied. They belong to the parent process: the child must not use or close them."""

_TABLES = (
    """CREATE TABLE IF NOT EXISTS quota_tenant (tenant TEXT PRIMARY KEY, now DOUBLE PRECISION NOT NULL,
        wall DOUBLE PRECISION NOT NULL, monotonic DOUBLE PRECISION, blocked_until DOUBLE PRECISION NOT NULL,
        block_reason TEXT NOT NULL, last_number BIGINT NOT NULL, fresh_in_a_row BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS quota_spend (id TEXT PRIMARY KEY, tenant TEXT NOT NULL,
        priority TEXT NOT NULL,
        owner TEXT NOT NULL, source_table TEXT NOT NULL, reserved_at DOUBLE PRECISION NOT NULL,
        seconds DOUBLE PRECISION NOT NULL, expected DOUBLE PRECISION NOT NULL,
        expires DOUBLE PRECISION NOT NULL, ended DOUBLE PRECISION)""",
    """CREATE INDEX IF NOT EXISTS quota_spend_ended ON quota_spend
        (tenant, ended, reserved_at, seconds, expires, expected)""",
    """CREATE TABLE IF NOT EXISTS quota_past (tenant TEXT NOT NULL, slot BIGINT NOT NULL,
        calls BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL, reserved_at DOUBLE PRECISION NOT NULL,
        ended DOUBLE PRECISION NOT NULL, PRIMARY KEY (tenant, slot))""",
    """CREATE TABLE IF NOT EXISTS quota_queue (tenant TEXT NOT NULL, caller TEXT NOT NULL,
        priority TEXT NOT NULL,
        number BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL, expected DOUBLE PRECISION NOT NULL,
        since DOUBLE PRECISION NOT NULL, asked_at DOUBLE PRECISION NOT NULL,
        wake_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (tenant, caller, priority))""",
    """CREATE TABLE IF NOT EXISTS quota_outage (tenant TEXT PRIMARY KEY, failures BIGINT NOT NULL,
        of_rows BOOLEAN NOT NULL, next_at DOUBLE PRECISION NOT NULL, reason TEXT NOT NULL,
        asking BOOLEAN NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS quota_estimate (tenant TEXT NOT NULL, source_table TEXT NOT NULL,
        mean DOUBLE PRECISION NOT NULL, deviation DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (tenant, source_table))""",
    """CREATE TABLE IF NOT EXISTS quota_claim (tenant TEXT NOT NULL, lake TEXT NOT NULL,
        source_table TEXT NOT NULL, token TEXT NOT NULL, holder TEXT NOT NULL,
        since DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (tenant, lake, source_table))""",
    """CREATE TABLE IF NOT EXISTS quota_hour (tenant TEXT NOT NULL, hour BIGINT NOT NULL,
        source_table TEXT NOT NULL, program TEXT NOT NULL, calls BIGINT NOT NULL,
        seconds DOUBLE PRECISION NOT NULL, PRIMARY KEY (tenant, hour, source_table, program))""",
    """CREATE TABLE IF NOT EXISTS quota_access (tenant TEXT NOT NULL, identity TEXT NOT NULL,
        since DOUBLE PRECISION NOT NULL, at DOUBLE PRECISION NOT NULL, refusal TEXT NOT NULL,
        PRIMARY KEY (tenant, identity))""",
)

_File = tuple[int, int]
"""The identity of a file: the number of its device and its number there."""
Run = Callable[..., list[tuple[Any, ...]]]
"""A function `run(statement, *values)` that returns the rows of a SELECT or a RETURNING clause."""


class DatabaseDown(ServiceFailed):
    """The database server does not answer at the moment. The same transaction may succeed a little later."""


class Store(Protocol):
    """A database that runs one transaction at a time."""

    def transaction(self) -> AbstractContextManager[Run]:
        """Begin a transaction. It is committed when the block ends, and rolled back when the block raises.

        Raises:
            DatabaseDown: the server does not answer. It is unknown if the transaction was committed.
            ServiceFailed: the transaction failed and was rolled back.
            Misconfigured: the ledger was deleted or replaced since it was opened.
        """

    def reading(self, run: Run) -> tuple[float, float | None]:
        """Return the wall clock (Unix seconds), and the monotonic clock (seconds) or None without one."""

    def close(self) -> None:
        """Close the database."""


def open_store(
    url: str, *, clock: Callable[[], float] | None, monotonic: Callable[[], float] | None
) -> Store:
    """Open the store of a URL. `clock` and `monotonic` replace the store's own clocks.

    Raises:
        Misconfigured: the scheme is unknown, the path is missing, or the store cannot be opened.
        ServiceFailed: the database server does not answer.
    """
    scheme, separator, rest = url.partition("://")
    if scheme in {"postgresql", "postgres"} and separator:
        return PostgresStore(url, clock=clock, monotonic=monotonic or clock)
    path = rest.removeprefix("/") if separator else url
    if (separator and scheme != "sqlite") or not path or rest[:1] not in {"", "/"}:
        raise Misconfigured(
            f"{setting('ledger')} is neither a path nor a URL of SQLite or Postgres. Set {setting('ledger')}"
            " to a path, to sqlite:///path/ledger.db or to postgresql://..."
        )
    own = monotonic or clock or boot_seconds
    return SqliteStore(Path(path), clock=clock or time.time, monotonic=own)


def boot_seconds() -> float:
    """Return the seconds since boot: a clock that no one can set and that all processes share.

    The clock counts the time in suspend, if the platform offers such a clock.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class SqliteStore:
    """A SQLite file on a local disk. Processes wait for a lock file beside it.

    SQLite's own lock is unfair: one of eight processes got one transaction in 6 s. So processes wait for the
    lock file. The transaction is still immediate. Every commit is synced: if a ledger lost calls, the
    pipeline would exceed the quota.

    Raises:
        Misconfigured: the home folder is unknown, the folder cannot be created or written, or the file is not
            a ledger of this version.
        ServiceFailed: the disk failed, or the lock was not free in time.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._threads = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: _File | None = None
        self._log: _File | None = None
        self._process = os.getpid()
        try:
            self._path = path.expanduser()
            make_folders(self._path.parent, root=self._path.parent)
            self._lock_mode = file_mode(self._path.parent)
            with self._exclusive():
                self._connected()
        except (OSError, RuntimeError, sqlite3.Error) as error:  # RuntimeError: an unknown home folder
            raise Misconfigured(
                f"the quota ledger {path} cannot be opened ({error}). No call was sent. Set"
                f" {setting('ledger')} to a file on a local disk that this user may write"
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        try:
            with self._exclusive():
                self._refuse_another_file()
                connection = self._connected()
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    yield lambda statement, *values: connection.execute(statement, values).fetchall()
        except (OSError, sqlite3.Error) as error:
            raise ServiceFailed(
                f"the quota ledger {self._path} failed: {error}. No call is sent without the ledger."
                " Run again"
            ) from error

    def reading(self, run: Run) -> tuple[float, float | None]:
        del run
        return self._clock(), self._monotonic()

    def close(self) -> None:
        with self._threads:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if self._process != os.getpid():
            _LEFT_TO_THE_PARENT.append(self._connection)
            self._threads, self._connection, self._process = threading.Lock(), None, os.getpid()
        with (
            self._threads,
            filelock.FileLock(
                f"{self._path}.lock", timeout=LOCK_SECONDS, poll_interval=0.005, mode=self._lock_mode
            ),
        ):
            yield

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            if not self._path.exists():  # SQLite gives its other files the same mode
                create_file(self._path, root=self._path.parent)
            connection = sqlite3.connect(
                self._path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                create(lambda statement, *values: connection.execute(statement, values).fetchall())
            self._connection = connection
            self._file, self._log = _file_at(self._path), _file_at(self._write_ahead_log)
        return self._connection

    @property
    def _write_ahead_log(self) -> Path:
        return self._path.with_name(f"{self._path.name}-wal")

    def _refuse_another_file(self) -> None:
        """Refuse a file that is not the file that was opened: its history is not the tenant's.

        SQLite itself does not notice: it writes to the deleted file, and other processes create a new one.
        Each connection has its own write-ahead log: the last connection deletes the log when it closes.
        """
        same = _file_at(self._path) == self._file
        if self._connection is not None:
            same = same and _file_at(self._write_ahead_log) == self._log
        if not same:
            raise Misconfigured(
                f"the quota ledger {self._path} was deleted or replaced while this process used it. No more"
                " calls are sent. Finished work is kept. A new ledger does not count the calls so far. Put"
                f" the file of {setting('ledger')} back, or run again when the quota has renewed"
            )


def _file_at(path: Path) -> _File | None:
    """Return the identity of the file at `path`; None if there is no file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class PostgresStore:
    """A Postgres database. Sessions wait for an advisory lock. The server's clock is used.

    The lock covers the whole database, so tenants that share a database wait for each other for some
    milliseconds.

    Raises:
        Misconfigured: psycopg is missing, the URL is malformed, or the tables have another version.
        ServiceFailed: the server does not answer, or refuses.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float] | None, monotonic: Callable[[], float] | None
    ) -> None:
        try:
            import psycopg  # noqa: PLC0415 - an optional dependency
        except ImportError as error:
            raise Misconfigured(
                f"{setting('ledger')} is a Postgres URL and psycopg is not installed. Install"
                f" hunting-pipeline[postgres], or set {setting('ledger')} to a file"
            ) from error
        hold_url(url)
        self._driver = psycopg
        self._url = url
        self._clock = clock
        self._monotonic = monotonic
        self._now = 0.0
        self._threads = threading.Lock()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._process = os.getpid()
        try:
            self._where = _without_secrets(psycopg.conninfo.conninfo_to_dict(url))
        except psycopg.ProgrammingError:  # its text repeats the URL
            raise Misconfigured(
                f"{setting('ledger')} is not a valid postgresql:// URL. Correct {setting('ledger')}"
            ) from None
        with self.transaction() as run:
            create(run)

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        if self._process != os.getpid():
            _LEFT_TO_THE_PARENT.append(self._connection)
            self._threads, self._connection, self._process = threading.Lock(), None, os.getpid()
        try:
            with self._threads, ExitStack() as stack:
                connection = self._begun(stack)
                yield lambda statement, *values: self._run(connection, statement, values)
        except (self._driver.OperationalError, self._driver.InterfaceError) as error:
            raise DatabaseDown(self._failed(error)) from None  # the text may repeat a part of the URL
        except self._driver.Error as error:
            raise ServiceFailed(self._failed(error)) from None

    def _failed(self, error: Exception) -> str:
        return (
            f"the quota ledger {self._where} failed: {redacted(str(error)).strip()}. No call is sent without"
            f" the ledger. Start the database server or correct {setting('ledger')}, and run again"
        )

    def reading(self, run: Run) -> tuple[float, float | None]:
        del run
        if self._clock is not None:
            return self._clock(), self._monotonic() if self._monotonic else None
        return self._now, None

    def close(self) -> None:
        with self._threads:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _begun(self, stack: ExitStack) -> "psycopg.Connection[tuple[Any, ...]]":
        """Begin a transaction that excludes all others, and return its connection. `stack` ends it.

        Opens a new connection if the last one is broken, for example after a restart of the server.
        """
        while True:
            opened = self._connection is None
            connection = self._connection = self._connection or self._opened()
            try:
                with ExitStack() as mine:
                    mine.enter_context(connection.pipeline())  # statements without rows need no round trip
                    mine.enter_context(connection.transaction())
                    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_KEY,))
                    ((self._now,),) = connection.execute(_POSTGRES_NOW).fetchall()
                    stack.push(mine.pop_all())
            except self._driver.OperationalError:
                if opened or not connection.broken:
                    raise
                self._connection = None
            else:
                return connection

    def _opened(self) -> "psycopg.Connection[tuple[Any, ...]]":
        milliseconds = int(LOCK_SECONDS * 1000)
        connection = self._driver.connect(self._url, autocommit=True, connect_timeout=CONNECT_SECONDS)
        connection.execute(f"SET lock_timeout = {milliseconds}")
        connection.execute(f"SET idle_in_transaction_session_timeout = {milliseconds}")
        return connection

    @staticmethod
    def _run(
        connection: "psycopg.Connection[tuple[Any, ...]]", statement: str, values: tuple[Any, ...]
    ) -> list[tuple[Any, ...]]:
        cursor = connection.execute(statement.replace("?", "%s").encode(), values)
        return cursor.fetchall() if statement.startswith("SELECT") or "RETURNING" in statement else []


def _without_secrets(parts: Mapping[str, Any]) -> str:
    return f"{parts.get('dbname') or 'postgres'} on {parts.get('host') or 'this machine'}"


def create(run: Run) -> None:
    """Create the tables, or refuse tables of another version: their history must not be lost.

    Raises:
        Misconfigured: the tables have another version.
    """
    run("CREATE TABLE IF NOT EXISTS quota_schema (version INTEGER PRIMARY KEY)")
    versions = [version for (version,) in run("SELECT version FROM quota_schema")]
    if versions and max(versions) != SCHEMA_VERSION:
        raise Misconfigured(
            f"the quota ledger has schema version {max(versions)}, and this hunting-pipeline needs version"
            f" {SCHEMA_VERSION}. Set {setting('ledger')} to a new file or database when the last call is a"
            " day old: until then its history counts. Or use the version that created the ledger"
        )
    for statement in _TABLES:
        run(statement)
    if not versions:
        run("INSERT INTO quota_schema (version) VALUES (?)", SCHEMA_VERSION)
