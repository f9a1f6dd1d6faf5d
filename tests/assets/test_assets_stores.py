"""Dagster on a lake in an object store: a table, its checks, its readers, and several tenants."""

import datetime
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from object_servers import Bucket
from typer.testing import CliRunner

from hunting_emulator.process import running
from hunting_pipeline.cli.app import app
from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.model import Grain, partition_from_key
from hunting_pipeline.orchestration import HuntingTables, TableConfig, materialize_range, partitions_for
from hunting_pipeline.orchestration.keys import COMPLETE, DEADLINE, DRIFT, FRESH, RECONCILED
from support import settled_day

TODAY = settled_day()
DAYS = [str(TODAY - datetime.timedelta(days=back)) for back in (3, 2, 1)]
ALERTS = dg.AssetKey(["defender", "AlertInfo"])
CHECKS = (COMPLETE, FRESH, DRIFT, DEADLINE, RECONCILED)
ROWS = {"AlertInfo": 600}
DAILY: dict[str, Any] = {"partitions_def": partitions_for(Grain.DAY)}

BIG_CLOUDS = pytest.mark.parametrize("bucket", ["seaweedfs", "azurite"], indirect=True)


def location(tenants: list[str] | None = None) -> dg.Definitions:
    """Build the assets of one table, and a job that runs its checks."""
    component = HuntingTables(
        tables=[TableConfig(name="AlertInfo")], start=DAYS[0], fresh_hours=48, tenants=tenants
    )
    tables = component.build_defs(None)  # type: ignore[arg-type] # needs no context
    if tenants:
        return tables
    checks = dg.AssetSelection.checks(*(dg.AssetCheckKey(ALERTS, name) for name in CHECKS))
    return dg.Definitions.merge(tables, dg.Definitions(jobs=[dg.define_asset_job("checks", checks)]))


@dg.asset(ins={"alerts": dg.AssetIn(ALERTS)}, io_manager_key="hunting_lake", **DAILY)
def AlertsByDay(alerts: ds.Dataset) -> pa.Table:
    return pa.table({"Alerts": [alerts.count_rows()]})


def asking(form: type, key: dg.AssetKey) -> tuple[dg.AssetsDefinition, list[Any]]:
    """Build an asset that loads `key` as `form`, and the list that receives the loaded value."""
    got: list[Any] = []

    def body(value: Any) -> None:
        got.append(value)

    body.__annotations__ = {"value": form, "return": None}
    return dg.asset(name="asks", ins={"value": dg.AssetIn(key)}, **DAILY)(body), got


def run(tables: dg.Definitions, asset: dg.AssetsDefinition, *others: Any) -> dg.ExecuteInProcessResult:
    result = dg.materialize(
        [asset, *others, *(tables.assets or ())],
        selection=[asset],
        resources=dict(tables.resources or {}),
        partition_key=DAYS[1],
    )
    assert result.success
    return result


def loaded(tables: dg.Definitions, form: type, key: dg.AssetKey, *others: Any) -> Any:
    asset, got = asking(form, key)
    run(tables, asset, *others)
    (value,) = got
    assert isinstance(value, form)
    return value


def configure(monkeypatch: pytest.MonkeyPatch, *variables: dict[str, str]) -> None:
    for some in variables:
        for name, value in some.items():
            monkeypatch.setenv(name, value)


@BIG_CLOUDS
def test_a_table_is_archived_checked_read_and_summarized(
    bucket: Bucket, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tables = location()
    with running(profile="test", rows=ROWS) as endpoint:
        configure(monkeypatch, endpoint.settings(), {"HUNTING_LIMITS": "test"}, bucket.variables)
        backfill = materialize_range(tables, ["AlertInfo"], first=DAYS[0], last=DAYS[-1], instance=instance)
        assert backfill.success
        checked = tables.resolve_job_def("checks").execute_in_process(instance=instance)
        again = materialize_range(tables, ["AlertInfo"], first=DAYS[0], last=DAYS[-1], instance=instance)
    assert {one.check_name: one.passed for one in checked.get_asset_check_evaluations()} == dict.fromkeys(
        CHECKS, True
    )
    assert not again.get_asset_materialization_events(), "nothing is fetched or recorded twice"
    events = [one.materialization for one in backfill.get_asset_materialization_events()]
    assert [one.partition for one in events] == DAYS
    keys = {day: data_path(partition_from_key("AlertInfo", day)) for day in DAYS}
    for event in events:
        assert event.metadata["dagster/uri"].value == f"{bucket.url}/{keys[str(event.partition)]}"
        assert "AlertId" in str(event.metadata["preview"].value)
    assert {path for path in bucket.objects("AlertInfo") if path.endswith(".parquet")} == set(keys.values())

    shown = CliRunner().invoke(app, ["status", "AlertInfo", "--from", DAYS[0], "--to", str(TODAY)])
    assert f"Lake {bucket.url}" in shown.output

    rows = {one.partition: one.metadata["dagster/partition_row_count"].value for one in events}
    assert loaded(tables, ds.Dataset, ALERTS).count_rows() == rows[DAYS[1]]
    assert loaded(tables, pa.Table, ALERTS).num_rows == rows[DAYS[1]]
    assert len(loaded(tables, pd.DataFrame, ALERTS)) == rows[DAYS[1]]
    for _ in range(2):  # the second run replaces the partition
        (computed,) = run(tables, AlertsByDay).get_asset_materialization_events()
    (summary,) = bucket.objects("AlertsByDay")
    assert computed.materialization.metadata["dagster/uri"].value == f"{bucket.url}/{summary}"
    counted = loaded(tables, pa.Table, AlertsByDay.key, AlertsByDay)
    assert counted["Alerts"].to_pylist() == [rows[DAYS[1]]]
    assert not (tmp_path / "lake").exists()


@pytest.mark.slow
def test_each_tenant_has_a_lake_below_the_common_lake(
    s3: Bucket, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ("contoso", "fabrikam")
    with running(profile="test", seed=1, rows=ROWS) as one, running(profile="test", seed=2, rows=ROWS) as two:
        lines = ['limits = "test"']
        for name, endpoint in zip(names, (one, two), strict=True):
            lines.append(f"[tenants.{name}]")
            settings = {
                key.removeprefix("HUNTING_").lower(): value for key, value in endpoint.settings().items()
            }
            monkeypatch.setenv(
                f"HUNTING_TENANTS__{name.upper()}__CLIENT_SECRET", settings.pop("client_secret")
            )
            lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        (tmp_path / "hunting.toml").write_text("\n".join(lines))
        configure(monkeypatch, {"HUNTING_CONFIG": str(tmp_path / "hunting.toml")}, s3.variables)
        tables = [f"{name}/AlertInfo" for name in names]
        tenants = location([*names])
        assert materialize_range(tenants, tables, first=DAYS[0], last=DAYS[1], instance=instance).success
    lakes = {name: [path for path in s3.objects(name) if path.endswith(".parquet")] for name in names}
    expected = [data_path(partition_from_key("AlertInfo", day)) for day in DAYS[:2]]
    assert lakes == {name: [f"{name}/{path}" for path in expected] for name in names}
    owners = [json.loads(s3.read(f"{name}/_hunting/lake.json"))["tenant"] for name in names]
    assert owners == [one.tenant_id, two.tenant_id]
    assert not [path for path in s3.objects() if path.split("/")[0] not in names]
