"""Assets downstream of a table: they load its partitions by annotation and write computed tables."""

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from assets.summaries.processes import processes_by_day
from hunting_emulator.process import running
from hunting_pipeline.lake import derived
from hunting_pipeline.lake.manifest import load
from hunting_pipeline.lake.stores import Store, open_store
from hunting_pipeline.model import Grain, partition_from_key
from hunting_pipeline.orchestration import (
    HuntingLake,
    HuntingTables,
    TableConfig,
    computed_condition,
    materialize_range,
    partitions_for,
)
from hunting_pipeline.orchestration.resources import hunting_of

ROOT = Path(__file__).parents[2]
TODAY = datetime.datetime.now(datetime.UTC).date()
DAYS = [str(TODAY - datetime.timedelta(days=back)) for back in (3, 2, 1)]
PROCESSES, ALERTS = (dg.AssetKey(["defender", name]) for name in ("DeviceProcessEvents", "AlertInfo"))
TABLES = [TableConfig(name="DeviceProcessEvents"), TableConfig(name="AlertInfo", grain=Grain.HOUR)]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archive three days of processes, and the hourly alerts of one day. Then the tenant ends."""
    home = tmp_path_factory.mktemp("archive")
    rows = {"DeviceProcessEvents": 6_000, "AlertInfo": 3_000}
    with (
        running(profile="test", rows=rows) as endpoint,
        pytest.MonkeyPatch.context() as configured,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        for name, value in (endpoint.settings() | {"HUNTING_LIMITS": "test"}).items():
            configured.setenv(name, value)
        configured.setenv("HUNTING_CONFIG", "/dev/null")
        configured.setenv("HUNTING_LAKE", str(home / "lake"))
        configured.setenv("HUNTING_LEDGER", str(home / "quota.sqlite"))
        tables = component()
        for table, first, last in (
            ("DeviceProcessEvents", DAYS[0], DAYS[-1]),
            ("AlertInfo", f"{DAYS[1]}T00", f"{DAYS[1]}T23"),
        ):
            assert materialize_range(tables, [table], first=first, last=last, instance=instance).success
    return home / "lake"


@pytest.fixture
def lake(archive: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Open the archive through the settings. They name no tenant: reading needs none."""
    monkeypatch.setenv("HUNTING_LAKE", str(archive))
    return open_store(str(archive))


def component() -> dg.Definitions:
    return HuntingTables(tables=TABLES).build_defs(None)  # type: ignore[arg-type] # needs no context


def archived(lake: Store, *keys: str, table: str = "DeviceProcessEvents") -> int:
    manifests = [load(lake, partition_from_key(table, key)) for key in keys]
    return sum(manifest.proof.rows for manifest in manifests if manifest)


def asking(
    form: Any, *, upstream: dg.AssetKey = PROCESSES, **options: Any
) -> tuple[dg.AssetsDefinition, list[Any]]:
    """Build an asset that loads `upstream` as `form`, and the list that receives the loaded value."""
    got: list[Any] = []

    def body(events: Any) -> None:
        got.append(events)

    body.__annotations__ = {"events": form, "return": None}
    asset = dg.asset(name="asks", ins={"events": dg.AssetIn(upstream)}, **options)(body)
    return asset, got


def run(
    asset: dg.AssetsDefinition, *, day: str | None = None, to: str | None = None, **resources: Any
) -> dg.ExecuteInProcessResult:
    """Materialize one asset of a code location that has the tables. No table runs."""
    tables = component()
    tags = {"dagster/asset_partition_range_start": day, "dagster/asset_partition_range_end": to} if to else {}
    return dg.materialize(
        [asset, *(tables.assets or ())],  # type: ignore[list-item] # they are assets
        selection=[asset],
        resources={**(tables.resources or {}), **resources},
        partition_key=None if to else day,
        tags={name: str(value) for name, value in tags.items()},
        raise_on_error=False,
    )


def failure(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    (failed,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failed.user_failure_data is not None, failed.error
    return str(failed.user_failure_data.description)


DAILY: dict[str, Any] = {"partitions_def": partitions_for(Grain.DAY)}

COUNTED: dict[type, Callable[[Any], int]] = {
    pd.DataFrame: len,
    pa.Table: lambda table: table.num_rows,
    ds.Dataset: lambda dataset: dataset.count_rows(),
}


@pytest.mark.parametrize("form", COUNTED)
def test_a_partition_is_loaded_in_the_annotated_type(form: type, lake: Store) -> None:
    asset, got = asking(form, **DAILY)
    assert run(asset, day=DAYS[1]).success
    (events,) = got
    assert isinstance(events, form)
    assert COUNTED[form](events) == archived(lake, DAYS[1]) > 0


def test_a_frame_keeps_every_tick(lake: Store) -> None:
    asset, got = asking(pd.DataFrame, **DAILY)
    assert run(asset, day=DAYS[1]).success
    assert str(got[0]["Timestamp"].dtype) == "timestamp[ns, tz=UTC][pyarrow]"


def test_a_range_is_loaded_as_one_table_without_other_rows(lake: Store) -> None:
    asset, got = asking(pa.Table, **DAILY, backfill_policy=dg.BackfillPolicy.single_run())
    assert run(asset, day=DAYS[0], to=DAYS[1]).success
    (events,) = got
    assert events.num_rows == archived(lake, *DAYS[:2])
    assert sorted({str(day) for day in events["date"].to_pylist()}) == DAYS[:2]


def test_an_asset_without_partitions_gets_all_archived_rows(lake: Store) -> None:
    asset, got = asking(ds.Dataset)
    assert run(asset).success
    assert got[0].count_rows() == archived(lake, *DAYS)


def test_a_daily_asset_gets_the_hours_of_its_day(lake: Store) -> None:
    asset, got = asking(pa.Table, upstream=ALERTS, **DAILY)
    assert run(asset, day=DAYS[1]).success
    hours = [f"{DAYS[1]}T{hour:02}" for hour in range(24)]
    assert got[0].num_rows == archived(lake, *hours, table="AlertInfo") > 0


def test_the_current_day_contains_the_hours_that_have_begun_as_documented(
    own: Store, instance: dg.DagsterInstance
) -> None:
    page = (ROOT / "docs" / "downstream.md").read_text("utf-8")
    (example,) = re.findall(r"```python\nhours = (.*?)```", page, re.DOTALL)
    got = []

    @dg.asset(ins={"events": eval(example)}, automation_condition=computed_condition(), **DAILY)
    def asks(events: pa.Table) -> None:
        got.append(events)

    hourly = partitions_for(Grain.HOUR)
    table = dg.AssetSpec(PROCESSES, partitions_def=hourly).with_io_manager_key("ours")
    project = dg.Definitions([asks, table], resources={"ours": HuntingLake()})
    now, today = datetime.datetime.now(datetime.UTC), str(TODAY)
    before = dg.evaluate_automation_conditions(project, instance, evaluation_time=now)
    begun = [key for key in hourly.get_partition_keys(current_time=now) if key.startswith(today)]
    for hour in range(24):  # also hours that have not begun: one may begin during the test
        derived.write(own, partition_from_key("DeviceProcessEvents", f"{today}T{hour:02}"), ROWS)
    for key in begun:
        instance.report_runless_asset_event(dg.AssetMaterialization(PROCESSES, partition=key))
    asked = dg.evaluate_automation_conditions(project, instance, evaluation_time=now, cursor=before.cursor)
    assert asked.get_requested_partitions(asks.key) == {today}

    done = dg.materialize(
        [asks, table],
        selection=[asks],
        resources={"ours": HuntingLake()},
        partition_key=today,
        instance=instance,
    )
    assert done.success
    assert got[0].num_rows >= len(begun) * ROWS.num_rows


def test_partitions_that_are_not_archived_are_named_and_nothing_is_computed(lake: Store) -> None:
    asset, got = asking(pa.Table, **DAILY, backfill_policy=dg.BackfillPolicy.single_run())
    first = str(TODAY - datetime.timedelta(days=4))
    message = failure(run(asset, day=first, to=DAYS[0]))
    assert f"DeviceProcessEvents: these partitions are not in the lake {lake.uri()}: {first}." in message
    assert got == []


def test_another_tenants_lake_is_refused(lake: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNTING_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47")
    asset, got = asking(pa.Table, **DAILY)
    message = failure(run(asset, day=DAYS[1]))
    assert "this lake holds tenant" in message
    assert "72f988bf" in message
    assert got == []


def test_an_unsupported_annotation_is_refused_with_the_supported_ones(lake: Store) -> None:
    for other in (list, Any):
        asset, _ = asking(other, **DAILY)
        message = failure(run(asset, day=DAYS[1]))
        assert "the input 'events' is annotated with" in message
        assert "Annotate it with one of pyarrow.dataset.Dataset, pyarrow.Table, pandas.DataFrame." in message


def test_another_project_loads_a_table_by_its_key_alone(lake: Store) -> None:
    """The table is an asset of another project: this code location has only its key and its partitions."""
    table = dg.AssetSpec(PROCESSES, partitions_def=partitions_for(Grain.DAY)).with_io_manager_key("ours")
    asset, got = asking(pa.Table, **DAILY)
    result = dg.materialize(
        [asset, table], selection=[asset], resources={"ours": HuntingLake()}, partition_key=DAYS[1]
    )
    assert result.success
    assert got[0].num_rows == archived(lake, DAYS[1])


def test_a_table_with_unknown_partitions_is_refused(lake: Store) -> None:
    asset, got = asking(pa.Table, **DAILY)
    table = dg.AssetSpec(PROCESSES).with_io_manager_key("ours")
    result = dg.materialize(
        [asset, table],
        selection=[asset],
        resources={"ours": HuntingLake()},
        partition_key=DAYS[1],
        raise_on_error=False,
    )
    assert "defender/DeviceProcessEvents has no partitions in this code location" in failure(result)
    assert got == []


def test_the_worked_example_becomes_a_table(lake: Store) -> None:
    result = run(processes_by_day(hunting_of()), day=DAYS[1])
    assert result.success
    (event,) = result.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    (found,) = duckdb.sql(
        f"SELECT sum(Starts), count(*) FROM read_parquet('{lake.uri()}/ProcessesByDay/**/*.parquet')"
        f" WHERE date = '{DAYS[1]}'"
    ).fetchall()
    assert found == (archived(lake, DAYS[1]), metadata["dagster/partition_row_count"].value)
    expected = duckdb.sql(
        "SELECT FileName, ProcessVersionInfoCompanyName, count(*), count(DISTINCT DeviceId)"
        f" FROM read_parquet('{lake.uri()}/DeviceProcessEvents/date={DAYS[1]}/*.parquet') GROUP BY ALL"
    ).fetchall()
    table = ds.dataset(metadata["dagster/uri"].value).to_table()
    assert sorted(map(str, expected)) == sorted(str(tuple(row.values())) for row in table.to_pylist())


def computing(name: str, result: Any, **options: Any) -> dg.AssetsDefinition:
    """Build an asset that writes `result` to the lake."""
    return dg.asset(name=name, io_manager_key="hunting_lake", **options)(lambda: result)


@pytest.fixture
def own(tmp_path: Path) -> Store:
    """Open the empty lake of the settings."""
    return open_store(str(tmp_path / "lake"))


ROWS = pa.table({"A": [1, 2]})


@pytest.mark.parametrize("result", [ROWS, ROWS.to_pandas()])
def test_a_computed_partition_is_replaced_whole_and_can_be_loaded_downstream(result: Any, own: Store) -> None:
    assert run(computing("ours", ROWS.slice(1), **DAILY), day=DAYS[0]).success
    made = computing("ours", result, **DAILY)
    assert run(made, day=DAYS[0]).success
    asset, got = asking(pa.Table, upstream=dg.AssetKey("ours"), **DAILY)
    asked = dg.materialize(
        [asset, made], selection=[asset], resources={"hunting_lake": HuntingLake()}, partition_key=DAYS[0]
    )
    assert asked.success
    assert got[0].to_pydict() == {"A": [1, 2], "date": [datetime.date.fromisoformat(DAYS[0])] * 2}
    assert len(list(Path(own.uri()).rglob("*.parquet"))) == 1


REFUSED = {
    "an output must be exactly one partition": computing("ours", ROWS),
    "not a list": computing("ours", [1], **DAILY),
    "Drop or rename Date": computing("ours", ROWS.rename_columns(["Date"]), **DAILY),
}


@pytest.mark.parametrize("words", REFUSED)
def test_an_output_that_is_no_partition_is_refused_and_nothing_is_written(words: str, own: Store) -> None:
    asset = REFUSED[words]
    assert words in failure(run(asset, day=DAYS[0] if asset.partitions_def else None))
    assert not Path(own.uri()).exists()


def test_computed_rows_never_replace_archived_rows(lake: Store) -> None:
    before = archived(lake, DAYS[0])
    asset = computing("DeviceProcessEvents", ROWS, **DAILY)
    assert "a pull archived DeviceProcessEvents" in failure(run(asset, day=DAYS[0]))
    rmtree(lake.uri("_hunting/manifest/DeviceProcessEvents"))  # each file has the same proof in its footer
    assert "a pull archived DeviceProcessEvents" in failure(run(asset, day=DAYS[0]))
    assert archived(lake, DAYS[0]) == before


def test_a_downstream_asset_is_skipped_within_the_run_of_its_table(
    lake: Store, instance: dg.DagsterInstance
) -> None:
    """The table yields one event for each partition, but no output. So no step of its run can wait for it."""
    asset, got = asking(pa.Table, **DAILY)
    tables = component()
    spec = next(each for each in tables.assets or () if isinstance(each, dg.AssetsDefinition))
    assert spec.key == PROCESSES
    tables_free = dg.AssetSelection.assets(PROCESSES, asset.key).without_checks()
    result = dg.materialize(
        [asset, spec],
        selection=tables_free,
        resources=dict(tables.resources or {}),
        partition_key=DAYS[1],
        instance=instance,
        raise_on_error=False,
    )
    assert got == []
    assert asset.key not in {event.asset_key for event in result.get_asset_materialization_events()}


class Followed:
    """A table and a computed asset, with Dagster's own evaluation and a clock set by the test."""

    def __init__(
        self, instance: dg.DagsterInstance, condition: dg.AutomationCondition[Any] | None = None
    ) -> None:
        daily = partitions_for(Grain.DAY)

        @dg.asset(key=PROCESSES, partitions_def=daily, automation_condition=condition)
        def table() -> None: ...

        @dg.asset(deps=[PROCESSES], partitions_def=daily, automation_condition=computed_condition())
        def computed() -> None: ...

        self.defs = dg.Definitions(assets=[table, computed])
        self.key, self.instance, self.cursor = computed.key, instance, None
        self.now = datetime.datetime.combine(TODAY, datetime.time(9, 0, 30), datetime.UTC)

    def requested(self) -> set[str]:
        """Return the partitions that are requested a minute later."""
        self.now += datetime.timedelta(minutes=1)
        result = dg.evaluate_automation_conditions(
            self.defs, self.instance, evaluation_time=self.now, cursor=self.cursor
        )
        self.cursor = result.cursor  # type: ignore[assignment] # of no public type
        return set(result.get_requested_partitions(self.key))

    def committed(self, key: dg.AssetKey, *days: str) -> None:
        for day in days:
            self.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=day))


def test_each_commit_of_a_table_updates_exactly_its_computed_partition(
    instance: dg.DagsterInstance,
) -> None:
    followed = Followed(instance)
    assert followed.requested() == set()
    followed.committed(PROCESSES, DAYS[0], DAYS[2])
    assert followed.requested() == {DAYS[0], DAYS[2]}
    assert followed.requested() == set(), "once for each commit"
    followed.committed(followed.key, DAYS[0], DAYS[2])
    followed.committed(PROCESSES, DAYS[0])  # late rows, much later
    assert followed.requested() == {DAYS[0]}
    assert followed.requested() == set()


def test_a_computed_asset_does_not_join_the_run_that_commits_its_table(instance: dg.DagsterInstance) -> None:
    minutely = dg.AutomationCondition.cron_tick_passed("5 9 * * *")
    followed = Followed(instance, minutely & dg.AutomationCondition.in_latest_time_window())
    today = str(TODAY)
    while followed.now.minute < 4:
        assert followed.requested() == set()
    followed.committed(PROCESSES, today)
    assert followed.requested() == set(), "the table itself is requested again at this very minute"
    assert followed.requested() == {today}
