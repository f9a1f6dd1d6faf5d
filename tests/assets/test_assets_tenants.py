"""Several tenants in one code location: each has its own lake, quota and keys, and none waits for another."""

import datetime
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest
from test_assets_hunts import located

from hunting_emulator.process import Endpoint, running
from hunting_pipeline.definitions import defs
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.orchestration import HuntingResource, HuntingTables, TableConfig, materialize_range
from hunting_pipeline.orchestration.resources import hunting_of
from hunting_pipeline.quota import Usage
from support import Emulated, settled_day

TODAY = settled_day()
FIRST, LAST = (str(TODAY - datetime.timedelta(days=back)) for back in (2, 1))
NAMES = ("contoso", "fabrikam")


@pytest.fixture(scope="module")
def endpoints() -> Iterator[dict[str, Endpoint]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(running(profile="test", seed=seed, rows={"AlertInfo": 2_000}))
            for seed, name in enumerate(NAMES, 1)
        }


@pytest.fixture
def tenants(
    endpoints: dict[str, Endpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Emulated]:
    """Write both tenants into a `hunting.toml`, and their secrets into variables."""
    lines = ['limits = "test"']
    for name, endpoint in endpoints.items():
        lines += [f"[tenants.{name}]"]
        for key, value in endpoint.settings().items():
            setting = key.removeprefix("HUNTING_").lower()
            if setting == "client_secret":
                monkeypatch.setenv(f"HUNTING_TENANTS__{name.upper()}__CLIENT_SECRET", value)
            else:
                lines.append(f'{setting} = "{value}"')
    (tmp_path / "hunting.toml").write_text("\n".join(lines))
    monkeypatch.setenv("HUNTING_CONFIG", str(tmp_path / "hunting.toml"))
    found = {
        name: Emulated(endpoint, tenant=None, home=tmp_path)  # type: ignore[arg-type] # rows are not compared
        for name, endpoint in endpoints.items()
    }
    for emulated in found.values():
        emulated.post("config", faults={"share": 0})
        emulated.post("reset")
    return found


class Impatient(HuntingTables):
    def resource(self, tenant: str) -> HuntingResource:
        return HuntingResource(tenant=tenant, max_wait=0.5)


def alerts(
    component: type[HuntingTables] = HuntingTables, tenants: list[str] | None = None
) -> dg.Definitions:
    chosen = component(tables=[TableConfig(name="AlertInfo")], tenants=tenants)
    return chosen.build_defs(None)  # type: ignore[arg-type] # needs no context


def usage(tenant: str) -> Usage:
    with hunting_of(tenant).pipeline(run_id="test") as pipeline:
        return pipeline.ledger.usage()


def materialized(result: dg.ExecuteInProcessResult) -> list[str]:
    """Return a `tenant partition` for each materialization, in the order of the events."""
    return [
        f"{e.asset_key.path[0]} {e.partition}"
        for e in result.get_asset_materialization_events()
        if e.asset_key
    ]


def test_each_tenant_has_every_asset_under_its_name(tenants: dict[str, Emulated]) -> None:
    location = defs()
    keys = {spec.key.to_user_string(): spec for spec in location.resolve_all_asset_specs()}
    assert {key.split("/")[0] for key in keys} == set(NAMES)
    names = [{key.split("/", 1)[1] for key in keys if key.startswith(name)} for name in NAMES]
    assert names[0] == names[1]
    some = {"defender/DeviceProcessEvents", "defender/quota", "summary/ProcessesByDay", "hunts/persistence"}
    assert some <= names[0]
    assert set(location.resources or ()) == {
        f"hunting_{name}{lake}" for name in NAMES for lake in ("", "_lake")
    }
    for name in NAMES:
        spec = keys[f"{name}/defender/AlertInfo"]
        assert (spec.tags["hunting/tenant"], spec.metadata["dagster/io_manager_key"]) == (
            name,
            f"hunting_{name}_lake",
        )
    pools = {asset.op.pool for asset in location.assets or () if isinstance(asset, dg.AssetsDefinition)}
    assert {f"hunting_{name}" for name in NAMES} <= pools, "the steps of one do not fill the other's pool"
    dg.Definitions.validate_loadable(location)


def test_the_automation_of_each_tenant_starts_separate_runs(tenants: dict[str, Emulated]) -> None:
    location = defs()
    sensors = {sensor.name: sensor for sensor in location.sensors or ()}
    daily = {f"{kind}_{name}" for name in NAMES for kind in ("reconcile_stale", "last_call")}
    usual = ("run_when_due", "keep_complete")
    hourly = {f"{sensor}_hourly_starting_2026_01_01t00" for sensor in daily}
    assert set(sensors) == {f"{kind}_{name}" for name in NAMES for kind in usual} | hourly | daily
    graph = location.get_repository_def().asset_graph
    for name in NAMES:
        sensor = sensors[f"run_when_due_{name}"]
        assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
        assert sensor.run_tags["hunting/tenant"] == name
        chosen = sensor.asset_selection.resolve(graph)
        assert {key.path[0] for key in chosen} == {name}
        assert len(chosen) > 60


def test_a_component_can_belong_to_some_tenants_only(tenants: dict[str, Emulated]) -> None:
    specs = alerts(tenants=["fabrikam"]).resolve_all_asset_specs()
    assert [spec.key.to_user_string() for spec in specs] == ["fabrikam/defender/AlertInfo"]


def test_each_tenant_fills_its_own_lake_and_spends_its_own_quota(
    tenants: dict[str, Emulated], instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    tables = [f"{name}/AlertInfo" for name in NAMES]
    result = materialize_range(alerts(), tables, first=FIRST, last=LAST, instance=instance)
    assert result.success
    for name, emulated in tenants.items():
        owner = json.loads((tmp_path / "lake" / name / "_hunting" / "lake.json").read_text())["tenant"]
        assert owner == emulated.endpoint.tenant_id
        assert len(list((tmp_path / "lake" / name).rglob("*.parquet"))) == 2
        assert sum(usage(name).owners.values()) == emulated.stats()["calls"] > 0
    assert not list((tmp_path / "lake").glob("AlertInfo")), "nothing is written outside the two lakes"


def test_a_hunt_runs_for_each_tenant(
    tenants: dict[str, Emulated],
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hunts = located(tmp_path, monkeypatch, severe="AlertInfo | where Severity == 'High'")
    chosen = [f"{name}/severe" for name in NAMES]
    result = materialize_range(hunts, chosen, first=FIRST, last=LAST, instance=instance)
    assert materialized(result) == [f"{name} {day}" for name in NAMES for day in (FIRST, LAST)]
    for name in NAMES:
        assert len(list((tmp_path / "lake" / name / "hunt-severe").rglob("*.parquet"))) == 2


@pytest.mark.slow
def test_while_one_tenant_is_throttled_the_other_is_not_slowed(
    tenants: dict[str, Emulated], instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """Two processes run at once, and the service refuses every call of one tenant.

    The run of the other tenant sends as many calls as alone and never waits. It ends before the first.
    """
    alone = materialize_range(alerts(), ["fabrikam/AlertInfo"], first=FIRST, last=LAST, instance=instance)
    (tmp_path / "lake" / "fabrikam").rename(tmp_path / "alone")
    tenants["contoso"].post("config", manners={"wait_seconds": 20}, faults={"share": 1, "kinds": ["cpu"]})
    command = [sys.executable, "-m", "hunting_pipeline.materialize", FIRST, LAST, "contoso/AlertInfo"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as throttled:
        try:
            until_blocked("contoso", throttled)
            tenants["fabrikam"].post("reset")
            with dg.DagsterInstance.ephemeral() as another:
                beside = materialize_range(
                    alerts(), ["fabrikam/AlertInfo"], first=FIRST, last=LAST, instance=another
                )
            assert throttled.poll() is None, "it still waits"
        finally:
            throttled.kill()
    assert beside.success
    assert materialized(beside) == materialized(alone) == [f"fabrikam {FIRST}", f"fabrikam {LAST}"]
    assert spent(beside) == spent(alone)
    assert spent(beside)["seconds waited"] == 0
    counted = tenants["fabrikam"].stats()
    assert (counted["calls"], counted["over_quota"]) == (spent(beside)["calls"], 0)
    assert usage("fabrikam").blocked_until is None
    assert not list((tmp_path / "lake" / "contoso").rglob("*.parquet"))


def until_blocked(tenant: str, process: "subprocess.Popen[bytes]") -> None:
    while usage(tenant).blocked_until is None:
        assert process.poll() is None, "it ended"
        time.sleep(0.1)


def spent(result: dg.ExecuteInProcessResult) -> dict[str, float]:
    reported = [
        e.step_materialization_data.materialization.metadata
        for e in result.get_asset_materialization_events()
    ]
    return {
        name: sum(float(str(each[name].value)) for each in reported) for name in ("calls", "seconds waited")
    }


def test_only_the_step_of_the_throttled_tenant_is_retried_within_one_run(
    tenants: dict[str, Emulated], instance: dg.DagsterInstance
) -> None:
    tenants["contoso"].post("config", manners={"wait_seconds": 3}, faults={"queue": ["cpu"]})
    tables = [f"{name}/AlertInfo" for name in NAMES]
    result = materialize_range(alerts(Impatient), tables, first=FIRST, last=LAST, instance=instance)
    assert result.success
    assert materialized(result) == [f"{name} {day}" for name in reversed(NAMES) for day in (FIRST, LAST)]
    retried = [event.step_key for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    assert retried == ["contoso__defender__AlertInfo"]


def test_a_tenants_wrong_setting_stops_the_load_with_its_line(
    tenants: dict[str, Emulated], tmp_path: Path
) -> None:
    path = tmp_path / "hunting.toml"
    path.write_text(path.read_text() + "\nshare = 2\n")
    line = len(path.read_text().splitlines())
    with pytest.raises(Exception) as caught:  # noqa: PT011 # Dagster wraps it
        defs()
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, Misconfigured):
        error = error.__cause__
    assert f"hunting.toml:{line}: share: Input should be less" in str(error)
