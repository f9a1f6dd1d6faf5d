"""The turn of a run to write one table of a lake: other runs wait. No row depends on it, only quota."""

import os
import socket
from contextlib import AbstractContextManager

from hunting_pipeline.lake.layout import lock_path
from hunting_pipeline.lake.stores import LockingStore, Store
from hunting_pipeline.quota.protocol import Ledger

__all__ = ["process_name", "turn"]


def process_name() -> str:
    """Return the name of this process for people: its machine and its id."""
    return f"{socket.gethostname()}:{os.getpid()}"


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
    holder = f"process {process_name()}, run {run_id}"
    return ledger.claim(table, lake=store.uri(), holder=holder, max_wait=max_wait)
