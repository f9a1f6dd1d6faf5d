"""The effect of each error in Dagster: the step fails, or Dagster retries it later."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import MappingProxyType

import dagster as dg

from hunting_pipeline import errors
from hunting_pipeline.errors import HuntingError
from hunting_pipeline.orchestration.markdown import unlinked
from hunting_pipeline.settings import name_settings

__all__ = ["OUTCOMES", "errors_as_outcomes", "outcome_of"]

Outcome = dg.Failure | dg.RetryRequested

_QUOTA_RETRIES = 200
"""Enough for two days, because the service renews CPU quota every 15 minutes."""

_BUSY_RETRIES = 600
"""Enough for two days: a backfill may hold a table for that long."""

_SERVICE_RETRIES = 3
_SERVICE_SECONDS = 300.0
"""Seconds between retries of a step. Within the step, each call has already been retried."""


def _failure(error: HuntingError, *, now: datetime) -> dg.Failure:
    del now
    return dg.Failure(
        _text_of(error),
        metadata={"error": type(error).__name__, "meaning": _first_line(error)},
        allow_retries=False,
    )


def _retry_with_quota(error: HuntingError, *, now: datetime) -> dg.RetryRequested:
    assert isinstance(error, errors.QuotaExhausted)  # noqa: S101 # by the table below
    seconds = max(1, math.ceil((error.until - now).total_seconds()))
    return dg.RetryRequested(max_retries=_QUOTA_RETRIES, seconds_to_wait=seconds)


def _retry_after_outage(error: HuntingError, *, now: datetime) -> dg.RetryRequested:
    del error, now
    return dg.RetryRequested(max_retries=_SERVICE_RETRIES, seconds_to_wait=_SERVICE_SECONDS)


def _retry_after_other_run(error: HuntingError, *, now: datetime) -> dg.RetryRequested:
    del error, now
    return dg.RetryRequested(max_retries=_BUSY_RETRIES, seconds_to_wait=_SERVICE_SECONDS)


OUTCOMES: Mapping[type[HuntingError], Callable[..., Outcome]] = MappingProxyType(
    {
        errors.Misconfigured: _failure,
        errors.Refused: _failure,
        errors.BeyondRetention: _failure,
        errors.SliceTooDense: _failure,
        errors.ResultTooLarge: _failure,
        errors.ReplyUnreadable: _failure,
        errors.CommitRefused: _failure,
        errors.QuotaExhausted: _retry_with_quota,
        errors.ServiceFailed: _retry_after_outage,
        errors.LakeBusy: _retry_after_other_run,
    }
)


def outcome_of(error: HuntingError, *, now: datetime) -> Outcome:
    """Return the exception that a step raises for an error. A failure contains the message and notes."""
    return OUTCOMES.get(type(error), _failure)(error, now=now)


@contextmanager
def errors_as_outcomes(log: logging.Logger) -> Iterator[None]:
    """Replace errors of this package by exceptions that Dagster acts on. Wraps the work of a step.

    Raises:
        dg.Failure: a person must act.
        dg.RetryRequested: Dagster retries the step later. The reason is logged, because this exception has
            no message.
    """
    try:
        yield
    except HuntingError as error:
        name_settings(error)
        outcome = outcome_of(error, now=datetime.now(UTC))
        if isinstance(outcome, dg.RetryRequested):
            text = unlinked(str(error))
            log.warning("%s Dagster retries this step in %.0f seconds.", text, outcome.seconds_to_wait)
        raise outcome from error


def _text_of(error: HuntingError) -> str:
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def _first_line(error: HuntingError) -> str:
    return (type(error).__doc__ or "").split("\n", 1)[0]
