"""A tenant's quota as an asset: what is spent, reserved and left, and whether anybody starves."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from hunting_pipeline.limits import Kind
from hunting_pipeline.orchestration.outcomes import told_to_dagster
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.quota import RateUse, Usage

__all__ = ["HEALTHY", "health", "quota_asset"]

HEALTHY = "healthy"
"""Name of the check."""

_CRON = "*/15 * * * *"
"""As often as the service renews its CPU share."""

_LONG_WAIT = 3600.0
"""Seconds: every documented limit but that of a day renews within an hour."""


def quota_asset(hunting: HuntingResource) -> dg.AssetsDefinition:
    """Read from the ledger every quarter of an hour; nobody is asked."""
    key = dg.AssetKey([*hunting.prefix, "defender", "quota"])
    every = dg.AutomationCondition.on_cron(_CRON)
    said = "The service does not refuse the tenant, and no call waits for more than an hour."

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
    """Is the tenant blocked, or does somebody wait longer than a limit of an hour can explain?"""
    said = []
    if usage.blocked_until is not None:
        until = datetime.fromtimestamp(usage.blocked_until, UTC)
        said.append(f"blocked until {until:%Y-%m-%d %H:%M:%S} UTC: {usage.block_reason}")
    if usage.longest_wait > _LONG_WAIT:
        said.append(f"a call has been waiting for {usage.longest_wait / 60:.0f} minutes")
    return dg.AssetCheckResult(
        check_name=HEALTHY,
        passed=not said,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(said) or "; ".join(map(_left, usage.rates)),
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
    figures |= {f"waiting: {lane}": value.int(count) for lane, count in usage.waiting.items()}
    for use in usage.rates:
        for name in ("spent", "reserved", "left"):
            figures[f"{_rate(use)}: {name}"] = value.float(round(getattr(use, name), 1))
    return figures


def _rate(use: RateUse) -> str:
    unit = "calls" if use.rate.kind is Kind.CALLS else "running seconds"
    return f"{unit} in {use.rate.period:g} s"


def _left(use: RateUse) -> str:
    return f"{use.left:g} of {use.amount:g} {_rate(use)} left"
