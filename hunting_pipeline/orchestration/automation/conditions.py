"""Automation conditions: when Dagster requests scheduled hunts, computed tables and checks."""

from datetime import timedelta
from typing import Any

import dagster as dg

from hunting_pipeline.model import Grain, TableSpec

__all__ = [
    "computed_condition",
    "health_condition",
    "recount_condition",
    "scheduled",
]

_DAILY = "30 4 * * *"
"""The daily recount, after yesterday is complete (`due`)."""

_EVERY_THREE_HOURS = "50 */3 * * *"
"""The checks that need no API call."""

_AVAILABLE = timedelta(days=29)
"""One day less than the retention. An older partition could expire before its run starts."""

_LAST_TWO = {Grain.DAY: timedelta(days=2), Grain.HOUR: timedelta(hours=2)}


def scheduled(cron: str, spec: TableSpec) -> dg.AutomationCondition[Any]:
    """Return the condition of a hunt with a schedule.

    Each tick requests the current partition, the partition before it, and every gap that can be filled.
    """
    condition = dg.AutomationCondition
    wanted: dg.AutomationCondition[Any]
    if spec.time_column is None:
        wanted = condition.in_latest_time_window() & condition.missing()
    else:
        gap = condition.missing() & condition.in_latest_time_window(_AVAILABLE)
        wanted = gap | condition.in_latest_time_window(_LAST_TWO[spec.grain])
    return (condition.cron_tick_passed(cron) & wanted & ~condition.in_progress()).with_label(f"cron {cron}")


def recount_condition(tag: str) -> dg.AutomationCondition[Any]:
    """Return the condition of a recount. It requests one every day, and one after each run with this tag."""
    condition = dg.AutomationCondition
    fetched = condition.any_deps_match(condition.any_new_update_has_run_tags(tag_keys={tag}))
    due = (fetched | condition.cron_tick_passed(_DAILY)).since(condition.newly_requested())
    wanted = due & ~condition.any_deps_in_progress() & ~condition.in_progress()
    return wanted.with_label("count again every day")


def health_condition() -> dg.AutomationCondition[Any]:
    """Return the condition of checks that need no API call.

    They run only every three hours, because each evaluation is a step of a Dagster run.
    """
    condition = dg.AutomationCondition
    wanted = condition.cron_tick_passed(_EVERY_THREE_HOURS) & ~condition.in_progress()
    return wanted.with_label("check every three hours")


def computed_condition() -> dg.AutomationCondition[Any]:
    """Return the condition of a table that is computed from archived tables.

    A partition is requested after an upstream partition was committed and all its upstream partitions are
    archived. It is never requested in the run of an archived table. An archived table yields no output, so
    Dagster skips its downstream assets in the same run.
    """
    condition = dg.AutomationCondition
    committed = condition.any_deps_match(condition.newly_updated())
    wanted = committed.since(condition.newly_requested())
    busy = condition.any_deps_in_progress() | condition.any_deps_match(condition.will_be_requested())
    ready = ~condition.any_deps_missing() & ~busy & ~condition.in_progress()
    return (wanted & ready).with_label("follow the upstream tables")
