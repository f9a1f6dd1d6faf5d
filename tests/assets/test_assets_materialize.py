"""Runs against an emulated tenant: each committed partition is reported and never lost."""

import datetime
import random
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hunting_emulator.process import Endpoint, running
from hunting_pipeline.catalog import entry
from hunting_pipeline.definitions import defs
from hunting_pipeline.lake.manifest import FOOTER_KEY
from hunting_pipeline.lake.read import dataset
from hunting_pipeline.lake.stores import open_store
from hunting_pipeline.model import Grain, TimestampUnit, ticks_of
from hunting_pipeline.orchestration import HuntingResource, HuntingTables, TableConfig, materialize_range
from hunting_pipeline.orchestration.keys import RANGE_END_TAG, RANGE_START_TAG
from support import DOTNET_EPOCH, Emulated, settled_day

TODAY = settled_day()


def day(back: int) -> str:
    return str(TODAY - datetime.timedelta(days=back))


def days(first: int, last: int) -> list[str]:
    return [day(back) for back in range(first, last - 1, -1)]


@pytest.fixture(scope="module")
def location() -> dg.Definitions:
    return defs()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    rows = {"AlertInfo": 2_000, "EmailEvents": 9_000, "ExposureGraphNodes": 300}
    with running(profile="test", rows=rows, unlicensed=["CloudDnsEvents"]) as started:
        yield started


@pytest.fixture
def tenant(endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulated:
    """Set the variables to the emulated tenant."""
    for name, value in (endpoint.settings() | {"HUNTING_LIMITS": "test"}).items():
        monkeypatch.setenv(name, value)
    emulated = Emulated(endpoint, tenant=None, home=tmp_path)  # type: ignore[arg-type] # rows are not compared here
    emulated.post("reset")
    return emulated


def materialized(result: dg.ExecuteInProcessResult, table: str) -> list[str]:
    """Return the sorted keys of the materialized partitions. Runs commit them in the order of replies."""
    return sorted(
        str(event.partition)
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["defender", table])
    )


def row_counts(result: dg.ExecuteInProcessResult, table: str) -> list[int]:
    """Return the rows of the whole table after each commit, in the order of commits."""
    return metadata_of(result, table, "dagster/row_count")


def partition_rows(result: dg.ExecuteInProcessResult, table: str) -> list[int]:
    return metadata_of(result, table, "dagster/partition_row_count")


def metadata_of(result: dg.ExecuteInProcessResult, table: str, name: str) -> list[int]:
    events = (
        e
        for e in result.get_asset_materialization_events()
        if e.asset_key == dg.AssetKey(["defender", table])
    )
    values = [event.step_materialization_data.materialization.metadata[name].value for event in events]
    return [int(str(value)) for value in values]


def checked(result: dg.ExecuteInProcessResult) -> list[tuple[str, bool]]:
    """Return the partition and the result of each check. The check of the whole run has no partition."""
    return sorted((each.partition or "", each.passed) for each in result.get_asset_check_evaluations())


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    return [
        str(event.step_failure_data.user_failure_data.description)
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.user_failure_data
    ]


def files(lake: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in lake.rglob("*.parquet")}


def test_a_range_reports_each_partition_with_its_rows_and_its_check(
    tenant: Emulated, location: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    tables = ["AlertInfo", "EmailEvents"]
    result = materialize_range(location, tables, first=day(4), last=day(1), instance=instance)
    assert result.success
    for table in tables:
        assert materialized(result, table) == days(4, 1)
    assert checked(result) == sorted([("", True), *((key, True) for key in days(4, 1))] * 2)
    for table in tables:
        assert row_counts(result, table)[-1] == sum(partition_rows(result, table))
    for event in result.get_asset_materialization_events():
        metadata = event.step_materialization_data.materialization.metadata
        assert Path(str(metadata["dagster/uri"].value)).exists()
        rows = metadata["dagster/partition_row_count"].value
        assert isinstance(rows, int)
        assert rows > 0
        assert {"calls", "quota seconds", "first row", "last row"} <= metadata.keys()
        assert "data:image/svg+xml" in str(metadata["preview"].value)


def test_an_hourly_table_is_reported_hour_by_hour(tenant: Emulated, instance: dg.DagsterInstance) -> None:
    component = HuntingTables(tables=[TableConfig(name="AlertInfo", grain=Grain.HOUR)])
    hourly = component.build_defs(None)  # type: ignore[arg-type] # needs no context
    hours = [f"{day(back)}T{hour:02}" for back in (3, 2) for hour in range(24)][20:30]
    result = materialize_range(hourly, ["AlertInfo"], first=hours[0], last=hours[-1], instance=instance)
    assert result.success
    assert materialized(result, "AlertInfo") == hours
    assert checked(result) == [("", True), *((hour, True) for hour in hours)]
    assert sum(partition_rows(result, "AlertInfo")) > 0
    assert set(files(tenant.home / "lake")) == {f"AlertInfo-{hour}.parquet" for hour in hours}


@pytest.mark.parametrize("by_setting", [True, False])
def test_a_table_can_have_microseconds_beside_exact_ticks(
    tenant: Emulated, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, *, by_setting: bool
) -> None:
    if by_setting:
        monkeypatch.setenv("HUNTING_TIMESTAMP_UNIT", "us")
    unit = None if by_setting else TimestampUnit.US
    component = HuntingTables(tables=[TableConfig(name="AlertInfo", timestamp_unit=unit)])
    micros = component.build_defs(None)  # type: ignore[arg-type] # needs no context
    result = materialize_range(micros, ["AlertInfo"], first=day(2), last=day(1), instance=instance)
    assert result.success
    assert checked(result) == [("", True), (day(2), True), (day(1), True)]
    rows = dataset(open_store(str(tenant.home / "lake")), "AlertInfo").to_table()
    assert rows.schema.field("Timestamp").type == pa.timestamp("us", "UTC")
    assert rows["Timestamp_ticks"].null_count == 0
    (event, _) = result.get_asset_materialization_events()
    shown = event.step_materialization_data.materialization.metadata["dagster/column_schema"].value
    kinds = {column.name: column.type for column in shown.columns}  # type: ignore[union-attr]
    assert (kinds["Timestamp"], kinds["Timestamp_ticks"]) == ("timestamp[us, tz=UTC]", "int64")
    other = HuntingTables(tables=[TableConfig(name="AlertInfo", timestamp_unit=TimestampUnit.NS)])
    nanos = other.build_defs(None)  # type: ignore[arg-type] # needs no context
    calls = tenant.stats()["calls"]
    refused = materialize_range(nanos, ["AlertInfo"], first=day(3), last=day(1), instance=instance)
    (message,) = failures(refused)
    assert "hunting rewrite AlertInfo --timestamp-unit ns" in message
    assert tenant.stats()["calls"] == calls


def test_archived_partitions_are_reported_to_a_new_dagster_instance_and_only_once(
    tenant: Emulated, location: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    materialize_range(location, ["AlertInfo"], first=day(4), last=day(1), instance=instance)
    before, calls = files(tenant.home / "lake"), tenant.stats()["calls"]
    again = materialize_range(location, ["AlertInfo"], first=day(4), last=day(1), instance=instance)
    assert (again.success, materialized(again, "AlertInfo")) == (True, [])
    with dg.DagsterInstance.ephemeral() as another:
        first = materialize_range(location, ["AlertInfo"], first=day(4), last=day(1), instance=another)
        assert (first.success, materialized(first, "AlertInfo")) == (True, days(4, 1))
    assert (files(tenant.home / "lake"), tenant.stats()["calls"]) == (before, calls)


def test_a_failed_run_keeps_finished_partitions_and_the_next_run_archives_the_rest(
    tenant: Emulated, location: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUNTING_WORKERS", "1")
    strikes = {"share": 0.3, "kinds": ["teapot"], "on": "rows", "seed": seed_that_strikes(0.3, after=2)}
    tenant.post("config", faults=strikes)
    failed = materialize_range(location, ["EmailEvents"], first=day(9), last=day(1), instance=instance)
    done = materialized(failed, "EmailEvents")
    assert not failed.success
    assert 0 < len(done) < 9
    assert "418" in failures(failed)[0]
    before = files(tenant.home / "lake")
    assert len(before) == len(done)

    tenant.post("config", faults={"share": 0})
    again = materialize_range(location, ["EmailEvents"], first=day(9), last=day(1), instance=instance)
    assert again.success
    assert sorted(done + materialized(again, "EmailEvents")) == days(9, 1)
    assert files(tenant.home / "lake").items() >= before.items()
    key = dg.AssetKey(["defender", "EmailEvents"])
    assert instance.get_materialized_partitions(key) == set(days(9, 1))


def seed_that_strikes(share: float, *, after: int) -> int:
    """Return a seed for which the first fault comes after `after` calls without a fault."""

    def draws(seed: int) -> Sequence[bool]:
        chance = random.Random(seed)
        return [chance.random() < share for _ in range(after + 1)]

    return next(seed for seed in count() if draws(seed) == [False] * after + [True])


def test_forgotten_days_are_refused_after_all_other_days_are_archived(
    tenant: Emulated, location: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    assets = [one for one in location.assets or () if isinstance(one, dg.AssetsDefinition)]
    result = dg.materialize(  # with all checks, as in the UI
        [one for one in assets if one.op.name == "defender__AlertInfo"],
        instance=instance,
        resources=dict(location.resources or {}),
        tags={RANGE_START_TAG: day(33), RANGE_END_TAG: day(27)},
        raise_on_error=False,
    )
    assert not result.success
    assert materialized(result, "AlertInfo")[-3:] == days(29, 27)
    (message,) = failures(result)
    assert f"{day(33)}, {day(32)}, {day(31)}" in message
    assert "no longer holds" in message
    checks = {check.check_name for check in result.get_asset_check_evaluations()}
    assert checks >= {"complete", "fresh", "drift", "deadline"}, "the failure hides no check"


def test_a_run_of_a_snapshot_table_archives_today_and_names_the_other_days(
    tenant: Emulated, location: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    result = materialize_range(location, ["ExposureGraphNodes"], first=day(2), last=day(0), instance=instance)
    assert (result.success, materialized(result, "ExposureGraphNodes")) == (False, [day(0)])
    (message,) = failures(result)
    assert f"{day(2)}, {day(1)}" in message
    assert materialize_range(
        location, ["ExposureGraphNodes"], first=day(0), last=day(0), instance=instance
    ).success


def test_a_table_that_fails_does_not_stop_the_others(
    tenant: Emulated, location: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    tables = ["CloudDnsEvents", "AlertInfo"]
    result = materialize_range(location, tables, first=day(2), last=day(1), instance=instance)
    assert (result.success, materialized(result, "AlertInfo")) == (False, days(2, 1))
    assert "CloudDnsEvents" in failures(result)[0]


def test_a_step_waits_for_a_spent_quota_as_a_retry(tenant: Emulated, instance: dg.DagsterInstance) -> None:
    class Impatient(HuntingTables):
        def resource(self, tenant: str) -> HuntingResource:
            return HuntingResource(tenant=tenant, max_wait=0.5)

    component = Impatient(tables=[TableConfig(name="AlertInfo")])
    tenant.post("config", manners={"wait_seconds": 2}, faults={"queue": ["cpu"]})
    found = component.build_defs(None)  # type: ignore[arg-type] # needs no context
    result = materialize_range(found, ["AlertInfo"], first=day(3), last=day(1), instance=instance)
    assert result.success
    assert [event.event_type_value for event in result.all_events].count("STEP_UP_FOR_RETRY") == 1
    assert materialized(result, "AlertInfo") == days(3, 1)


def test_without_a_tenant_a_run_writes_nothing_and_its_message_says_what_to_do(
    location: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    result = materialize_range(location, ["AlertInfo"], first=day(2), last=day(1), instance=instance)
    assert not result.success
    (message,) = failures(result)
    assert "HUNTING_TENANT_ID" in message
    assert "hunting demo" in message
    assert not (tmp_path / "lake").exists()
    assert not list(tmp_path.glob("quota*"))


@pytest.mark.parametrize("path", ["~nosuch/lake", "/proc/lake", "/dev/null"])
def test_an_unusable_lake_is_reported_before_any_call(
    tenant: Emulated,
    location: dg.Definitions,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    monkeypatch.setenv("HUNTING_LAKE", path)
    result = materialize_range(location, ["AlertInfo"], first=day(2), last=day(1), instance=instance)
    (message,) = failures(result)
    assert "HUNTING_LAKE" in message
    assert tenant.stats()["calls"] == 0


def test_rows_without_a_time_are_reported_as_an_observation(
    location: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noon = datetime.datetime.combine(TODAY, datetime.time(12), datetime.UTC) - datetime.timedelta(days=1)
    columns = {column.name: ["x"] * 3 for column in entry("AlertInfo").columns}
    columns["Timestamp"] = [ticks_of(noon) + DOTNET_EPOCH, None, None]
    pq.write_table(pa.table(columns), tmp_path / "alerts.parquet")
    with running(profile="test", load={"AlertInfo": tmp_path / "alerts.parquet"}) as endpoint:
        for name, value in endpoint.settings().items():
            monkeypatch.setenv(name, value)
        result = materialize_range(location, ["AlertInfo"], first=day(2), last=day(1), instance=instance)
    assert (result.success, materialized(result, "AlertInfo")) == (True, days(2, 1))
    (seen,) = result.get_asset_observation_events()
    assert seen.asset_observation_data.asset_observation.metadata["dagster/partition_row_count"].value == 2
    assert checked(result) == [("", True), (day(2), True), (day(1), True)]


def test_the_check_fails_if_a_row_vanished_from_a_file(
    tenant: Emulated, location: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    materialize_range(location, ["AlertInfo"], first=day(2), last=day(1), instance=instance)
    (path,) = (tenant.home / "lake").rglob(f"AlertInfo-{day(2)}.parquet")
    footer = {FOOTER_KEY: pq.read_metadata(path).metadata[FOOTER_KEY]}
    pq.write_table(pq.read_table(path, partitioning=None).slice(1).replace_schema_metadata(footer), path)
    with dg.DagsterInstance.ephemeral() as another:
        result = materialize_range(location, ["AlertInfo"], first=day(2), last=day(1), instance=another)
    assert checked(result) == [("", False), (day(2), False), (day(1), True)]


def test_a_wrong_secret_is_tried_once_in_a_run_of_several_tables(
    tenant: Emulated, location: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUNTING_CLIENT_SECRET", "wrong")
    before = tenant.stats()["sign_ins"]
    tables = ["AlertInfo", "AlertEvidence", "EmailEvents"]
    result = materialize_range(location, tables, first=day(2), last=day(1), instance=instance)
    assert len(failures(result)) == 3
    assert all("HUNTING_CLIENT_SECRET" in message for message in failures(result))
    assert tenant.stats()["sign_ins"] == before + 1
