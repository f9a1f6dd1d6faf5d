"""Runs and checks on a lake in which other programs have damaged partitions, each in another way."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from lake_damage import DAMAGE, HIDDEN, damage
from test_assets_materialize import day, days, failures, materialized

from hunting_emulator.process import Endpoint, running
from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.model import partition_from_key
from hunting_pipeline.orchestration import HuntingTables, TableConfig, materialize_range
from hunting_pipeline.orchestration.keys import COMPLETE, DEADLINE, DRIFT, FRESH, RECONCILED

KEY = dg.AssetKey(["defender", "AlertInfo"])
KINDS = {**DAMAGE, **HIDDEN}
BROKEN = dict(zip(KINDS, days(len(KINDS) + 1, 2), strict=True))
FIRST = day(len(KINDS) + 2)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running(profile="test", rows={"AlertInfo": 2_000}) as started:
        yield started


@pytest.fixture
def location(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """Return a code location with one table, and a job with all its checks."""
    for name, value in (endpoint.settings() | {"HUNTING_LIMITS": "test"}).items():
        monkeypatch.setenv(name, value)
    component = HuntingTables(tables=[TableConfig(name="AlertInfo")], start=FIRST)
    checks = [dg.AssetCheckKey(KEY, name) for name in (COMPLETE, FRESH, DRIFT, DEADLINE, RECONCILED)]
    job = dg.define_asset_job("watch", dg.AssetSelection.checks(*checks))
    defs = component.build_defs(None)  # type: ignore[arg-type] # needs no context
    return dg.Definitions.merge(defs, dg.Definitions(jobs=[job]))


def watched(location: dg.Definitions, instance: dg.DagsterInstance) -> dict[str, dg.AssetCheckEvaluation]:
    result = location.resolve_job_def("watch").execute_in_process(instance=instance)
    assert result.success
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def named(text: str | None) -> list[str]:
    """Return the damaged partitions that a text names."""
    return [
        key for key in BROKEN.values() if f"AlertInfo {key}" in (text or "") or f"-{key}.parq" in (text or "")
    ]


def test_checks_name_damaged_files_and_runs_archive_the_other_partitions(
    location: dg.Definitions, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    built = materialize_range(location, ["AlertInfo"], first=FIRST, last=day(2), instance=instance)
    assert built.success
    for name, key in BROKEN.items():
        damage(lake, partition_from_key("AlertInfo", key), KINDS, name)
    healthy = lake / data_path(partition_from_key("AlertInfo", FIRST))
    shutil.copy(healthy, healthy.with_name("copy.parquet"))

    found = watched(location, instance)
    assert not found[COMPLETE].passed
    hidden_too = [key for name, key in BROKEN.items() if "folder" not in name or "files" in name]
    assert [key for key in hidden_too if key not in named(found[COMPLETE].description)] == []
    assert "copy.parquet" in str(found[COMPLETE].description)
    assert not found[RECONCILED].passed
    assert "damaged and not compared" in str(found[RECONCILED].description)
    assert found[DRIFT].passed

    other = materialize_range(location, ["AlertInfo"], first=day(1), last=day(1), instance=instance)
    assert (other.success, materialized(other, "AlertInfo")) == (True, [day(1)])
    (whole,) = [each for each in other.get_asset_check_evaluations() if each.partition is None]
    assert not whole.passed, "a run of another partition does not hide the damage"

    with dg.DagsterInstance.ephemeral() as another:
        result = materialize_range(location, ["AlertInfo"], first=FIRST, last=day(1), instance=another)
    assert not result.success
    assert materialized(result, "AlertInfo") == [FIRST, day(1)]
    (message,) = failures(result)
    assert named(message) == list(BROKEN.values())
