"""A claim on one table of one lake: one run at a time fetches the table. Pure: time is an argument.

An object store has no lock between machines, so two runs would pay for the same rows. A claim in the ledger
makes the second run wait. A claim only saves quota: no row depends on it, because every commit is a
compare-and-swap.

A claim is a lease. Its holder renews it every `RENEWAL_SECONDS`. If the holder is killed, the claim expires
after at most `LEASE_SECONDS`. All times are on the ledger's own time line.
"""

from dataclasses import dataclass, replace

__all__ = ["LEASE_SECONDS", "RENEWAL_SECONDS", "Claim", "requested"]

LEASE_SECONDS = 60.0
"""Seconds from the last renewal until the claim expires: so long, a killed run keeps others waiting."""
RENEWAL_SECONDS = 15.0
"""Seconds between two renewals. Three renewals in a row may fail before the claim expires."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that a run holds.

    Attributes:
        token: the unique name of this claim.
        holder: the run that holds the claim, for messages.
        since: when the run acquired the claim.
        expires: when the claim ends if it is not renewed.
    """

    token: str
    holder: str
    since: float
    expires: float


def requested(present: Claim | None, *, token: str, holder: str, now: float) -> Claim:
    """Return the claim that is valid after a request for it, or for its renewal, at `now`.

    The claim of another run is returned unchanged until it expires.

    Args:
        present: the last claim in the ledger; None if there is none.
        token: the unique name of the requested claim.
        holder: the run that requests the claim.
        now: the ledger's time.
    """
    expires = now + LEASE_SECONDS
    if present is not None and present.token == token:
        return replace(present, expires=expires)
    if present is not None and now < present.expires:
        return present
    return Claim(token, holder, since=now, expires=expires)
