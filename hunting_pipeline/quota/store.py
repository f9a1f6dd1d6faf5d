"""The database of a ledger: one transaction at a time, over threads, processes and, with Postgres, machines.

A store offers transactions that exclude each other, and the readings of its clocks. Nothing here is about
quotas. Statements use `?` for values and mean the same in both databases.
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

if TYPE_CHECKING:
    import psycopg

__all__ = ["Run", "Store", "create", "open_store"]

LOCK_SECONDS = 30.0
"""How long to wait for the lock: 30 times the worst wait measured with 8 processes."""
CONNECT_SECONDS = 10
"""How long a database server may take to accept a connection: libpq itself would wait for minutes."""
SCHEMA_VERSION = 3
_LOCK_KEY = int.from_bytes(blake2b(b"hunting-pipeline quota ledger", digest_size=8).digest(), signed=True)
"""The number of the ledger's advisory lock in Postgres."""
_POSTGRES_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_LEFT_TO_THE_PARENT: list[object] = []
"""Connections that a fork copied. They belong to the parent: the child must neither use nor close them."""

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
    """CREATE TABLE IF NOT EXISTS quota_estimate (tenant TEXT NOT NULL, source_table TEXT NOT NULL,
        mean DOUBLE PRECISION NOT NULL, deviation DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (tenant, source_table))""",
)

Run = Callable[..., list[tuple[Any, ...]]]
"""A function `run(statement, *values)` that returns the rows of a SELECT or a RETURNING."""


class Store(Protocol):
    """Transactions that exclude each other."""

    def transaction(self) -> AbstractContextManager[Run]:
        """Begin a transaction: committed when the block ends, rolled back when it raises."""

    def reading(self, run: Run) -> tuple[float, float | None]:
        """Return the wall clock (unix seconds) and the monotonic clock (seconds; None without one)."""

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
            f"{setting('ledger')} has the scheme {scheme!r} or no path. Set {setting('ledger')} to a path, to"
            " sqlite:///path/ledger.db or to postgresql://..."
        )
    own = monotonic or clock or boot_seconds
    return SqliteStore(Path(path), clock=clock or time.time, monotonic=own)


def boot_seconds() -> float:
    """Return a clock that cannot be set and that all processes of the machine share.

    The clock includes time in suspend where the platform offers that.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class SqliteStore:
    """A file on a local disk, with a lock file beside it for which processes wait.

    SQLite's own waiting is unfair: one of eight processes got one transaction in 6 s. So the lock file orders
    the processes; the transaction is immediate all the same. Every commit is synced, because a ledger that
    loses calls would exceed the quota.

    Raises:
        Misconfigured: the folder is unknown, cannot be created or written, or the file is no ledger of this
            version.
        ServiceFailed: the disk fails, or the lock was not free in time.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._threads = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        try:
            self._path = path.expanduser()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._exclusive():
                self._connected()
        except (OSError, RuntimeError, sqlite3.Error) as error:  # RuntimeError: an unknown home folder
            raise Misconfigured(
                f"the quota ledger {path} cannot be opened ({error}). Set {setting('ledger')} to a file on a"
                " local disk that this user may write"
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        try:
            with self._exclusive():
                connection = self._connected()
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    yield lambda statement, *values: connection.execute(statement, values).fetchall()
        except (OSError, sqlite3.Error) as error:
            raise ServiceFailed(
                f"the quota ledger {self._path} failed: {error}. No call was allowed"
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
            filelock.FileLock(f"{self._path}.lock", timeout=LOCK_SECONDS, poll_interval=0.005),
        ):
            yield

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                self._path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                create(lambda statement, *values: connection.execute(statement, values).fetchall())
            self._connection = connection
        return self._connection


class PostgresStore:
    """A database server, with an advisory lock for which sessions wait. The server's clock decides.

    The lock covers the whole database, so tenants that share a database wait for each other: milliseconds.

    Raises:
        Misconfigured: psycopg is missing, the URL is malformed, or the tables are of another version.
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
            raise Misconfigured(f"{setting('ledger')} is no valid postgresql:// URL") from None
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
        except self._driver.Error as error:
            raise ServiceFailed(
                f"the quota ledger {self._where} failed: {error}. No call was allowed"
            ) from error

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
        """Begin a transaction that excludes all others and return its session; `stack` ends the transaction.

        Opens a new session if the last one is broken, for example after a restart of the server.
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
    """Create the tables, or refuse tables of another version, because their history must not be lost."""
    run("CREATE TABLE IF NOT EXISTS quota_schema (version INTEGER PRIMARY KEY)")
    versions = [version for (version,) in run("SELECT version FROM quota_schema")]
    if versions and max(versions) != SCHEMA_VERSION:
        raise Misconfigured(
            f"the quota ledger has schema version {max(versions)}, this version of hunting-pipeline needs"
            f" {SCHEMA_VERSION}. Set {setting('ledger')} to a new file or database, or use the version that"
            " created the ledger. A day after the last call the old history no longer counts"
        )
    for statement in _TABLES:
        run(statement)
    if not versions:
        run("INSERT INTO quota_schema (version) VALUES (?)", SCHEMA_VERSION)
