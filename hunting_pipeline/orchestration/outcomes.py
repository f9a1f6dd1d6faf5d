"""What each error means to Dagster: a person must act, or the step comes back later."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import MappingProxyType

import dagster as dg

from hunting_pipeline import errors
from hunting_pipeline.errors import HuntingError
from hunting_pipeline.settings import name_settings

__all__ = ["OUTCOMES", "outcome_of", "told_to_dagster"]

Outcome = dg.Failure | dg.RetryRequested

_QUOTA_RETRIES = 200
"""A day's budget of running time returns by the quarter of an hour: this is two days of waiting."""

_SERVICE_RETRIES = 3
_SERVICE_SECONDS = 300.0
"""Seconds for the service to recover; calls have already been repeated within the step."""


def _for_a_person(error: HuntingError, *, now: datetime) -> dg.Failure:
    del now
    return dg.Failure(
        _told(error),
        metadata={"error": type(error).__name__, "meaning": _first_line(error)},
        allow_retries=False,
    )


def _when_quota_returns(error: HuntingError, *, now: datetime) -> dg.RetryRequested:
    assert isinstance(error, errors.QuotaExhausted)  # noqa: S101 # by the table below
    seconds = max(1, math.ceil((error.until - now).total_seconds()))
    return dg.RetryRequested(max_retries=_QUOTA_RETRIES, seconds_to_wait=seconds)


def _when_the_service_recovers(error: HuntingError, *, now: datetime) -> dg.RetryRequested:
    del error, now
    return dg.RetryRequested(max_retries=_SERVICE_RETRIES, seconds_to_wait=_SERVICE_SECONDS)


OUTCOMES: Mapping[type[HuntingError], Callable[..., Outcome]] = MappingProxyType(
    {
        errors.Misconfigured: _for_a_person,
        errors.Refused: _for_a_person,
        errors.BeyondRetention: _for_a_person,
        errors.SliceTooDense: _for_a_person,
        errors.ReplyUnreadable: _for_a_person,
        errors.CommitRefused: _for_a_person,
        errors.QuotaExhausted: _when_quota_returns,
        errors.ServiceFailed: _when_the_service_recovers,
    }
)


def outcome_of(error: HuntingError, *, now: datetime) -> Outcome:
    """What to raise in a step for `error`; what it left unsaid (its notes) is told too."""
    return OUTCOMES.get(type(error), _for_a_person)(error, now=now)


@contextmanager
def told_to_dagster(log: dg.DagsterLogManager) -> Iterator[None]:
    """Around the work of a step: an error of ours leaves as its outcome.

    Raises:
        dg.Failure: a person must act.
        dg.RetryRequested: the step comes back later; the log says why, for the request has no words.
    """
    try:
        yield
    except HuntingError as error:
        name_settings(error)
        outcome = outcome_of(error, now=datetime.now(UTC))
        if isinstance(outcome, dg.RetryRequested):
            log.warning("%s Tried again in %.0f seconds.", error, outcome.seconds_to_wait)
        raise outcome from error


def _told(error: HuntingError) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def _first_line(error: HuntingError) -> str:
    return (type(error).__doc__ or "").split("\n", 1)[0]
