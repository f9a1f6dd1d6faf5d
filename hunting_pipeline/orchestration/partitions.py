"""Dagster's partitions are the lake's: the same days and hours, under the same keys."""

from datetime import date

import dagster as dg

from hunting_pipeline.model import Grain

__all__ = ["DEFAULT_START", "partitions_for"]

DEFAULT_START = date(2026, 1, 1)
"""First partition where `defs.yaml` names none. Fixed: a start that moved would hide archived partitions."""


def partitions_for(grain: Grain, start: date = DEFAULT_START) -> dg.TimeWindowPartitionsDefinition:
    """Days or hours (UTC) from `start` to the running one, which is included."""
    if grain is Grain.HOUR:
        return dg.HourlyPartitionsDefinition(start_date=f"{start}T00", fmt="%Y-%m-%dT%H", end_offset=1)
    return dg.DailyPartitionsDefinition(start_date=str(start), end_offset=1)
