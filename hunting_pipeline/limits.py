"""What a tenant may ask: named, frozen profiles, each with its source and date.

The service counts calls and running time over sliding windows for the whole tenant, whoever asks. Where it no
longer publishes a figure (Graph's CPU share) the profile has none, and what the service says in a 429 rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

__all__ = ["ENDPOINT", "GRAPH", "ORIGINAL", "PROFILES", "TEST", "XDR", "Kind", "Limits", "Rate"]


class Kind(StrEnum):
    """What a rate counts."""

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
    """One surface's limits.

    Attributes:
        name: as in the setting `LIMITS`.
        source: where the figures stand, and when they were read.
        rates: what the tenant may spend; all must hold.
        rows: a reply of this many rows counts as cut (rows).
        reply_bytes: JSON bytes a reply may hold; None where no limit is known.
        request_seconds: how long the service lets one request run.
        retention_days: how far back the service remembers.
    """

    name: str
    source: str
    rates: tuple[Rate, ...]
    rows: int
    reply_bytes: int | None
    request_seconds: float
    retention_days: int = 30


_MB = 1_000_000

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
"""By name, as the setting `LIMITS` takes them."""
