"""Instants as people write them: dates, ISO 8601 times, and times before now. Pure: `now` is an argument."""

import re
from datetime import UTC, date, datetime

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.model import DAY, HOUR, ticks_of

__all__ = ["FORMS", "Moment", "ticks_at"]

Moment = str | date | datetime
"""An instant: a text, see `FORMS`, a date (its midnight) or a datetime. Without a time zone it is UTC."""

FORMS = "YYYY-MM-DD, YYYY-MM-DDTHH, another ISO 8601 time, today, yesterday, or a time before now: 7d, 12h"
"""The accepted texts."""

_BEFORE_NOW = re.compile(r"([0-9]{1,5})([dh])")
_UNITS = {"d": DAY, "h": HOUR}
_WORDS = {"today": "0d", "yesterday": "1d"}


def ticks_at(moment: Moment, now: int) -> int:
    """Return an instant in ticks. A time before `now` (ticks) is rounded down to the day or the hour.

    Raises:
        Misconfigured: a text has none of the accepted forms. The message lists them.
    """
    if isinstance(moment, str):
        if before := _BEFORE_NOW.fullmatch(_WORDS.get(moment, moment)):
            unit = _UNITS[before[2]]
            return (now - int(before[1]) * unit) // unit * unit
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            raise Misconfigured(f"{moment!r} is not a date or a time. Write one of: {FORMS}") from None
    if isinstance(moment, datetime) and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return ticks_of(moment)
