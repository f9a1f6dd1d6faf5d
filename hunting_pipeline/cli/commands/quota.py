"""`hunting quota`: show how much of the tenant's quota is spent and left."""

from contextlib import closing
from typing import Any

from hunting_pipeline.cli.selection import Tenant
from hunting_pipeline.cli.show import print_facts, print_table
from hunting_pipeline.cli.text import Json, duration_of, print_json
from hunting_pipeline.pipeline import open_quota
from hunting_pipeline.quota import Usage
from hunting_pipeline.settings import load_settings, naming

__all__ = ["quota"]


def quota(tenant: Tenant = "", as_json: Json = False) -> None:
    settings = load_settings(tenant)
    with naming(settings), closing(open_quota(settings)) as ledger:
        usage = ledger.usage()
    if as_json:
        print_json(_as_json(usage))
    else:
        _print(usage)


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
