"""The turn of a run to write one table of a lake: other runs wait. No row depends on it, only quota."""

import os
import socket
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from hunting_pipeline.lake.layout import lock_path
from hunting_pipeline.lake.stores import LockingStore, Store
from hunting_pipeline.quota.protocol import Ledger

__all__ = ["owner_name", "turn"]


def owner_name() -> str:
    """Return the name of this process for people: its program, its machine and its id."""
    script = Path(sys.argv[0])
    program = script.parent.name if script.stem == "__main__" else script.stem
    return f"{program.replace(' ', '_') or 'python'} {socket.gethostname()}:{os.getpid()}"


def turn(
    store: Store, ledger: Ledger, *, table: str, run_id: str, max_wait: float
) -> AbstractContextManager[None]:
    """Wait until no other run writes a table, and keep other runs waiting.

    All users of a folder share the lock in it. Users of an object store share only the ledger.

    Raises:
        LakeBusy: another run writes the table for longer than `max_wait` seconds.
        Misconfigured: the lake is a folder that cannot be written, or the ledger was deleted.
        ServiceFailed: the store has no locks, and the ledger is unreachable.
    """
    if isinstance(store, LockingStore):
        return store.lock(lock_path(table), max_wait=max_wait)
    holder = f"{owner_name()}, run {run_id}"
    return ledger.claim(table, lake=store.uri(), holder=holder, max_wait=max_wait)
