"""The requests of the automation, hour by hour, with Dagster's own evaluation and a clock set by the test."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from hunting_pipeline.model import Grain
from hunting_pipeline.orchestration import HuntingTables, TableConfig

MORNING = datetime(2026, 11, 20, 9, 5, tzinfo=UTC)


class Watched:
    """A table whose conditions are evaluated repeatedly, as the sensor does."""

    def __init__(
        self, table: TableConfig, instance: dg.DagsterInstance, now: datetime, start: str = "2026-01-01"
    ) -> None:
        component = HuntingTables(tables=[table], start=start)
        self.defs = component.build_defs(None)  # type: ignore[arg-type] # needs no context
        self.key = component.get_asset_spec(table).key
        self.instance = instance
        self.cursor: object = None
        self.at(now)

    def at(self, now: datetime) -> set[str]:
        """Return the partitions requested at `now`."""
        result = dg.evaluate_automation_conditions(
            self.defs,
            self.instance,
            evaluation_time=now,
            cursor=self.cursor,  # type: ignore[arg-type] # of no public type
        )
        self.cursor = result.cursor
        return set(result.get_requested_partitions(self.key))

    def archived(self, *keys: str) -> None:
        for key in keys:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(self.key, partition=key))


def days(last: datetime, count: int) -> set[str]:
    return {str((last - timedelta(days=back)).date()) for back in range(count)}


def test_gaps_that_are_still_available_are_requested_at_once(instance: dg.DagsterInstance) -> None:
    watched = Watched(TableConfig(name="AlertInfo"), instance, MORNING)
    watched.archived("2026-11-10", "2026-11-12")
    asked = watched.at(MORNING + timedelta(minutes=1))
    assert asked == days(MORNING, 29) - {"2026-11-20", "2026-11-10", "2026-11-12"}


def test_the_current_day_is_requested_every_hour_and_yesterday_at_night(instance: dg.DagsterInstance) -> None:
    watched = Watched(TableConfig(name="AlertInfo"), instance, MORNING)
    watched.archived(*days(MORNING, 40))
    assert watched.at(MORNING + timedelta(minutes=5)) == set()
    assert watched.at(MORNING + timedelta(minutes=20)) == {"2026-11-20"}
    assert watched.at(MORNING + timedelta(minutes=21)) == set()
    assert watched.at(MORNING + timedelta(minutes=80)) == {"2026-11-20"}
    night = datetime(2026, 11, 21, 3, 25, tzinfo=UTC)
    watched.at(night)
    watched.archived("2026-11-21")
    assert watched.at(night + timedelta(minutes=6)) == {"2026-11-20", "2026-11-21"}


def test_an_hourly_table_requests_the_current_and_the_previous_hour(instance: dg.DagsterInstance) -> None:
    table = TableConfig(name="AlertInfo", grain=Grain.HOUR)
    watched = Watched(table, instance, MORNING, start="2026-11-20")
    watched.archived(*(f"2026-11-20T{hour:02}" for hour in range(10)))
    assert watched.at(MORNING + timedelta(minutes=20)) == {"2026-11-20T09", "2026-11-20T08"}


def test_a_snapshot_table_requests_only_today_until_it_is_archived(instance: dg.DagsterInstance) -> None:
    watched = Watched(TableConfig(name="ExposureGraphNodes"), instance, MORNING)
    assert watched.at(MORNING + timedelta(minutes=1)) == {"2026-11-20"}
    watched.archived("2026-11-20")
    assert watched.at(MORNING + timedelta(hours=3)) == set()
    assert watched.at(MORNING + timedelta(days=1)) == {"2026-11-21"}


@pytest.mark.parametrize("table", ["AlertInfo", "ExposureGraphNodes"])
def test_forgotten_partitions_are_never_requested(table: str, instance: dg.DagsterInstance) -> None:
    watched = Watched(TableConfig(name=table), instance, MORNING)
    for hours in range(1, 72, 7):
        now = MORNING + timedelta(hours=hours)
        assert min(watched.at(now), default="9") > str((now - timedelta(days=30)).date())
