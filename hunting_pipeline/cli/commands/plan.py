"""`hunting plan`: show the size and the cost of a pull."""

from collections.abc import Sequence
from typing import Any

from hunting_pipeline.cli.log import warn
from hunting_pipeline.cli.selection import From, Tables, Tenant, To, selected_tables
from hunting_pipeline.cli.show import print_facts, print_table
from hunting_pipeline.cli.text import Json, bytes_of, duration_of, print_json
from hunting_pipeline.cli.work import Problems, date_range, opened
from hunting_pipeline.model import Partition
from hunting_pipeline.pipeline import TablePlan
from hunting_pipeline.settings import load_settings

__all__ = ["plan", "show_plans"]


def plan(
    tables: Tables = None,
    start: From = None,
    end: To = None,
    tenant: Tenant = "",
    as_json: Json = False,
) -> None:
    show_plans(tables or [], start, end, tenant, renew=False, as_json=as_json)


def show_plans(
    tables: Sequence[str], start: str | None, end: str | None, tenant: str, *, renew: bool, as_json: bool
) -> None:
    """Plan a pull of each table, and print the plans.

    With `renew`, the plan also includes partitions that another query archived.
    """
    settings = load_settings(tenant)
    plans: list[TablePlan] = []
    problems = Problems(settings)
    with opened(settings) as pipeline:
        days = date_range(pipeline, start, end)
        for spec in problems.until_fatal(selected_tables(tables, settings, pipeline.store)):
            with problems.collected():
                plans.append(pipeline.plan(spec, days.partitions(spec), renew=renew))
                problems.extend(plans[-1].refused)
        at_risk = pipeline.at_risk(plans)
    if settings.retirement:
        warn(settings.retirement)
    if as_json:
        print_json([_as_json(plan, at_risk) for plan in plans])
    else:
        _print(plans, f"Plan for {days}", at_risk)
    problems.report()


def _print(plans: Sequence[TablePlan], title: str, at_risk: Sequence[Partition]) -> None:
    print_table(
        title,
        ["table", "partitions", "rows", "JSON", "calls", "running time", "shortest time under the quota"],
        [
            [p.spec.name, len({partition for partition, _ in p.backlog.missing}), p.cost.rows,
             bytes_of(p.cost.body_bytes), p.cost.calls, duration_of(p.cost.running_seconds),
             duration_of(p.cost.wall_seconds)]
            for p in plans
        ],
    )  # fmt: skip
    if at_risk:
        print_facts({"These partitions expire before the quota allows a call:": ", ".join(map(str, at_risk))})


def _as_json(plan: TablePlan, at_risk: Sequence[Partition]) -> dict[str, Any]:
    return {
        "table": plan.spec.name,
        "partitions": [partition.key for partition in dict.fromkeys(p for p, _ in plan.backlog.missing)],
        "covered": [partition.key for partition in plan.backlog.covered],
        "forgotten": [partition.key for partition in plan.backlog.forgotten],
        "at_risk": [partition.key for partition in at_risk if partition.table == plan.spec.name],
        "rows": plan.cost.rows,
        "json_bytes": plan.cost.body_bytes,
        "calls": plan.cost.calls,
        "planning_calls": plan.planning_calls,
        "running_seconds": plan.cost.running_seconds,
        "wall_seconds": plan.cost.wall_seconds,
    }
