"""Holding a claim: wait for it, renew it in a thread, release it. See `claims` for its rules.

An outage of the ledger is an error only while a run waits for the claim. Later, the run has nothing to gain
from an error: a lost claim costs quota, and no rows.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from threading import Event, Thread
from uuid import uuid4

from hunting_pipeline.errors import HuntingError, LakeBusy
from hunting_pipeline.quota import claims
from hunting_pipeline.quota.claims import Claim
from hunting_pipeline.quota.records import TenantRecords

__all__ = ["holding"]

_POLL_SECONDS = 1.0
"""Seconds between two requests of a run that waits."""

_log = logging.getLogger(__name__)

_Answer = tuple[Claim, float]
"""The valid claim, and the caller's time minus the ledger's time."""
_Step = Callable[[TenantRecords, float], _Answer]


@contextmanager
def holding(
    table: str,
    *,
    lake: str,
    holder: str,
    max_wait: float,
    repeated: Callable[[_Step], _Answer],
    once: Callable[[_Step], _Answer],
) -> Iterator[None]:
    """Wait for the claim of a table, and hold it, see `Ledger.claim`.

    Args:
        table: the table.
        lake: the location of the lake.
        holder: the run that asks.
        max_wait: longest wait in seconds.
        repeated: runs a step in a transaction, and repeats it during an outage of the ledger.
        once: runs a step in a transaction.
    """
    token = uuid4().hex

    def request(records: TenantRecords, offset: float) -> _Answer:
        present = records.claim(table, lake=lake)
        valid = claims.requested(present, token=token, holder=holder, now=records.now)
        if valid != present:
            records.write_claim(table, lake=lake, claim=valid)
        return valid, offset

    def release(records: TenantRecords, offset: float) -> _Answer:
        records.delete_claim(token)
        return Claim(token, holder, records.now, records.now), offset

    def renew() -> None:
        while not ended.wait(claims.RENEWAL_SECONDS):
            with suppress(HuntingError):  # the next renewal may come before the claim expires
                valid, offset = once(request)
                if valid.token != token:
                    _log.warning(
                        "another run has taken the claim on %s in the lake %s (%s). It may fetch the same"
                        " rows, which costs quota. No row is lost or doubled. This run goes on",
                        *(table, lake, _described(valid, offset)),
                    )
                    return

    _wait(lambda: repeated(request), token, where=(table, lake), max_wait=max_wait)
    ended = Event()
    thread = Thread(target=renew, name=f"claim of {table}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()  # a renewal after the release would claim the table again
        with suppress(HuntingError):  # the claim expires
            once(release)


def _wait(ask: Callable[[], _Answer], token: str, *, where: tuple[str, str], max_wait: float) -> None:
    """Ask until the claim is this run's own.

    Raises:
        LakeBusy: another run holds the claim for longer than `max_wait` seconds.
    """
    table, lake = where
    begun, reported = time.monotonic(), False
    while True:
        valid, offset = ask()
        if valid.token == token:
            return
        left = begun + max_wait - time.monotonic()
        if left <= 0:
            raise LakeBusy(
                f"another run still fetches {table} into the lake {lake} after {max_wait:.0f} seconds"
                f" ({_described(valid, offset)}). No call was sent. Run again when that run has ended"
            )
        if not reported:
            reported = True
            _log.warning(
                "another run fetches %s into the lake %s; waiting up to %.0f seconds until it ends (%s)",
                *(table, lake, max_wait, _described(valid, offset)),
            )
        time.sleep(min(left, _POLL_SECONDS))


def _described(claim: Claim, offset: float) -> str:
    since = datetime.fromtimestamp(claim.since + offset, UTC)
    return f"{claim.holder}, since {since.isoformat(timespec='seconds')}"
