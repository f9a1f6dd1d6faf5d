"""Instants as .NET ticks: units of 100 ns since 0001-01-01T00:00:00Z, as returned by `tolong(datetime)`."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

MICROSECOND = 10
MILLISECOND = 10_000
SECOND = 10_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
UNIX_EPOCH = 621_355_968_000_000_000
_YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,7})\d*)?)?)?"
    r"\s*(Z|[+-]\d{2}:?\d{2})?"
)


def from_datetime(moment: datetime) -> int:
    """Return the ticks of an aware datetime."""
    return (moment - _YEAR_ONE) // timedelta(microseconds=1) * MICROSECOND


def parse(text: str) -> int:
    """Parse an ISO 8601 instant with 0 to 7 fraction digits into ticks. No zone means UTC.

    Raises:
        ValueError: the text is not such an instant.
    """
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an ISO 8601 instant")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    whole = datetime(
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
    )
    ticks = from_datetime(whole) + int((fraction or "").ljust(7, "0"))
    if zone and zone != "Z":
        shift = int(zone[1:3]) * HOUR + int(zone[-2:]) * MINUTE
        ticks -= shift if zone[0] == "+" else -shift
    return ticks


def http_date(ticks: int) -> str:
    """Format ticks as an HTTP date, which has whole seconds."""
    return format_datetime(_YEAR_ONE + timedelta(seconds=ticks // SECOND), usegmt=True)


def text(ticks: int) -> str:
    """Format ticks as ISO 8601, like the service, without trailing zeros in the fraction."""
    whole = _YEAR_ONE + timedelta(seconds=ticks // SECOND)
    fraction = f"{ticks % SECOND:07d}".rstrip("0")
    return f"{whole:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + (f".{fraction}Z" if fraction else "Z")
