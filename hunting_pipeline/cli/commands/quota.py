"""`hunting quota`: show how much of the tenant's quota is spent and left."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from hunting_pipeline.cli.selection import Tenant
from hunting_pipeline.cli.show import print_facts, print_table
from hunting_pipeline.cli.text import Json, duration_of, print_json
from hunting_pipeline.model import DAY, SECOND, iso_of
from hunting_pipeline.moments import FORMS, ticks_at
from hunting_pipeline.pipeline import open_quota
from hunting_pipeline.quota import HourOfCalls, Usage
from hunting_pipeline.settings import load_settings, naming

__all__ = ["quota"]


_BY_HOUR = 2 * DAY
"""Longest time in ticks that the command shows by hour. A longer time is shown by day."""

Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help=f"also show the calls from this time on (UTC): {FORMS}"),
]


def quota(since: Since = None, tenant: Tenant = "", as_json: Json = False) -> None:
    settings = load_settings(tenant)
    now = round(time.time() * SECOND)
    start = None if since is None else ticks_at(since, now)
    with naming(settings), closing(open_quota(settings)) as ledger:
        usage = ledger.usage()
        hours = [] if start is None else ledger.hours(since=start / SECOND)
    if as_json:
        print_json(_as_json(usage) | ({} if start is None else {"hours": [asdict(one) for one in hours]}))
        return
    _print(usage)
    if start is not None:
        _print_calls(hours, start, by_day=now - start > _BY_HOUR)


def _print_calls(hours: Sequence[HourOfCalls], start: int, *, by_day: bool) -> None:
    """Print the calls and their running time by hour or day, table and program."""
    sums: dict[tuple[str, str, str], tuple[int, float]] = {}
    for one in hours:
        moment = datetime.fromtimestamp(one.start, UTC)
        name = f"{moment:%Y-%m-%d}" if by_day else f"{moment:%Y-%m-%d %H}:00"
        calls, seconds = sums.get((name, one.table, one.program), (0, 0.0))
        sums[name, one.table, one.program] = calls + one.calls, seconds + one.seconds
    print_table(
        f"Calls since {iso_of(start)}",
        ["day" if by_day else "hour", "table", "program", "calls", "running time"],
        [[*key, calls, duration_of(seconds)] for key, (calls, seconds) in sums.items()],
    )


def _print(usage: Usage) -> None:
    print_table(
        f"Quota of tenant {usage.tenant} at a share of {usage.share:.0%}",
        ["limit", "spent", "reserved", "left"],
        [
            [f"{use.amount:g} {use.rate.kind} in {duration_of(use.rate.period)}", f"{use.spent:g}",
             f"{use.reserved:g}", f"{use.left:g}"]
            for use in usage.rates
        ],
    )  # fmt: skip
    print_facts(
        {
            "calls in flight": usage.running,
            "blocked": usage.block_reason or "no",
            "failed calls in a row": f"{usage.failures}: {usage.failure}" if usage.failures else 0,
            **{f"calls by {owner}": calls for owner, calls in usage.owners.items()},
        }
    )


def _as_json(usage: Usage) -> dict[str, Any]:
    return {
        "tenant": usage.tenant,
        "share": usage.share,
        "blocked_until": usage.blocked_until,
        "block_reason": usage.block_reason,
        "failures": usage.failures,
        "failure": usage.failure,
        "running": usage.running,
        "rates": [
            {"kind": use.rate.kind, "period_seconds": use.rate.period, "amount": use.amount,
             "spent": use.spent, "reserved": use.reserved, "left": use.left}
            for use in usage.rates
        ],
        "waiting": dict(usage.waiting),
        "owners": dict(usage.owners),
        "priorities": dict(usage.priorities),
    }  # fmt: skip
