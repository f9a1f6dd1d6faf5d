"""The service's time, from the `Date` of its replies.

A `Date` has whole seconds, and the reply takes time to arrive. So a reply gives the earliest and the latest
time that the service's clock can show when the reply arrives. The earliest one counts: rows that may not be
settled yet are then left for a later run. A later reply corrects the clock only if it contradicts the clock.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from hunting_pipeline.errors import Misconfigured

__all__ = ["ServiceClock", "seconds_of_date"]

_log = logging.getLogger(__name__)

WRONG_SECONDS = 60.0
"""From this difference on, this machine's clock is wrong: a warning is logged."""
REFUSED_SECONDS = 3600.0
"""From this difference on, a run ends at its first reply."""


class ServiceClock:
    """The clock of the service. Threads may share it.

    It starts with this machine's time. Later changes of this machine's clock have no effect.

    Args:
        machine: this machine's clock (Unix seconds). It is read once.
        monotonic: a clock that no one can set, in seconds.

    Attributes:
        difference: seconds by which this machine's clock was ahead of the service; negative if it was behind,
            None before the first reply with a `Date`.
    """

    def __init__(
        self, machine: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.difference: float | None = None
        self._monotonic = monotonic
        self._start = machine() - monotonic()  # the time when the monotonic clock was zero
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return the service's time (Unix seconds), or this machine's time before the first reply."""
        return self._monotonic() + self._start

    @property
    def machine_wrong(self) -> bool:
        """Whether the first reply showed that this machine's clock is wrong by a minute or more."""
        return self.difference is not None and abs(self.difference) >= WRONG_SECONDS

    @property
    def summary(self) -> str:
        """The difference as text; "" before the first reply with a `Date`."""
        return "" if self.difference is None else _text(self.difference)

    def correct(self, date: str, *, sent: float, received: float) -> None:
        """Compare the clock with the `Date` of a reply, and correct it.

        A missing or unreadable `Date` changes nothing.

        Args:
            date: the value of the header.
            sent: when the request was sent, on the monotonic clock.
            received: when the headers of the reply arrived, on the monotonic clock.

        Raises:
            Misconfigured: at the first reply, this machine's clock is wrong by an hour or more.
        """
        seconds = seconds_of_date(date)
        if seconds is None:
            return
        with self._lock:
            earliest, latest = seconds - received, seconds + 1 - sent
            if self.difference is None:
                self._compare(self._start - earliest)
                self._start = earliest
            elif not earliest <= self._start <= latest:
                self._start = earliest

    def _compare(self, difference: float) -> None:
        """Set the difference at the first reply. Refuse a large one, and warn of a small one."""
        if abs(difference) >= REFUSED_SECONDS:
            raise Misconfigured(
                f"this machine's clock is {_text(difference)}. No rows were fetched."
                " Correct this machine's clock and run again"
            )
        self.difference = difference
        if self.machine_wrong:
            _log.warning(
                "This machine's clock is %s. The service's time is used. Correct this machine's clock",
                self.summary,
            )


def _text(difference: float) -> str:
    span = timedelta(seconds=round(abs(difference)))
    return f"{span} {'ahead of' if difference > 0 else 'behind'} the service's clock"


def seconds_of_date(date: str) -> float | None:
    """Return the Unix seconds of an HTTP date, or None if the text is not an HTTP date."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000" of RFC 5322 means UTC
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
