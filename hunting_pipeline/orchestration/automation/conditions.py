"""When Dagster requests a partition or a check by itself."""

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
"""After the settling delay: a partition that began at the full hour has rows to give by then."""

_NIGHTLY = "30 3 * * *"
"""When yesterday's late rows have arrived."""

_DAILY = "30 4 * * *"
"""When the service counts again all that it holds: after the nightly pull."""

_EVERY_THREE_HOURS = "50 */3 * * *"
"""When the checks run that need no call."""

_AVAILABLE = timedelta(days=29)
"""One day less than the service holds. A run for an older partition could come too late."""

_LAST_TWO = {Grain.DAY: timedelta(days=2), Grain.HOUR: timedelta(hours=2)}


def condition_for(spec: TableSpec) -> dg.AutomationCondition[dg.AssetKey]:
    """Return the condition of a table: its newest partitions regularly, and every gap that can be filled.

    The running partition is requested every hour, and the one before it when it has ended. A partition that
    is archived already costs no call. A gap is not requested again after a failed run. A snapshot table has
    only the present day, which is requested until it is archived.
    """
    condition = dg.AutomationCondition
    wanted: dg.AutomationCondition[dg.AssetKey]
    running = condition.in_latest_time_window()
    hourly = condition.cron_tick_passed(_HOURLY)
    if spec.time_column is None:
        wanted = running & condition.missing() & (hourly | ~condition.execution_failed())
    else:
        ended = condition.cron_tick_passed(_NIGHTLY) if spec.grain is Grain.DAY else hourly
        before = condition.in_latest_time_window(_LAST_TWO[spec.grain])
        gap = condition.missing() & condition.in_latest_time_window(_AVAILABLE) & ~running
        wanted = (hourly & running) | (ended & before) | (gap & ~condition.execution_failed())
    return (wanted & ~condition.in_progress()).with_label("keep the archive complete")


def scheduled(cron: str, spec: TableSpec) -> dg.AutomationCondition[Any]:
    """Return the condition of a hunt with a schedule.

    Each tick requests the running partition, the one before it, and every gap that can be filled.
    """
    condition = dg.AutomationCondition
    wanted: dg.AutomationCondition[Any]
    if spec.time_column is None:
        wanted = condition.in_latest_time_window() & condition.missing()
    else:
        gap = condition.missing() & condition.in_latest_time_window(_AVAILABLE)
        wanted = gap | condition.in_latest_time_window(_LAST_TWO[spec.grain])
    return (condition.cron_tick_passed(cron) & wanted & ~condition.in_progress()).with_label(f"at {cron}")


def recount_condition(tag: str) -> dg.AutomationCondition[Any]:
    """Return the condition of a recount: once a day, and after a run with this tag."""
    condition = dg.AutomationCondition
    fetched = condition.any_deps_match(condition.any_new_update_has_run_tags(tag_keys={tag}))
    due = (fetched | condition.cron_tick_passed(_DAILY)).since(condition.newly_requested())
    wanted = due & ~condition.any_deps_in_progress() & ~condition.in_progress()
    return wanted.with_label("count again every day")


def health_condition() -> dg.AutomationCondition[Any]:
    """Return the condition of checks that need no call.

    They run every three hours and not more often, because each check is a step of a run.
    """
    condition = dg.AutomationCondition
    wanted = condition.cron_tick_passed(_EVERY_THREE_HOURS) & ~condition.in_progress()
    return wanted.with_label("check every three hours")


def computed_condition() -> dg.AutomationCondition[Any]:
    """Return the condition of a table that is computed from archived tables.

    A partition is requested when a partition that it depends on was committed, as soon as all of those are
    archived. The request never joins the run of the archived table: such a table yields no output, so Dagster
    skips the assets downstream of it in the same run.
    """
    condition = dg.AutomationCondition
    committed = condition.any_deps_match(condition.newly_updated())
    wanted = committed.since(condition.newly_requested())
    busy = condition.any_deps_in_progress() | condition.any_deps_match(condition.will_be_requested())
    ready = ~condition.any_deps_missing() & ~busy & ~condition.in_progress()
    return (wanted & ready).with_label("follow the upstream tables")
