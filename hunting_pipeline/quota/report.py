"""The state of a tenant's quota as text."""

from datetime import UTC, datetime

from hunting_pipeline.limits import Kind
from hunting_pipeline.quota.outage import TABLE_FAILURES
from hunting_pipeline.quota.protocol import Usage
from hunting_pipeline.quota.windows import RateUse

__all__ = ["describe_left", "problems_of", "rate_name"]

_LONG_WAIT = 900.0
"""Seconds in the queue after which a wait is reported as a problem: the renewal period of the service's CPU
share. A call that must wait longer for quota leaves the queue, and its step is retried later."""


def rate_name(use: RateUse) -> str:
    """Return the name of a rate, such as `calls in 60 s`."""
    unit = "calls" if use.rate.kind is Kind.CALLS else "running seconds"
    return f"{unit} in {use.rate.period:g} s"


def describe_left(usage: Usage) -> str:
    """Return the amount left of each rate, such as `30 of 36 calls in 60 s left`."""
    return ", ".join(f"{use.left:.0f} of {use.amount:g} {rate_name(use)} left" for use in usage.rates)


def problems_of(usage: Usage) -> list[str]:
    """Return the problems of a tenant's calls: the service throttles or fails, or a call waits too long."""
    problems = []
    if usage.blocked_until is not None:
        until = datetime.fromtimestamp(usage.blocked_until, UTC)
        problems.append(f"blocked until {until:%Y-%m-%d %H:%M:%S} UTC: {usage.block_reason}")
    if usage.failures >= TABLE_FAILURES:
        problems.append(f"the last {usage.failures} calls failed, the last with: {usage.failure}")
    if usage.longest_wait > _LONG_WAIT:
        problems.append(f"a call has been waiting in the queue for {usage.longest_wait / 60:.0f} minutes")
    return problems
