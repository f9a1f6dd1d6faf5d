"""Where a ledger lives: one transaction at a time, over threads, processes and, with Postgres, machines.

A store gives transactions that exclude each other, and the time as its clock tells it. It knows nothing of
quotas. Statements are written with `?` and mean the same in both databases.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import filelock

from hunting_pipeline.errors import Misconfigured, ServiceFailed

__all__ = ["Run", "SqliteStore", "Store", "boot_seconds"]

LOCK_SECONDS = 30.0
"""How long to wait for one's turn: 30 times the worst wait measured with 8 processes."""
SCHEMA_VERSION = 1

_TABLES = (
    "CREATE TABLE IF NOT EXISTS quota_schema (version INTEGER PRIMARY KEY)",
    """CREATE TABLE IF NOT EXISTS quota_tenant (tenant TEXT PRIMARY KEY, now DOUBLE PRECISION NOT NULL,
        wall DOUBLE PRECISION NOT NULL, steady DOUBLE PRECISION, blocked_until DOUBLE PRECISION NOT NULL,
        block_reason TEXT NOT NULL, next_turn BIGINT NOT NULL, fresh_run BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS quota_spend (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, lane TEXT NOT NULL,
        owner TEXT NOT NULL, source_table TEXT NOT NULL, reserved_at DOUBLE PRECISION NOT NULL,
        seconds DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION NOT NULL, ended DOUBLE PRECISION)""",
    "CREATE INDEX IF NOT EXISTS quota_spend_ended ON quota_spend (tenant, ended)",
    """CREATE TABLE IF NOT EXISTS quota_waiting (tenant TEXT NOT NULL, seat TEXT NOT NULL, lane TEXT NOT NULL,
        turn BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL, asked_at DOUBLE PRECISION NOT NULL,
        wake_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (tenant, seat, lane))""",
    """CREATE TABLE IF NOT EXISTS quota_estimate (tenant TEXT NOT NULL, source_table TEXT NOT NULL,
        mean DOUBLE PRECISION NOT NULL, deviation DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (tenant, source_table))""",
)

Run = Callable[..., list[tuple[Any, ...]]]
"""`run(statement, *values)`: the rows it gives."""


class Store(Protocol):
    """Transactions that exclude each other."""

    def transaction(self) -> AbstractContextManager[Run]:
        """A transaction: committed when the block ends, rolled back when it raises."""

    def reading(self, run: Run) -> tuple[float, float | None]:
        """The store's wall clock (unix seconds) and, where it has one, its steady clock (seconds)."""

    def close(self) -> None:
        """Let go of the database. A closed store opens again when it is next used."""


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
        Misconfigured: the folder cannot be made or written, or the file is no ledger of this version.
        ServiceFailed: the disk fails, or the lock was not to be had in time.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        self._path = path
        self._clock = clock
        self._steady = steady
        self._threads = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._exclusive():
                self._connected()
        except (OSError, sqlite3.Error) as error:
            raise Misconfigured(
                f"the quota ledger {path} cannot be opened ({error}): set LEDGER to a file on a local disk"
                " that this user may write"
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
        if self._process != os.getpid():  # forked: neither lock nor connection may be inherited
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
                _migrate(lambda statement, *values: connection.execute(statement, values).fetchall())
            self._connection = connection
        return self._connection


def _migrate(run: Run) -> None:
    """Create the tables, or refuse those of a newer version."""
    for statement in _TABLES:
        run(statement)
    versions = [version for (version,) in run("SELECT version FROM quota_schema")]
    if not versions:
        run("INSERT INTO quota_schema (version) VALUES (?)", SCHEMA_VERSION)
    elif max(versions) != SCHEMA_VERSION:
        raise Misconfigured(
            f"the quota ledger has schema version {max(versions)}, this program knows {SCHEMA_VERSION}:"
            " use the program that made it, or another LEDGER"
        )
