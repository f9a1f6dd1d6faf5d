"""When a partition is asked for without anybody asking: the archive heals itself."""

from datetime import timedelta

import dagster as dg

from hunting_pipeline.model import Grain, TableSpec

__all__ = ["automation_sensor", "condition_for"]

_HOURLY = "20 * * * *"
"""Past the settling delay, so that a partition that has just begun has something to give."""

_NIGHTLY = "30 3 * * *"
"""When yesterday's late rows have come."""

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


def automation_sensor(*, running: bool) -> dg.AutomationConditionSensorDefinition:
    """Evaluates the conditions; `running` is how it starts out, and the UI can change it."""
    return dg.AutomationConditionSensorDefinition(
        "keep_complete",
        target=dg.AssetSelection.all(),
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        description="Requests fresh partitions, and gaps that the service can still fill.",
    )
