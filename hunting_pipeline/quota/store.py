"""Where a ledger lives: one transaction at a time, over threads, processes and, with Postgres, machines.

A store gives transactions that exclude each other, and the time as its clock tells it. It knows nothing of
quotas. Statements are written with `?` and mean the same in both databases.
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

from hunting_pipeline.errors import Misconfigured, ServiceFailed

if TYPE_CHECKING:
    import psycopg

__all__ = ["Run", "Store", "create", "open_store"]

LOCK_SECONDS = 30.0
"""How long to wait for one's turn: 30 times the worst wait measured with 8 processes."""
CONNECT_SECONDS = 10
"""How long a database server may take to answer at all: libpq itself would wait for minutes."""
SCHEMA_VERSION = 3
_LOCK_KEY = int.from_bytes(blake2b(b"hunting-pipeline quota ledger", digest_size=8).digest(), signed=True)
"""Advisory locks are named by a number; this one is ours."""
_POSTGRES_NOW = "SELECT extract(epoch FROM clock_timestamp())::float8"
_LEFT_TO_THE_PARENT: list[object] = []
"""Connections found after a fork: the parent's, so neither used nor closed, for that would reach it."""

_TABLES = (
    """CREATE TABLE IF NOT EXISTS quota_tenant (tenant TEXT PRIMARY KEY, now DOUBLE PRECISION NOT NULL,
        wall DOUBLE PRECISION NOT NULL, steady DOUBLE PRECISION, blocked_until DOUBLE PRECISION NOT NULL,
        block_reason TEXT NOT NULL, next_turn BIGINT NOT NULL, fresh_run BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS quota_spend (id TEXT PRIMARY KEY, tenant TEXT NOT NULL,
        priority TEXT NOT NULL,
        owner TEXT NOT NULL, source_table TEXT NOT NULL, reserved_at DOUBLE PRECISION NOT NULL,
        seconds DOUBLE PRECISION NOT NULL, likely DOUBLE PRECISION NOT NULL,
        expires DOUBLE PRECISION NOT NULL, ended DOUBLE PRECISION)""",
    """CREATE INDEX IF NOT EXISTS quota_spend_ended ON quota_spend
        (tenant, ended, reserved_at, seconds, expires, likely)""",
    """CREATE TABLE IF NOT EXISTS quota_past (tenant TEXT NOT NULL, slot BIGINT NOT NULL,
        calls BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL, reserved_at DOUBLE PRECISION NOT NULL,
        ended DOUBLE PRECISION NOT NULL, PRIMARY KEY (tenant, slot))""",
    """CREATE TABLE IF NOT EXISTS quota_waiting (tenant TEXT NOT NULL, seat TEXT NOT NULL,
        priority TEXT NOT NULL,
        turn BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL, likely DOUBLE PRECISION NOT NULL,
        since DOUBLE PRECISION NOT NULL, asked_at DOUBLE PRECISION NOT NULL,
        wake_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (tenant, seat, priority))""",
    """CREATE TABLE IF NOT EXISTS quota_estimate (tenant TEXT NOT NULL, source_table TEXT NOT NULL,
        mean DOUBLE PRECISION NOT NULL, deviation DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (tenant, source_table))""",
)

Run = Callable[..., list[tuple[Any, ...]]]
"""`run(statement, *values)`: the rows that a SELECT or a RETURNING gives."""


class Store(Protocol):
    """Transactions that exclude each other."""

    def transaction(self) -> AbstractContextManager[Run]:
        """A transaction: committed when the block ends, rolled back when it raises."""

    def reading(self, run: Run) -> tuple[float, float | None]:
        """The store's wall clock (unix seconds) and, where it has one, its steady clock (seconds)."""

    def close(self) -> None:
        """Let go of the database."""


def open_store(url: str, *, clock: Callable[[], float] | None, steady: Callable[[], float] | None) -> Store:
    """The store a URL names; `clock` and `steady` stand in for the store's own clocks.

    Raises:
        Misconfigured: no such scheme, no path, or the store cannot be opened.
        ServiceFailed: the database server does not answer.
    """
    scheme, separator, rest = url.partition("://")
    if scheme in {"postgresql", "postgres"} and separator:
        return PostgresStore(url, clock=clock, steady=steady or clock)
    path = rest.removeprefix("/") if separator else url
    if (separator and scheme != "sqlite") or not path or rest[:1] not in {"", "/"}:
        raise Misconfigured(
            f"HUNTING_LEDGER has scheme {scheme!r} or no path:"
            " use sqlite:///path/ledger.db, a path, or postgresql://..."
        )
    own = steady or clock or boot_seconds
    return SqliteStore(Path(path), clock=clock or time.time, steady=own)


def boot_seconds() -> float:
    """A clock that nobody can set, shared by all processes of the machine; counts sleep where it can."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class SqliteStore:
    """A file on a local disk. A lock file beside it gives every process its turn.

    SQLite's own waiting is unfair (one of eight processes got one turn in 6 s), so the lock file orders them;
    the transaction is immediate all the same. Every commit is synced: a ledger that forgets is overdrawn.

    Raises:
        Misconfigured: the folder is not known, or cannot be made or written, or the file is no ledger of this
            version.
        ServiceFailed: the disk fails, or the lock was not to be had in time.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        self._clock = clock
        self._steady = steady
        self._threads = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        try:
            self._path = path.expanduser()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._exclusive():
                self._connected()
        except (OSError, RuntimeError, sqlite3.Error) as error:  # RuntimeError: a home that is not known
            raise Misconfigured(
                f"the quota ledger {path} cannot be opened ({error}): set HUNTING_LEDGER to a file on a"
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
                f"the quota ledger {self._path} failed: {error}; no call was allowed"
            ) from error

    def reading(self, run: Run) -> tuple[float, float | None]:
        del run
        return self._clock(), self._steady()

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
    """A database server. An advisory lock gives every session its turn; the server's clock decides.

    The lock covers the whole database, so tenants that share one wait for each other: for milliseconds.

    Raises:
        Misconfigured: psycopg is missing, the URL is malformed, or the tables are of another version.
        ServiceFailed: the server does not answer, or refuses.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], float] | None, steady: Callable[[], float] | None
    ) -> None:
        try:
            import psycopg  # noqa: PLC0415 - an extra: only who uses Postgres installs it
        except ImportError as error:
            raise Misconfigured(
                "HUNTING_LEDGER is a Postgres URL: install hunting-pipeline[postgres], or use a file"
            ) from error
        self._driver = psycopg
        self._url = url
        self._clock = clock
        self._steady = steady
        self._now = 0.0
        self._threads = threading.Lock()
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._process = os.getpid()
        try:
            self._where = _without_secrets(psycopg.conninfo.conninfo_to_dict(url))
        except psycopg.ProgrammingError:  # it repeats the URL
            raise Misconfigured("HUNTING_LEDGER is no valid postgresql:// URL") from None
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
                f"the quota ledger {self._where} failed: {error}; no call was allowed"
            ) from error

    def reading(self, run: Run) -> tuple[float, float | None]:
        del run
        if self._clock is not None:
            return self._clock(), self._steady() if self._steady else None
        return self._now, None

    def close(self) -> None:
        with self._threads:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def _begun(self, stack: ExitStack) -> "psycopg.Connection[tuple[Any, ...]]":
        """The session in a transaction that nobody else is in; `stack` ends it.

        Where the last session was broken (the server was started anew), a new one is opened.
        """
        while True:
            opened = self._connection is None
            connection = self._connection = self._connection or self._opened()
            try:
                with ExitStack() as mine:
                    mine.enter_context(connection.pipeline())  # what gives no rows is not waited for
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
    """Create the tables, or refuse those of another version: what they remember must not be forgotten."""
    run("CREATE TABLE IF NOT EXISTS quota_schema (version INTEGER PRIMARY KEY)")
    versions = [version for (version,) in run("SELECT version FROM quota_schema")]
    if versions and max(versions) != SCHEMA_VERSION:
        raise Misconfigured(
            f"the quota ledger has schema version {max(versions)}, this program knows {SCHEMA_VERSION}: let"
            " HUNTING_LEDGER name another place (a day later nothing of the old one counts), or use the"
            " program that made it"
        )
    for statement in _TABLES:
        run(statement)
    if not versions:
        run("INSERT INTO quota_schema (version) VALUES (?)", SCHEMA_VERSION)
