"""A tenant's quota as an asset: its figures as plots, and the check `healthy`."""

from collections.abc import Iterator

import dagster as dg

from hunting_pipeline.orchestration.keys import HEALTHY
from hunting_pipeline.orchestration.outcomes import errors_as_outcomes
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.quota import Usage
from hunting_pipeline.quota.report import describe_left, problems_of, rate_name

__all__ = ["healthy_result", "quota_asset"]

_CRON = "*/15 * * * *"
"""As often as the service renews its CPU share."""


def quota_asset(hunting: HuntingResource) -> dg.AssetsDefinition:
    """Return the asset of a tenant. Every quarter of an hour it reads the ledger; it sends no call."""
    key = dg.AssetKey([*hunting.prefix, "defender", "quota"])
    every = dg.AutomationCondition.on_cron(_CRON)
    healthy = "The service does not throttle the tenant, and no call waits in the queue over 15 minutes."

    @dg.asset(
        key=key,
        description="The tenant's quota as the ledger records it. The UI plots every figure.",
        group_name="quota",
        kinds={"microsoft"},
        tags=hunting.tags,
        automation_condition=every & ~dg.AutomationCondition.in_progress(),
        check_specs=[dg.AssetCheckSpec(HEALTHY, asset=key, description=healthy)],
        required_resource_keys={hunting.key},
    )
    def _quota(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        resource: HuntingResource = getattr(context.resources, hunting.key)
        with errors_as_outcomes(context.log), resource.pipeline(run_id=context.run.run_id) as pipeline:
            usage = pipeline.ledger.usage()
        yield dg.MaterializeResult(metadata=_figures(usage), check_results=[healthy_result(usage)])

    return _quota


def healthy_result(usage: Usage) -> dg.AssetCheckResult:
    """Return the result of `healthy`: a warning if calls do not get through."""
    problems = problems_of(usage)
    return dg.AssetCheckResult(
        check_name=HEALTHY,
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(problems) or describe_left(usage),
        metadata={"calls by owner": dg.MetadataValue.json(dict(usage.owners))},
    )


def _figures(usage: Usage) -> dict[str, dg.MetadataValue]:
    value = dg.MetadataValue
    blocked = max(0.0, (usage.blocked_until or usage.at) - usage.at)
    figures: dict[str, dg.MetadataValue] = {
        "share": value.float(usage.share),
        "blocked seconds": value.float(round(blocked, 1)),
        "calls running": value.int(usage.running),
        "longest wait": value.float(round(usage.longest_wait, 1)),
        "calls by owner": value.json(dict(usage.owners)),
    }
    figures |= {f"waiting: {priority}": value.int(count) for priority, count in usage.waiting.items()}
    for use in usage.rates:
        for name in ("spent", "reserved", "left"):
            figures[f"{rate_name(use)}: {name}"] = value.float(round(getattr(use, name), 1))
    return figures
