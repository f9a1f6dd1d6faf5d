"""What commands show of their results: a table for people, or one JSON document."""

from collections.abc import Sequence
from typing import Any

from hunting_pipeline.catalog import Entry
from hunting_pipeline.cli.show import bytes_of, duration_of, facts, print_json, print_table
from hunting_pipeline.model import Partition, Report, datetime_of
from hunting_pipeline.pipeline import Coverage, Recount, TablePlan
from hunting_pipeline.quota import Usage

__all__ = [
    "show_catalogue",
    "show_coverage",
    "show_plans",
    "show_recounts",
    "show_reports",
    "show_usage",
]


def show_catalogue(entries: Sequence[Entry], *, as_json: bool) -> None:
    """The known tables."""
    if as_json:
        print_json([{"table": e.name, "service": e.service, "time_column": e.time_column,
                     "columns": len(e.columns), "preview": e.preview, "deprecated": e.deprecated}
                    for e in entries])  # fmt: skip
        return
    print_table(
        "Hunting tables",
        ["table", "service", "time column", "columns", "bytes a row", "state"],
        [
            [e.name, e.service, e.time_column or "– (snapshot)", len(e.columns), e.bytes_per_row, _state(e)]
            for e in entries
        ],
    )


def _state(entry: Entry) -> str:
    return "deprecated" if entry.deprecated else "preview" if entry.preview else ""


def show_plans(
    plans: Sequence[TablePlan], asked: str, at_risk: Sequence[Partition], *, as_json: bool
) -> None:
    """What pulls would fetch and cost, and which partitions would be forgotten before their turn."""
    if as_json:
        print_json([_plan_json(p, at_risk) for p in plans])
        return
    print_table(
        f"Plan for {asked}",
        ["table", "partitions", "rows", "JSON", "calls", "running time", "least time under the quota"],
        [
            [p.spec.name, len({partition for partition, _ in p.backlog.missing}), p.cost.rows,
             bytes_of(p.cost.body_bytes), p.cost.calls, duration_of(p.cost.running_seconds),
             duration_of(p.cost.wall_seconds)]
            for p in plans
        ],
    )  # fmt: skip
    if at_risk:
        facts({"will be forgotten before their turn:": ", ".join(map(str, at_risk))})


def show_coverage(found: Sequence[Coverage], title: str, *, as_json: bool) -> None:
    """What the lake holds."""
    if as_json:
        print_json([_status_json(c) for c in found])
        return
    print_table(
        title,
        ["table", "archived", "backlog_of", "lost", "rows", "Parquet", "covered up to"],
        [
            [c.spec.name, f"{len(c.archived)} of {len(c.partitions) - len(c.backlog.future)}",
             len({partition for partition, _ in c.backlog.missing}), len(c.backlog.forgotten),
             sum(manifest.proof.rows for manifest in c.archived),
             bytes_of(sum(manifest.file_bytes for manifest in c.archived)), _covered_to(c)]
            for c in found
        ],
    )  # fmt: skip


def show_usage(usage: Usage, *, as_json: bool) -> None:
    """How the tenant's quota stands."""
    if as_json:
        print_json({
            "tenant": usage.tenant, "share": usage.share, "blocked_until": usage.blocked_until,
            "block_reason": usage.block_reason, "running": usage.running,
            "rates": [{"kind": use.rate.kind, "period_seconds": use.rate.period, "amount": use.amount,
                       "spent": use.spent, "reserved": use.reserved, "left": use.left}
                      for use in usage.rates],
            "waiting": dict(usage.waiting), "owners": dict(usage.owners),
            "priorities": dict(usage.priorities),
        })  # fmt: skip
        return
    print_table(
        f"Quota of tenant {usage.tenant} at a share of {usage.share:.0%}",
        ["limit", "spent", "reserved", "left"],
        [
            [f"{use.amount:g} {use.rate.kind} in {duration_of(use.rate.period)}", f"{use.spent:g}",
             f"{use.reserved:g}", f"{use.left:g}"]
            for use in usage.rates
        ],
    )  # fmt: skip
    facts(
        {
            "calls running": usage.running,
            "blocked": usage.block_reason or "no",
            **{f"calls by {owner}": calls for owner, calls in usage.owners.items()},
        }
    )


def _plan_json(plan: TablePlan, at_risk: Sequence[Partition]) -> dict[str, Any]:
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


def show_reports(reports: Sequence[Report], *, as_json: bool) -> None:
    """What pulls did."""
    if as_json:
        print_json([
            {"table": r.table, "partitions": [receipt.partition.key for receipt in r.receipts],
             "covered": [partition.key for partition in r.covered],
             "rows": sum(receipt.proof.rows for receipt in r.receipts),
             "file_bytes": sum(receipt.file_bytes for receipt in r.receipts),
             "json_bytes": sum(receipt.body_bytes for receipt in r.receipts),
             "calls": r.calls, "running_seconds": r.running_seconds, "waited_seconds": r.waited_seconds,
             "resumed_slices": r.resumed}
            for r in reports
        ])  # fmt: skip
        return
    print_table(
        "Landed",
        ["table", "partitions", "rows", "Parquet", "JSON", "calls", "waited for quota", "already there"],
        [
            [r.table, len(r.receipts), sum(receipt.proof.rows for receipt in r.receipts),
             bytes_of(sum(receipt.file_bytes for receipt in r.receipts)),
             bytes_of(sum(receipt.body_bytes for receipt in r.receipts)),
             r.calls, duration_of(r.waited_seconds), len(r.covered)]
            for r in reports
        ],
    )  # fmt: skip


def _covered_to(found: Coverage) -> str:
    if not found.archived:
        return "–"
    return f"{datetime_of(found.archived[-1].covered[-1].end):%Y-%m-%d %H:%M}"


def _status_json(found: Coverage) -> dict[str, Any]:
    return {
        "table": found.spec.name,
        "archived": [
            {"partition": manifest.partition.key, "rows": manifest.proof.rows,
             "file_bytes": manifest.file_bytes, "covered": [str(window) for window in manifest.covered],
             "slices": len(manifest.segments)}
            for manifest in found.archived
        ],
        "missing": [
            {"partition": partition.key, "span": str(span)} for partition, span in found.backlog.missing
        ],
        "forgotten": [partition.key for partition in found.backlog.forgotten],
        "future": [partition.key for partition in found.backlog.future],
    }  # fmt: skip


def show_recounts(found: Sequence[tuple[Recount, Report]], *, as_json: bool) -> None:
    """What counting anew found, and what was replaced."""
    if as_json:
        print_json([
            {"table": compared.table, "rows": compared.rows, "windows": list(map(str, compared.windows)),
             "differing": list(map(str, compared.grown)), "shrunk": list(map(str, compared.shrunk)),
             "archived_by_another_query": [partition.key for partition in compared.other_query],
             "replaced": [receipt.partition.key for receipt in report.receipts], "calls": report.calls}
            for compared, report in found
        ])  # fmt: skip
        return
    print_table(
        "Reconciled",
        ["table", "rows compared", "bins that differ", "bins that shrank", "partitions replaced",
         "by another query", "calls"],
        [
            [compared.table, compared.rows, len(compared.grown), len(compared.shrunk),
             len(report.receipts), len(compared.other_query), report.calls]
            for compared, report in found
        ],
    )  # fmt: skip
