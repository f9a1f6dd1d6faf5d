"""Automation conditions: when Dagster requests partitions and checks."""

from datetime import timedelta
from typing import Any

import dagster as dg

from hunting_pipeline.model import Grain, TableSpec

__all__ = [
    "computed_condition",
    "condition_for",
    "health_condition",
    "recount_condition",
    "scheduled",
]

_HOURLY = "20 * * * *"
"""Later than the settling delay, so a partition that began at the full hour already has rows to fetch."""

_NIGHTLY = "30 3 * * *"
"""By this time, yesterday's late rows have arrived."""

_DAILY = "30 4 * * *"
"""The daily recount, after the nightly pull."""

_EVERY_THREE_HOURS = "50 */3 * * *"
"""The checks that need no API call."""

_AVAILABLE = timedelta(days=29)
"""One day less than the retention. An older partition could expire before its run starts."""

_LAST_TWO = {Grain.DAY: timedelta(days=2), Grain.HOUR: timedelta(hours=2)}


def condition_for(spec: TableSpec) -> dg.AutomationCondition[dg.AssetKey]:
    """Return the condition of a table. It requests the newest partitions, and every gap that can be filled.

    The current partition is requested every hour. The partition before it is requested again after its end.
    A partition that is already archived costs no API call. A gap is not requested again after a failed run.
    For a snapshot table, only the current day is requested, until it is archived.
    """
    condition = dg.AutomationCondition
    wanted: dg.AutomationCondition[dg.AssetKey]
    current = condition.in_latest_time_window()
    hourly = condition.cron_tick_passed(_HOURLY)
    if spec.time_column is None:
        wanted = current & condition.missing() & (hourly | ~condition.execution_failed())
    else:
        ended = condition.cron_tick_passed(_NIGHTLY) if spec.grain is Grain.DAY else hourly
        last_two = condition.in_latest_time_window(_LAST_TWO[spec.grain])
        gap = condition.missing() & condition.in_latest_time_window(_AVAILABLE) & ~current
        wanted = (hourly & current) | (ended & last_two) | (gap & ~condition.execution_failed())
    return (wanted & ~condition.in_progress()).with_label("keep the archive complete")


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
