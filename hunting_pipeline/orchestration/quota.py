"""A tenant's quota as an asset: what is spent, reserved and left, and whether anybody starves."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from hunting_pipeline.limits import Kind
from hunting_pipeline.orchestration.outcomes import told_to_dagster
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.quota import RateUse, Usage

__all__ = ["HEALTHY", "health", "left_of", "quota_asset"]

HEALTHY = "healthy"
"""Name of the check."""

_CRON = "*/15 * * * *"
"""As often as the service renews its CPU share."""

_LONG_WAIT = 900.0
"""Seconds that a call waits its turn before it counts as starved: the renewal period of the CPU share. What
must wait longer for the quota itself is not in the queue: its step comes back later."""


def quota_asset(hunting: HuntingResource) -> dg.AssetsDefinition:
    """Read from the ledger every quarter of an hour; nobody is asked."""
    key = dg.AssetKey([*hunting.prefix, "defender", "quota"])
    every = dg.AutomationCondition.on_cron(_CRON)
    said = "The service does not refuse the tenant, and no call waits its turn for a quarter of an hour."

    @dg.asset(
        key=key,
        description="What the tenant may still be asked, as the ledger knows it. Every figure is a plot.",
        group_name="quota",
        kinds={"microsoft"},
        tags=hunting.tags,
        automation_condition=every & ~dg.AutomationCondition.in_progress(),
        check_specs=[dg.AssetCheckSpec(HEALTHY, asset=key, description=said)],
        required_resource_keys={hunting.key},
    )
    def _quota(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        resource: HuntingResource = getattr(context.resources, hunting.key)
        with told_to_dagster(context.log), resource.pipeline(run_id=context.run.run_id) as pipeline:
            usage = pipeline.ledger.usage()
        yield dg.MaterializeResult(metadata=_figures(usage), check_results=[health(usage)])

    return _quota


def health(usage: Usage) -> dg.AssetCheckResult:
    """Is the tenant blocked, or does somebody starve?"""
    said = []
    if usage.blocked_until is not None:
        until = datetime.fromtimestamp(usage.blocked_until, UTC)
        said.append(f"blocked until {until:%Y-%m-%d %H:%M:%S} UTC: {usage.block_reason}")
    if usage.longest_wait > _LONG_WAIT:
        said.append(f"a call has been waiting its turn for {usage.longest_wait / 60:.0f} minutes")
    return dg.AssetCheckResult(
        check_name=HEALTHY,
        passed=not said,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(said) or left_of(usage),
        metadata={"spent by": dg.MetadataValue.json(dict(usage.owners))},
    )


def _figures(usage: Usage) -> dict[str, dg.MetadataValue]:
    value = dg.MetadataValue
    blocked = max(0.0, (usage.blocked_until or usage.at) - usage.at)
    figures: dict[str, dg.MetadataValue] = {
        "share": value.float(usage.share),
        "blocked seconds": value.float(round(blocked, 1)),
        "calls running": value.int(usage.running),
        "longest wait": value.float(round(usage.longest_wait, 1)),
        "spent by": value.json(dict(usage.owners)),
    }
    figures |= {f"waiting: {priority}": value.int(count) for priority, count in usage.waiting.items()}
    for use in usage.rates:
        for name in ("spent", "reserved", "left"):
            figures[f"{_rate(use)}: {name}"] = value.float(round(getattr(use, name), 1))
    return figures


def _rate(use: RateUse) -> str:
    unit = "calls" if use.rate.kind is Kind.CALLS else "running seconds"
    return f"{unit} in {use.rate.period:g} s"


def left_of(usage: Usage) -> str:
    """In words, rate by rate."""
    return ", ".join(f"{use.left:.0f} of {use.amount:g} {_rate(use)} left" for use in usage.rates)
