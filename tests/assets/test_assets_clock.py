"""A run on a machine whose clock is ahead: a partition of the service's future is left out."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from test_assets_materialize import materialized

from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.model import Grain, datetime_of
from hunting_pipeline.orchestration import HuntingTables, TableConfig, materialize_range
from hunting_pipeline.pipeline import open_lake
from hunting_pipeline.pipeline.clock import SystemClock
from support import NOW, Emulated, Shifted, emulated

AHEAD = 40 * 60.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with emulated(tmp_path_factory.mktemp("clock"), rows={"AlertInfo": 30_000}) as tenant:
        yield tenant


@pytest.fixture
def location(running: Emulated, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """Return a code location with one hourly table, on a machine whose clock is ahead."""
    for name, value in (running.endpoint.settings() | {"HUNTING_LIMITS": "test"}).items():
        monkeypatch.setenv(name, value)
    ahead = Shifted(NOW.timestamp() + AHEAD)
    monkeypatch.setattr(SystemClock, "now", lambda _: ahead.now())
    component = HuntingTables(tables=[TableConfig(name="AlertInfo", grain=Grain.HOUR)], start="2026-11-20")
    return component.build_defs(None)  # type: ignore[arg-type] # needs no context


def test_a_partition_that_is_in_the_future_for_the_service_is_reported_and_not_archived(
    location: dg.Definitions,
    running: Emulated,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    first, last = "2026-11-20T13", "2026-11-20T15"
    result = materialize_range(location, ["AlertInfo"], first=first, last=last, instance=instance)
    assert result.success
    assert materialized(result, "AlertInfo") == ["2026-11-20T13", "2026-11-20T14"]
    archived = list(load_all(open_lake(running.settings(lake=tmp_path / "lake")), "AlertInfo"))
    assert [f"{datetime_of(one.covered[-1].end):%H:%M}" for one in archived] == ["14:00", "14:45"]
    said = capfd.readouterr().err
    assert "not settled yet. A later run fetches them: 2026-11-20T15" in said
    assert "This machine's clock is 0:40:0" in said
