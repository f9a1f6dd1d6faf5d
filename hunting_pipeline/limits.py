"""The limits of each API: named, frozen profiles with their source and date.

The service counts calls and running time in sliding windows. The counts cover all programs and people of the
tenant. Some figures are no longer published, such as Graph's CPU share. The profile leaves out such a figure:
only the service's 429 replies then limit the calls.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

__all__ = ["ENDPOINT", "GRAPH", "ORIGINAL", "PROFILES", "TEST", "XDR", "Kind", "Limits", "Rate"]


class Kind(StrEnum):
    """The unit that a rate counts."""

    CALLS = "calls"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` calls, or seconds of running time, in any `period` seconds."""

    kind: Kind
    amount: float
    period: float


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one API.

    Attributes:
        name: value of the setting `limits`.
        source: the document with the figures, and the date on which it was read.
        rates: the tenant's quota; every rate applies.
        rows: number of rows at which a reply counts as truncated.
        reply_bytes: most JSON bytes of a reply; None if no limit is known.
        request_seconds: longest running time of one request, in seconds.
        retention_days: number of days that the service keeps rows.
    """

    name: str
    source: str
    rates: tuple[Rate, ...]
    rows: int
    reply_bytes: int | None
    request_seconds: float
    retention_days: int = 30

    @property
    def body_ceiling(self) -> int:
        """Most bytes of JSON that a body may have. A longer body is refused as hostile."""
        return self.reply_bytes * _BODY_HEADROOM if self.reply_bytes else _BODY_CEILING


_MB = 1_000_000

_BODY_HEADROOM = 4
"""Multiple of the documented limit that a body may have."""

_BODY_CEILING = 512 * _MB
"""Most bytes of a body if no limit is documented: four times the largest reply ever reported (124 MB)."""

ORIGINAL = Limits(
    name="original",
    source="Microsoft 365 Defender advanced hunting API document, 2020",
    rates=(
        Rate(Kind.CALLS, 10, 60),
        Rate(Kind.SECONDS, 600, 3600),
        Rate(Kind.SECONDS, 4 * 3600, 24 * 3600),
    ),
    rows=100_000,
    reply_bytes=None,
    request_seconds=600,
)

XDR = Limits(
    name="xdr",
    source="Defender XDR advanced hunting API, 'Quotas and resource allocation', read 2026-11",
    rates=(Rate(Kind.CALLS, 45, 60),),
    rows=100_000,
    reply_bytes=50 * _MB,
    request_seconds=180,
)

GRAPH = Limits(
    name="graph",
    source="Microsoft Graph security: runHuntingQuery, 'Quotas and resource allocation', read 2026-11",
    rates=(Rate(Kind.CALLS, 45, 60),),
    rows=100_000,
    reply_bytes=50 * _MB,
    request_seconds=180,
)

ENDPOINT = Limits(
    name="endpoint",
    source="Defender for Endpoint 'Advanced hunting API', Limitations, read 2026-11",
    rates=(
        Rate(Kind.CALLS, 45, 60),
        Rate(Kind.CALLS, 1500, 3600),
        Rate(Kind.SECONDS, 600, 3600),
        Rate(Kind.SECONDS, 3 * 3600, 24 * 3600),
    ),
    rows=100_000,
    reply_bytes=50 * _MB,
    request_seconds=200,
)

TEST = Limits(
    name="test",
    source="this project's tests: small enough to reach every limit in seconds",
    rates=(Rate(Kind.CALLS, 100_000, 60),),
    rows=1_000,
    reply_bytes=1 * _MB,
    request_seconds=10,
)

PROFILES: Mapping[str, Limits] = MappingProxyType(
    {profile.name: profile for profile in (ORIGINAL, XDR, GRAPH, ENDPOINT, TEST)}
)
"""Every profile by its name."""
