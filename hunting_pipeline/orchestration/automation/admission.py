"""Whether the automation may send requests: first one run, and the others after the tenant has accepted it.

A wrong secret, a missing permission or a wrong setting fails every run. So with settings that the tenant has
not accepted yet, the automation requests a single run, the trial. The ledger records the tenant's answer.
"""

import time
from dataclasses import dataclass
from enum import Enum

from hunting_pipeline.errors import HuntingError
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.quota.protocol import Access
from hunting_pipeline.settings import name_settings

__all__ = ["TRIAL_PAUSE", "Admission", "Admitted", "admission", "decide"]

TRIAL_PAUSE = 900.0
"""Seconds between two trials with the same settings: a wrong secret causes four failed sign-ins an hour."""


class Admitted(Enum):
    """The decision: request everything, request one run, or nothing."""

    ALL = "all"
    ONE = "one"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Admission:
    """A decision, with what the next tick needs.

    Attributes:
        admitted: the decision.
        identity: the digest of the settings.
        since: time (Unix seconds) from which the tenant accepts the settings; 0 if it does not.
        reason: why not everything is requested, for people.
    """

    admitted: Admitted
    identity: str
    since: float
    reason: str


def decide(access: Access | None, *, identity: str, tried: tuple[str, float], now: float) -> Admission:
    """Decide what the automation may request at `now` (Unix seconds).

    Args:
        access: the latest answer of the tenant to these settings.
        identity: the digest of the settings.
        tried: the digest and the time of the last trial.
        now: the present.
    """
    if access is not None and not access.refusal:
        return Admission(Admitted.ALL, identity, access.since, "")
    last = max(access.at if access else 0.0, tried[1] if tried[0] == identity else 0.0)
    if now >= last + TRIAL_PAUSE:
        return Admission(Admitted.ONE, identity, 0.0, "the tenant has not accepted these settings yet")
    answer = access.refusal if access else "The first run with these settings has not reached the tenant."
    reason = (
        f"{answer}\nNothing is requested. The next try is {TRIAL_PAUSE / 60:.0f} minutes after the last one,"
        " or at once when a setting changes."
    )
    return Admission(Admitted.NONE, identity, 0.0, reason)


def admission(hunting: HuntingResource, *, tried: tuple[str, float]) -> Admission:
    """Read the settings and the ledger, and decide. Settings that are wrong admit nothing."""
    try:
        settings = hunting.settings()
        settings.tenant()
        identity = settings.identity
        with hunting.open_ledger() as ledger:
            access = ledger.access(identity)
    except HuntingError as error:
        name_settings(error)
        return Admission(Admitted.NONE, "", 0.0, f"{error}")
    return decide(access, identity=identity, tried=tried, now=time.time())
