"""Late rows fail a check, the sensor requests exactly the stale partitions, and the check passes again."""

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from hunting_emulator.process import running
from hunting_pipeline.catalog import spec
from hunting_pipeline.definitions import defs
from hunting_pipeline.model import DAY, Bin, Proof, Window, partition_from_key
from hunting_pipeline.orchestration import HuntingTables, TableConfig, materialize_range
from hunting_pipeline.orchestration.automation.sensors import (
    RECONCILE_STALE,
    LastRequest,
    Trigger,
    checks_of,
    is_due,
    run_requests,
    sensor_for,
)
from hunting_pipeline.orchestration.checks.reconciled import reconciled_result
from hunting_pipeline.orchestration.keys import RECONCILED, STALE_PARTITIONS
from hunting_pipeline.orchestration.resources import hunting_of
from hunting_pipeline.pipeline import Recount
from support import Emulated, settled_day

KEY = dg.AssetKey(["defender", "AlertInfo"])
CHECK = dg.AssetCheckKey(KEY, RECONCILED)
TODAY = settled_day()
AVAILABLE = [str(TODAY - datetime.timedelta(days=back)) for back in range(28, 0, -1)]


@pytest.fixture
def tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    """Start a tenant where one row in fifty arrives up to twenty days late."""
    late = {"late_share": 0.02, "late_seconds": 20 * 86400.0}
    with running(profile="test", rows={"AlertInfo": 3_000}, **late) as endpoint:
        for name, value in (endpoint.settings() | {"HUNTING_LIMITS": "test"}).items():
            monkeypatch.setenv(name, value)
        yield Emulated(endpoint, tenant=None, home=tmp_path)  # type: ignore[arg-type] # rows are not compared here


class Operated:
    """The code location and an instance. Its methods do what the daemon does."""

    def __init__(
        self, instance: dg.DagsterInstance, trigger: Trigger = RECONCILE_STALE, *, start: str = "2026-01-01"
    ) -> None:
        component = HuntingTables(tables=[TableConfig(name="AlertInfo")], start=start)
        self.defs = component.build_defs(None)  # type: ignore[arg-type] # needs no context
        self.instance = instance
        checks = checks_of(self.defs, trigger.check, {KEY})
        stopped = dg.DefaultSensorStatus.STOPPED
        self.sensor = sensor_for(trigger, checks, hunting_of(), suffix="", status=stopped)
        self.cursor: str | None = None

    def materialize(self) -> None:
        """Archive every day that the service still has."""
        pulled = materialize_range(
            self.defs, ["AlertInfo"], first=AVAILABLE[0], last=AVAILABLE[-1], instance=self.instance
        )
        assert pulled.success

    def evaluate(self) -> dg.AssetCheckEvaluation:
        """Run only the check."""
        job = dg.define_asset_job("recount", dg.AssetSelection.checks(CHECK))
        found = dg.Definitions.merge(self.defs, dg.Definitions(jobs=[job]))
        result = found.resolve_job_def("recount").execute_in_process(instance=self.instance)
        assert result.success
        (evaluation,) = result.get_asset_check_evaluations()
        return evaluation

    def tick(self) -> list[dg.RunRequest]:
        """Return the current requests of the sensor."""
        context = dg.build_sensor_context(
            self.instance, cursor=self.cursor, definitions=dg.Definitions.merge(self.defs)
        )
        result = self.sensor.evaluate_tick(context)
        self.cursor = result.cursor
        return list(result.run_requests or ())

    def run(self, request: dg.RunRequest) -> list[str]:
        """Run a request and return the partitions that it materialized."""
        (asset,) = [each for each in self.defs.assets or () if isinstance(each, dg.AssetsDefinition)]
        checks = dg.AssetSelection.checks(*(request.asset_check_keys or ()))
        result = dg.materialize(
            [asset],
            selection=dg.AssetSelection.assets(KEY).without_checks() | checks,
            instance=self.instance,
            resources=dict(self.defs.resources or {}),
            tags=dict(request.tags),
        )
        assert result.success
        return [str(event.partition) for event in result.get_asset_materialization_events()]


def files(lake: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.stem.removeprefix("AlertInfo-"): (path.stat().st_mtime_ns, path.read_bytes())
        for path in lake.rglob("*.parquet")
    }


def test_late_rows_are_found_requested_and_archived_and_no_other_partition_changes(
    tenant: Emulated, instance: dg.DagsterInstance
) -> None:
    operated = Operated(instance)
    operated.materialize()
    assert operated.evaluate().passed
    assert operated.tick() == []

    before = files(tenant.home / "lake")
    tenant.post("config", late_share=0.0)  # all late rows have arrived
    tenant.post("reset")
    red = operated.evaluate()
    assert (red.passed, red.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert set(tenant.stats()["by_kind"]) == {"histogram"}, "the check counts and fetches no row"
    stale = red.metadata[STALE_PARTITIONS].value
    assert isinstance(stale, list)
    assert 3 < len(stale) < 20

    requests = operated.tick()
    assert operated.tick() == [], "the same evaluation never requests twice"
    assert len(requests) > 1, "between the stale partitions there are others"
    asked = [key for request in requests for key in between(request)]
    assert asked == stale
    brought = [key for request in requests for key in operated.run(request)]
    assert sorted(brought) == stale
    assert all(rows > 0 for rows in late_rows(instance, len(brought)))

    after = files(tenant.home / "lake")
    assert sorted(key for key in before if before[key] != after[key]) == stale
    green = operated.evaluate()
    assert green.passed
    assert green.metadata["rows compared"].value == sum_of_rows(instance)
    assert operated.tick() == []


def test_partitions_before_the_start_of_the_asset_are_not_requested(
    tenant: Emulated, instance: dg.DagsterInstance
) -> None:
    """Dagster does not have these partitions, so a run for them would fail."""
    Operated(instance).materialize()
    tenant.post("config", late_share=0.0)
    red = Operated(instance, start=AVAILABLE[-6]).evaluate()
    stale = red.metadata[STALE_PARTITIONS].value
    assert isinstance(stale, list)
    assert stale[0] >= AVAILABLE[-6]
    assert not red.passed


def between(request: dg.RunRequest) -> list[str]:
    first, last = (request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
    return [key for key in AVAILABLE if first <= key <= last]


def late_rows(instance: dg.DagsterInstance, count: int) -> list[int]:
    """Return the late rows of the latest `count` materializations."""
    found = [each.asset_materialization for each in instance.fetch_materializations(KEY, limit=count).records]
    return [int(str(each.metadata["late rows"].value)) for each in found if each is not None]


def sum_of_rows(instance: dg.DagsterInstance) -> int:
    """Return the sum of the rows of all partitions, each from its latest materialization."""
    rows: dict[str, int] = {}
    for record in instance.fetch_materializations(KEY, limit=1000, ascending=True).records:
        materialization = record.asset_materialization
        assert materialization is not None
        rows[str(materialization.partition)] = int(
            str(materialization.metadata["dagster/partition_row_count"].value)
        )
    return sum(rows.values())


def test_the_check_counts_again_after_a_reconciling_run(
    tenant: Emulated, instance: dg.DagsterInstance
) -> None:
    operated = Operated(instance)
    materialize_range(
        operated.defs, ["AlertInfo"], first=AVAILABLE[-9], last=AVAILABLE[-1], instance=instance
    )
    night = datetime.datetime.combine(TODAY, datetime.time(4, 20), datetime.UTC)
    ticks = [night + datetime.timedelta(minutes=minutes) for minutes in range(0, 60, 5)]
    asked, cursor = [], None
    for number, now in enumerate(ticks):
        if number == 6:
            tenant.post("config", late_share=0.0)
            tags = {"dagster/asset_partition_range_start": AVAILABLE[-9], "hunting/reconcile": "true"}
            tags |= {"dagster/asset_partition_range_end": AVAILABLE[-1]}
            assert operated.run(dg.RunRequest(tags=tags))
        result = dg.evaluate_automation_conditions(
            operated.defs,
            instance,
            asset_selection=dg.AssetSelection.checks(CHECK),
            evaluation_time=now,
            cursor=cursor,
        )
        cursor = result.cursor
        asked += [number] * result.total_requested
    assert asked == [2, 6], "at half past four, and after the run"


def test_each_evaluation_is_used_once_and_the_next_one_after_six_hours() -> None:
    assert is_due(1, None, now=0.0)
    assert not is_due(1, LastRequest(1, 0.0), now=1e9)
    assert not is_due(2, LastRequest(1, 0.0), now=3600.0)
    assert is_due(2, LastRequest(1, 0.0), now=6 * 3600.0)


def test_consecutive_partitions_are_one_run_with_its_own_key() -> None:
    stale = ["2026-11-03T23", "2026-11-04T00", "2026-11-04T02"]
    requests = list(run_requests(CHECK, 7, stale, tags=RECONCILE_STALE.tags))
    assert [request.run_key for request in requests] == [
        "defender/AlertInfo:reconciled:7:2026-11-03T23",
        "defender/AlertInfo:reconciled:7:2026-11-04T02",
    ]
    assert requests[0].tags["dagster/asset_partition_range_end"] == "2026-11-04T00"
    assert all(request.tags["hunting/reconcile"] == "true" for request in requests)


def compared(
    *, grown: Sequence[Window] = (), shrunk: Sequence[Window] = (), where: str = ""
) -> dg.AssetCheckResult:
    partitions = [partition_from_key("AlertInfo", key) for key in ("2026-11-03", "2026-11-04", "2026-11-05")]
    whole = Window(partitions[0].window.start, partitions[-1].window.end)
    bins = tuple(Bin(partition.window, Proof(5, 0)) for partition in partitions)
    found = Recount("AlertInfo", (whole,), bins, tuple(grown), tuple(shrunk), tuple(partitions[:1]))
    return reconciled_result(found, partitions, replace(spec("AlertInfo"), where=where))


def test_vanished_rows_are_an_error_and_request_nothing() -> None:
    middle = partition_from_key("AlertInfo", "2026-11-04").window
    gone = compared(shrunk=[middle])
    assert (gone.passed, gone.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert gone.metadata is not None
    assert gone.metadata[STALE_PARTITIONS].value == []
    assert gone.metadata["partitions with fewer rows"].value == ["2026-11-04"]
    assert "--force" in str(gone.description)
    assert "--force" not in str(compared(shrunk=[middle], where="true").description)
    late = compared(grown=[Window(middle.start, middle.start + DAY // 24)])
    assert late.severity is dg.AssetCheckSeverity.WARN
    assert late.metadata is not None
    assert late.metadata[STALE_PARTITIONS].value == ["2026-11-04"]
    assert compared().passed
    assert compared().metadata["archived by another query"].value == ["2026-11-03"]


def test_every_table_with_a_time_is_counted_again_and_no_snapshot_is() -> None:
    location = defs()
    keys = {spec.key for spec in location.resolve_all_asset_specs()}
    tables = {check.asset_key.path[-1] for check in checks_of(location, RECONCILED, keys)}
    assert "DeviceProcessEvents" in tables
    assert "ExposureGraphNodes" not in tables
