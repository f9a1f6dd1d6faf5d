"""Partitions in Dagster. They are the days and hours of the lake, with the same keys."""

import re
from collections.abc import Iterable
from datetime import date

import dagster as dg

from hunting_pipeline.model import Grain

__all__ = ["DEFAULT_START", "by_partitions", "partitions_for"]

DEFAULT_START = date(2026, 1, 1)
"""First partition if `defs.yaml` sets no `start`. The date is fixed: a later start would hide archived
partitions."""


def partitions_for(grain: Grain, start: date = DEFAULT_START) -> dg.TimeWindowPartitionsDefinition:
    """Return daily or hourly partitions (UTC) from `start` up to and including the current one."""
    if grain is Grain.HOUR:
        return dg.HourlyPartitionsDefinition(start_date=f"{start}T00", fmt="%Y-%m-%dT%H", end_offset=1)
    return dg.DailyPartitionsDefinition(start_date=str(start), end_offset=1)


def by_partitions(specs: Iterable[dg.AssetSpec], keys: Iterable[dg.AssetKey]) -> dict[str, list[dg.AssetKey]]:
    """Group assets by their partitions definition.

    Each group needs its own sensor, because a sensor cannot target assets with different partitions.

    Returns:
        Keys of assets by the suffix of their sensor's name. The suffix is "" for the default partitions. If
        no asset has the default partitions, the suffix is "" for the first group, days before hours.
    """
    kinds = {spec.key: spec.partitions_def for spec in specs}
    found: dict[dg.PartitionsDefinition | None, list[dg.AssetKey]] = {}
    for key in keys:
        found.setdefault(kinds[key], []).append(key)
    usual = partitions_for(Grain.DAY)
    ordered = sorted(found, key=lambda kind: (kind != usual, str(kind)))
    return {_suffix(kind) if at else "": found[kind] for at, kind in enumerate(ordered)}


def _suffix(kind: dg.PartitionsDefinition | None) -> str:
    """Return a suffix such as `_hourly_starting_2026_01_01t00`."""
    words = re.findall(r"[a-z0-9]+", str(kind).split(" UTC")[0].lower())
    return "_".join(["", *words])
