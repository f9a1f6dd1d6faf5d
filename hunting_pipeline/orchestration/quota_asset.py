"""A tenant's quota as an asset: its values as metadata plots, the calls of two days, and two checks."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from hunting_pipeline.orchestration.automation.conditions import health_condition
from hunting_pipeline.orchestration.keys import HEALTHY, SUPPORTED
from hunting_pipeline.orchestration.markdown import code_block, plain
from hunting_pipeline.orchestration.outcomes import errors_as_outcomes
from hunting_pipeline.orchestration.resources import HuntingResource
from hunting_pipeline.quota import HourOfCalls, Usage
from hunting_pipeline.quota.report import describe_left, problems_of, rate_name

__all__ = ["healthy_result", "quota_asset", "supported_result"]

_HISTORY = timedelta(days=2)
"""Time that the metadata `calls by hour` covers. `hunting quota --since` shows more."""

_BAR = 30
"""Characters of the longest bar."""


def quota_asset(hunting: HuntingResource) -> dg.AssetsDefinition:
    """Return the quota asset of a tenant. Every three hours it reads the ledger. It sends no API call."""
    key = dg.AssetKey([*hunting.prefix, "defender", "quota"])
    healthy = "The service does not throttle the tenant, and no call has waited longer than 15 minutes."

    @dg.asset(
        key=key,
        description="The tenant's quota, read from the ledger every three hours. Dagster plots each value."
        " `calls by hour` has the history between two runs.",
        group_name="quota",
        kinds={"microsoft"},
        tags=hunting.tags,
        automation_condition=health_condition(),
        check_specs=[
            dg.AssetCheckSpec(HEALTHY, asset=key, description=healthy),
            dg.AssetCheckSpec(SUPPORTED, asset=key, description="Microsoft announces no end of the API."),
        ],
        required_resource_keys={hunting.key},
    )
    def _quota(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        resource: HuntingResource = getattr(context.resources, hunting.key)
        with errors_as_outcomes(context.log), resource.open_ledger() as ledger:
            usage = ledger.usage()
            start = datetime.fromtimestamp(usage.at, UTC) - _HISTORY
            hours = ledger.hours(since=start.timestamp())
            checks = [healthy_result(usage), supported_result(resource.settings().retirement)]
        yield dg.MaterializeResult(
            metadata=_figures(usage) | {"calls by hour": _history(hours)}, check_results=checks
        )

    return _quota


def healthy_result(usage: Usage) -> dg.AssetCheckResult:
    """Return the result of `healthy`: a warning if calls are blocked or wait too long."""
    problems = problems_of(usage)
    return dg.AssetCheckResult(
        check_name=HEALTHY,
        passed=not problems,
        severity=dg.AssetCheckSeverity.WARN,
        description=plain("; ".join(problems) or describe_left(usage)),
        metadata={"calls by owner": dg.MetadataValue.json(dict(usage.owners))},
    )


def supported_result(retirement: str) -> dg.AssetCheckResult:
    """Return the result of `supported`. `retirement` is the warning about the API's end, or ""."""
    return dg.AssetCheckResult(
        check_name=SUPPORTED,
        passed=not retirement,
        severity=dg.AssetCheckSeverity.WARN,
        description=plain(retirement or "Microsoft announces no end of the API."),
    )


def _history(hours: Sequence[HourOfCalls]) -> dg.MetadataValue:
    """Return a chart of the calls and their running time in each hour with calls."""
    sums: dict[float, tuple[int, float]] = {}
    for one in hours:
        calls, seconds = sums.get(one.start, (0, 0.0))
        sums[one.start] = calls + one.calls, seconds + one.seconds
    most = max((calls for calls, _ in sums.values()), default=0)
    lines = [
        f"{datetime.fromtimestamp(start, UTC):%Y-%m-%d %H:00}  {calls:>6} calls  {seconds:>7.0f} s  "
        + "█" * -(-calls * _BAR // most)
        for start, (calls, seconds) in sums.items()
    ]
    return code_block("\n".join(lines) or "no calls")


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
