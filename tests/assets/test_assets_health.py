"""The checks fresh, drift and deadline. They read only manifests and need no tenant."""

import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from hunting_emulator.process import running
from hunting_pipeline.lake.manifest import Manifest, Segment
from hunting_pipeline.model import DAY, HOUR, Column, Proof, Window, partition_from_key
from hunting_pipeline.orchestration import HuntingTables, TableConfig, materialize_range
from hunting_pipeline.orchestration.automation.sensors import LAST_CALL, sensor_for
from hunting_pipeline.orchestration.keys import COMPLETE, DEADLINE, DRIFT, FRESH, NEAR_DEADLINE
from hunting_pipeline.orchestration.resources import hunting_of
from hunting_pipeline.pipeline.health import deadline, drift, freshness
from hunting_pipeline.quota import Ledger
from hunting_pipeline.settings import load_settings
from hunting_pipeline.window import Backlog, backlog_of

KEY = dg.AssetKey(["defender", "AlertInfo"])
TODAY = datetime.datetime.now(datetime.UTC).date()


def archived(key: str, fingerprint: str = "f", *columns: str, until: int | None = None) -> Manifest:
    """Build the manifest of a partition, whole or up to an instant. Columns are given as `name:type`."""
    partition = partition_from_key("AlertInfo", key)
    span = Window(partition.window.start, until or partition.window.end)
    return Manifest(
        partition=partition,
        tenant="t",
        query_hash="s",
        proof=Proof(1, 1),
        file_bytes=1,
        file_version="v",
        body_bytes=1,
        rescued=0,
        fingerprint=fingerprint,
        columns=tuple(Column(*name.split(":")) for name in columns),
        segments=(Segment(span, None, Proof(1, 1), "AlertInfo", 0),),
        api="graph",
        engine="e",
        run_id="r",
        committed_at=span.end,
    )


def test_an_archive_is_fresh_while_its_end_is_near() -> None:
    end = archived("2026-11-20").partition.window.start + 9 * HOUR
    two = [archived("2026-11-19"), archived("2026-11-20", until=end)]
    assert freshness(two, now=end + 6 * HOUR, hours=6).passed
    late = freshness(two, now=end + 7 * HOUR, hours=6)
    assert not late.passed
    assert late.summary == "Archived up to 2026-11-20T09:00:00Z, 7.0 hours ago"
    assert not freshness([], now=end, hours=6).passed


def test_drift_names_the_partition_and_what_changed() -> None:
    steady = [archived("2026-11-18", "f", "A:string"), archived("2026-11-19", "f", "A:string")]
    assert drift(steady).passed
    found = drift([*steady, archived("2026-11-20", "g", "A:long", "B:string")])
    assert not found.passed
    assert found.summary == "Schema changes (1): 2026-11-20: +B, A string → long"


def test_a_gap_near_the_edge_is_named_and_one_far_from_it_is_not() -> None:
    partitions = [partition_from_key("AlertInfo", f"2026-11-{day:02}") for day in range(1, 8)]
    edge = partitions[0].window.start + HOUR
    available = Window(edge, partitions[-1].window.end)

    def at(*done: int) -> Backlog:
        covered = {partitions[number]: [partitions[number].window] for number in done}
        return backlog_of(partitions, covered, available=available)

    assert deadline(at(0, 1, 2), edge=edge).passed, "the third begins within two days, and is archived"
    near = deadline(at(0, 3), edge=edge)
    assert not near.passed
    assert (
        near.summary
        == "The service soon deletes the rows of these partitions. Pull them now: 2026-11-02, 2026-11-03"
    )
    assert deadline(at(*range(7)), edge=edge + DAY).passed


def checked(instance: dg.DagsterInstance, start: str) -> dict[str, dg.AssetCheckEvaluation]:
    """Run the checks that need no tenant, without a pull, for an archive that begins at `start`."""
    component = HuntingTables(tables=[TableConfig(name="AlertInfo")], start=start)
    checks = [dg.AssetCheckKey(KEY, name) for name in (COMPLETE, FRESH, DRIFT, DEADLINE)]
    job = dg.define_asset_job("watch", dg.AssetSelection.checks(*checks))
    defs = component.build_defs(None)  # type: ignore[arg-type] # needs no context
    found = dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))
    result = found.resolve_job_def("watch").execute_in_process(instance=instance)
    assert result.success
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def test_an_empty_lake_is_stale_and_about_to_lose_its_first_days(instance: dg.DagsterInstance) -> None:
    found = checked(instance, "2026-01-01")
    assert [found[name].passed for name in (FRESH, DRIFT, DEADLINE)] == [False, True, False]
    assert all(found[name].severity is dg.AssetCheckSeverity.WARN for name in (FRESH, DRIFT, DEADLINE))
    yesterday = str(TODAY - datetime.timedelta(days=1))
    assert checked(instance, yesterday)[DEADLINE].passed, (
        "partitions before the archive's start are not missing"
    )


def test_partitions_that_are_soon_forgotten_are_requested_first_and_once(
    instance: dg.DagsterInstance, capfd: pytest.CaptureFixture[str], ledger: Ledger
) -> None:
    """The sensor reads only the check's evaluation. So a failed run of a partition does not matter."""
    near = checked(instance, "2026-01-01")[DEADLINE].metadata[NEAR_DEADLINE].value
    assert isinstance(near, list)
    assert len(near) == 3
    ledger.record_access(load_settings().identity)
    checks = [dg.AssetCheckKey(KEY, DEADLINE)]
    stopped = dg.DefaultSensorStatus.STOPPED
    sensor = sensor_for(LAST_CALL, checks, hunting_of(), suffix="", status=stopped)

    def tick(cursor: str | None) -> Any:
        return sensor.evaluate_tick(dg.build_sensor_context(instance, cursor=cursor))

    found = tick(None)
    (request,) = found.run_requests or ()
    assert request.asset_selection == [KEY]
    assert dict(request.tags) == {
        "dagster/priority": "-1",
        "hunting/automation": "last_call",
        "dagster/sensor_name": "last_call",
        "dagster/asset_partition_range_start": near[0],
        "dagster/asset_partition_range_end": near[-1],
    }
    assert (
        f"defender/AlertInfo: missing, and will soon expire in the service: {', '.join(map(str, near))}"
        in capfd.readouterr().err
    )
    assert not tick(found.cursor).run_requests


def test_all_checks_pass_after_a_pull_up_to_now(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = str(TODAY - datetime.timedelta(days=2)), str(TODAY)
    component = HuntingTables(tables=[TableConfig(name="AlertInfo")])
    defs = component.build_defs(None)  # type: ignore[arg-type] # needs no context
    with running(profile="test", rows={"AlertInfo": 500}) as endpoint, monkeypatch.context() as configured:
        for name, value in endpoint.settings().items():
            configured.setenv(name, value)
        assert materialize_range(defs, ["AlertInfo"], first=first, last=last, instance=instance).success
    found = checked(instance, first)  # the tenant no longer runs
    assert {name for name, each in found.items() if each.passed} == {COMPLETE, FRESH, DRIFT, DEADLINE}
    assert found[COMPLETE].metadata["partitions"].value in {2, 3}, "today may not have settled yet"
