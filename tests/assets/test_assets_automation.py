"""The requests of the automation: what is due, in which order, and only if the tenant accepts them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hunting_pipeline.model import DAY, HOUR, SECOND, Grain, TableSpec, ticks_of
from hunting_pipeline.orchestration import HuntingTables, TableConfig, with_automation
from hunting_pipeline.orchestration.automation import due
from hunting_pipeline.orchestration.automation.admission import TRIAL_PAUSE, Admitted, decide
from hunting_pipeline.orchestration.automation.due import GAP_PAUSE, Kept, Request
from hunting_pipeline.quota.protocol import Access, Ledger
from hunting_pipeline.settings import load_settings

MORNING = ticks_of(datetime(2026, 11, 20, 9, 5, tzinfo=UTC))
MINUTE = 60 * SECOND
ALL = {"keep_complete", "reconcile_stale", "last_call", "run_when_due"}
DAILY = TableSpec("AlertInfo", "Timestamp")
HOURLY = replace(DAILY, grain=Grain.HOUR)
SNAPSHOT = TableSpec("ExposureGraphNodes", None)
LONG_AGO = ticks_of(datetime(2026, 1, 1, tzinfo=UTC))
TODAY = datetime.now(UTC).date()


def days(last: str, count: int) -> list[str]:
    """Return the keys of `count` days that end with `last`, oldest first."""
    end = datetime.fromisoformat(last)
    return [str((end - timedelta(days=back)).date()) for back in range(count)][::-1]


def gaps(table: Kept, now: int = MORNING) -> list[str]:
    return [one.key for one in due.gaps(table, now=now, retention_days=30)]


def refreshes(table: Kept, now: int) -> list[str]:
    return [one.key for one in due.refreshes(table, now=now)]


def test_all_gaps_that_are_still_available_are_due() -> None:
    table = Kept(DAILY, LONG_AGO, archived={"2026-11-10", "2026-11-12"})
    wanted = [key for key in days("2026-11-19", 28) if key not in table.archived]
    assert gaps(table) == wanted
    assert gaps(replace(table, start=ticks_of(datetime(2026, 11, 11, tzinfo=UTC)))) == wanted[-8:]


def test_a_gap_whose_run_failed_is_due_again_after_six_hours() -> None:
    asked = {"2026-11-10": MORNING - GAP_PAUSE + 1, "2026-11-11": MORNING - GAP_PAUSE - 1}
    found = gaps(Kept(DAILY, LONG_AGO, asked=asked, active={"2026-11-12"}))
    assert set(days("2026-11-19", 28)) - set(found) == {"2026-11-10", "2026-11-12"}


def test_the_current_day_is_due_every_hour_and_yesterday_at_night() -> None:
    pulled = {"2026-11-19": MORNING - 5 * HOUR, "2026-11-20": MORNING - 40 * MINUTE}
    table = Kept(DAILY, LONG_AGO, archived=pulled, latest=pulled)
    assert refreshes(table, MORNING) == []
    twenty_past = MORNING + 15 * MINUTE
    assert refreshes(table, twenty_past) == ["2026-11-20"]
    assert refreshes(replace(table, asked={"2026-11-20": twenty_past}), twenty_past + MINUTE) == []
    assert refreshes(replace(table, asked={"2026-11-20": twenty_past}), twenty_past + HOUR) == ["2026-11-20"]
    night = ticks_of(datetime(2026, 11, 21, 3, 30, tzinfo=UTC))
    at_three = {"2026-11-20": night - 10 * MINUTE, "2026-11-21": night - 10 * MINUTE}
    table = Kept(DAILY, LONG_AGO, archived=at_three, latest=at_three)
    assert refreshes(table, night - 1) == []
    assert refreshes(table, night) == ["2026-11-20"]
    failed = {"2026-11-20": night}
    assert refreshes(replace(table, asked=failed), night + HOUR) == ["2026-11-20", "2026-11-21"]
    done = {"2026-11-20": night + MINUTE, "2026-11-21": night + HOUR}
    assert refreshes(replace(table, latest=done), night + HOUR) == []


def test_an_hourly_table_extends_the_current_hour_and_completes_the_one_before() -> None:
    hours = {f"2026-11-20T{hour:02}": MORNING - 50 * MINUTE for hour in range(10)}
    table = Kept(HOURLY, LONG_AGO, archived=hours, latest=hours)
    assert refreshes(table, MORNING) == []
    assert refreshes(table, MORNING + 15 * MINUTE) == ["2026-11-20T08", "2026-11-20T09"]


def test_a_snapshot_is_due_every_hour_until_it_is_archived() -> None:
    table = Kept(SNAPSHOT, LONG_AGO)
    assert refreshes(table, MORNING) == ["2026-11-20"]
    assert refreshes(replace(table, asked={"2026-11-20": MORNING}), MORNING + 14 * MINUTE) == []
    assert refreshes(replace(table, asked={"2026-11-20": MORNING}), MORNING + 16 * MINUTE) == ["2026-11-20"]
    assert refreshes(replace(table, archived={"2026-11-20"}), MORNING) == gaps(table) == []


@settings(deadline=None)
@given(st.sampled_from([DAILY, HOURLY, SNAPSHOT]), st.integers(0, 40 * 24 * 60), st.sets(st.integers(0, 700)))
def test_nothing_that_is_forgotten_future_or_archived_is_due(
    spec: TableSpec, minutes: int, archived: set[int]
) -> None:
    now = MORNING + minutes * MINUTE
    begin = (now - 29 * DAY) // DAY * DAY
    keys = {due.partition_of(spec, begin + number * HOUR).key for number in archived}
    table = Kept(spec, LONG_AGO, archived=keys, latest=dict.fromkeys(keys, now))
    found = due.gaps(table, now=now, retention_days=30)
    assert not {one.key for one in found} & keys
    both = [*found, *due.refreshes(table, now=now)]
    assert len({one.key for one in both}) == len(both)
    assert all(one.window.start > now - 30 * DAY and one.window.start < now for one in both)


def test_the_oldest_week_of_all_tables_comes_first_in_few_runs() -> None:
    wanted = {
        "A": due.gaps(Kept(DAILY, LONG_AGO), now=MORNING, retention_days=30),
        "B": due.gaps(Kept(DAILY, LONG_AGO), now=MORNING, retention_days=30),
        "C": due.gaps(Kept(DAILY, LONG_AGO, archived={"2026-10-24"}), now=MORNING, retention_days=30),
    }
    assert due.requests(due.oldest_chunk(wanted)) == [
        Request(("C",), "2026-10-23", "2026-10-23"),
        Request(("A", "B"), "2026-10-23", "2026-10-29"),
        Request(("C",), "2026-10-25", "2026-10-29"),
    ]
    assert due.requests({"A": []}) == []


REFUSED = Access(since=0.0, at=1000.0, refusal="the secret is wrong.")


@pytest.mark.parametrize(
    ("access", "tried", "now", "admitted"),
    [
        (None, ("", 0.0), 1e4, Admitted.ONE),
        (None, ("me", 1e4), 1e4 + TRIAL_PAUSE - 1, Admitted.NONE),
        (None, ("other", 1e4), 1e4 + 1, Admitted.ONE),
        (None, ("me", 1e4), 1e4 + TRIAL_PAUSE, Admitted.ONE),
        (REFUSED, ("me", 990.0), 1001.0, Admitted.NONE),
        (REFUSED, ("me", 990.0), 1000.0 + TRIAL_PAUSE, Admitted.ONE),
        (Access(5.0, 1000.0, ""), ("me", 990.0), 1001.0, Admitted.ALL),
    ],
)
def test_one_run_tries_new_settings_and_the_others_follow_when_they_are_accepted(
    access: Access | None, tried: tuple[str, float], now: float, admitted: Admitted
) -> None:
    found = decide(access, identity="me", tried=tried, now=now)
    assert found.admitted is admitted
    assert bool(found.reason) is (admitted is not Admitted.ALL)
    assert found.since == (5.0 if admitted is Admitted.ALL else 0.0)


class TwoTables:
    """The sensor `keep_complete` of two tables, ticked by the test."""

    def __init__(self, instance: dg.DagsterInstance, **more: Any) -> None:
        start = str(TODAY - timedelta(days=3))
        component = HuntingTables(
            tables=[TableConfig(name="AlertInfo"), TableConfig(name="AlertEvidence")], start=start, **more
        )
        self.defs = with_automation(component.build_defs(None))  # type: ignore[arg-type] # needs no context
        self.instance = instance
        self.cursor: str | None = None
        (self.sensor,) = (one for one in self.defs.sensors or () if one.name.startswith("keep_complete"))

    def tick(self) -> Any:
        found = self.sensor.evaluate_tick(dg.build_sensor_context(self.instance, cursor=self.cursor))
        self.cursor = found.cursor
        return found


def test_the_sensor_tries_once_then_requests_all_with_a_lower_priority_than_people(
    instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    kept = TwoTables(instance)
    (trial,) = kept.tick().run_requests
    assert [key.path[-1] for key in trial.asset_selection] == ["AlertInfo"]
    assert "The first run with these settings" in str(kept.tick().skip_message)
    ledger.record_access(load_settings().identity, refusal="AADSTS7000215: the secret is wrong.")
    assert "AADSTS7000215" in str(kept.tick().skip_message)
    ledger.record_access(load_settings().identity)
    requested = kept.tick().run_requests
    gap = requested[0]
    assert {key.path[-1] for key in gap.asset_selection} == {"AlertInfo", "AlertEvidence"}
    assert gap.tags["dagster/asset_partition_range_start"] == str(TODAY - timedelta(days=3))
    assert gap.tags["hunting/automation"] == "keep_complete"
    assert all(int(one.tags["dagster/priority"]) < 0 for one in requested)
    assert kept.tick().run_requests == []


def test_other_settings_are_tried_at_once(
    instance: dg.DagsterInstance, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = TwoTables(instance)
    assert len(kept.tick().run_requests) == 1
    ledger.record_access(load_settings().identity, refusal="the secret is wrong.")
    assert not kept.tick().run_requests
    monkeypatch.setenv("HUNTING_CLIENT_SECRET", "right")
    assert len(kept.tick().run_requests) == 1


def test_wrong_settings_request_nothing_and_say_why(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUNTING_TENANT_ID", "t")
    assert "HUNTING_CLIENT_ID" in str(TwoTables(instance).tick().skip_message)


@pytest.mark.parametrize(
    ("setting", "attribute", "running"),
    [
        ("off", None, set()),
        ("on", None, ALL),
        ("off", True, ALL),
        ("on", False, {"run_when_due"}),  # of the quota asset, which follows the setting
    ],
)
def test_sensors_run_by_default_only_if_somebody_says_so(
    monkeypatch: pytest.MonkeyPatch,
    instance: dg.DagsterInstance,
    setting: str,
    attribute: bool | None,
    running: set[str],
) -> None:
    monkeypatch.setenv("HUNTING_AUTOMATION", setting)
    sensors = [
        one
        for one in TwoTables(instance, automation=attribute).defs.sensors or ()
        if isinstance(one, dg.SensorDefinition)
    ]
    by_default = {one.name for one in sensors if one.default_status is dg.DefaultSensorStatus.RUNNING}
    assert by_default == running
