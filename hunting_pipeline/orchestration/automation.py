"""When a partition is asked for without anybody asking: the archive heals itself."""

from datetime import timedelta
from typing import Any

import dagster as dg

from hunting_pipeline.model import Grain, TableSpec
from hunting_pipeline.orchestration.resources import HuntingResource

__all__ = [
    "automation_sensor",
    "computed_condition",
    "condition_for",
    "recount_condition",
    "scheduled",
    "watch_condition",
]

_HOURLY = "20 * * * *"
"""Past the settling delay, so that a partition that has just begun has something to give."""

_NIGHTLY = "30 3 * * *"
"""When yesterday's late rows have come."""

_DAILY = "30 4 * * *"
"""When the whole of what the service holds is counted again: after the nightly pull."""

_WATCH = "50 */3 * * *"
"""When the checks that ask nobody are made."""

_HELD = timedelta(days=29)
"""A day less than the service holds: what is about to be forgotten is no longer started."""

_LAST_TWO = {Grain.DAY: timedelta(days=2), Grain.HOUR: timedelta(hours=2)}


def condition_for(spec: TableSpec) -> dg.AutomationCondition[dg.AssetKey]:
    """The running partition every hour, the one before it once it is whole, and every gap still to be had.

    What is archived already costs nothing to ask for again. A gap whose run failed waits for a person. Of a
    snapshot table only the present day can be had, until it is.
    """
    condition = dg.AutomationCondition
    wanted: dg.AutomationCondition[dg.AssetKey]
    running = condition.in_latest_time_window()
    hourly = condition.cron_tick_passed(_HOURLY)
    if spec.time_column is None:
        wanted = running & condition.missing() & (hourly | ~condition.execution_failed())
    else:
        whole = condition.cron_tick_passed(_NIGHTLY) if spec.grain is Grain.DAY else hourly
        before = condition.in_latest_time_window(_LAST_TWO[spec.grain])
        gap = condition.missing() & condition.in_latest_time_window(_HELD) & ~running
        wanted = (hourly & running) | (whole & before) | (gap & ~condition.execution_failed())
    return (wanted & ~condition.in_progress()).with_label("keeps itself complete")


def scheduled(cron: str, spec: TableSpec) -> dg.AutomationCondition[Any]:
    """At each tick the running partition, the one before it, and every gap still to be had."""
    condition = dg.AutomationCondition
    wanted: dg.AutomationCondition[Any]
    if spec.time_column is None:
        wanted = condition.in_latest_time_window() & condition.missing()
    else:
        gap = condition.missing() & condition.in_latest_time_window(_HELD)
        wanted = gap | condition.in_latest_time_window(_LAST_TWO[spec.grain])
    return (condition.cron_tick_passed(cron) & wanted & ~condition.in_progress()).with_label(f"at {cron}")


def recount_condition(tag: str) -> dg.AutomationCondition[Any]:
    """Once a day, and when a run with this tag has brought what was stale."""
    condition = dg.AutomationCondition
    healed = condition.any_deps_match(condition.any_new_update_has_run_tags(tag_keys={tag}))
    asked = (healed | condition.cron_tick_passed(_DAILY)).since(condition.newly_requested())
    wanted = asked & ~condition.any_deps_in_progress() & ~condition.in_progress()
    return wanted.with_label("counted again every day")


def watch_condition() -> dg.AutomationCondition[Any]:
    """Every few hours: nobody is asked, but each is a step of a run."""
    condition = dg.AutomationCondition
    wanted = condition.cron_tick_passed(_WATCH) & ~condition.in_progress()
    return wanted.with_label("looked after every three hours")


def computed_condition() -> dg.AutomationCondition[Any]:
    """A partition of a computed table, whenever one it is computed from was committed anew.

    Not before all of them are there, and never in their own run: a table yields no output within its run, so
    Dagster skips what is downstream of it there.
    """
    condition = dg.AutomationCondition
    committed = condition.any_deps_match(condition.newly_updated())
    wanted = committed.since(condition.newly_requested())
    busy = condition.any_deps_in_progress() | condition.any_deps_match(condition.will_be_requested())
    ready = ~condition.any_deps_missing() & ~busy & ~condition.in_progress()
    return (wanted & ready).with_label("follows its tables")


def automation_sensor(hunting: HuntingResource) -> dg.AutomationConditionSensorDefinition:
    """Evaluates the conditions of a tenant's assets, in runs that hold no other tenant's."""
    everything = dg.AssetSelection.key_prefixes(list(hunting.prefix)) if hunting.tenant else None
    return dg.AutomationConditionSensorDefinition(
        "_".join(("keep_complete", *hunting.prefix)),
        target=everything or dg.AssetSelection.all(),
        run_tags=hunting.tags,
        default_status=hunting.sensors,
        description="Requests fresh partitions, and gaps that the service can still fill.",
    )
