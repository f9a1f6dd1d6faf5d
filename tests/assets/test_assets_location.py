"""The code location of this repository: it loads without a tenant and describes every table."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from hunting_pipeline.catalog import catalog
from hunting_pipeline.definitions import default_defs, defs, project_of
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.model import Grain, partition_from_key
from hunting_pipeline.orchestration.partitions import partitions_for

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def location() -> dg.Definitions:
    return defs()


@pytest.fixture(scope="module")
def specs(location: dg.Definitions) -> dict[str, dg.AssetSpec]:
    """Return the asset specs of the tables by name. `test_assets_hunts` tests the hunts."""
    tables = (spec for spec in location.resolve_all_asset_specs() if "parquet" in spec.kinds)
    return {spec.key.path[-1]: spec for spec in tables if spec.key.path[0] == "defender"}


def test_every_current_table_of_the_catalogue_is_an_asset(specs: dict[str, dg.AssetSpec]) -> None:
    assert set(specs) == {entry.name for entry in catalog().values() if not entry.deprecated}
    assert len(specs) >= 60
    assert all(spec.key == dg.AssetKey(["defender", table]) for table, spec in specs.items())


def test_groups_are_the_folders_of_the_services(specs: dict[str, dg.AssetSpec]) -> None:
    for folder in (ROOT / "assets").iterdir():
        if (folder / "defs.yaml").exists():
            attributes = yaml.safe_load((folder / "defs.yaml").read_text())["attributes"]
            listed = attributes.get("tables", [])
            assert {specs[table["name"]].group_name for table in listed} <= {folder.name}


def test_an_asset_has_its_kinds_description_and_schema(specs: dict[str, dg.AssetSpec]) -> None:
    spec = specs["DeviceProcessEvents"]
    assert spec.kinds == {"microsoft", "parquet"}
    assert str(spec.description).startswith("Processes that were created on devices")
    assert "://" not in str(spec.description)
    assert spec.metadata["service"].value == "Defender for Endpoint"
    assert spec.metadata["reference"].value.endswith("-deviceprocessevents-table")
    schema = spec.metadata["dagster/column_schema"].value
    time = next(column for column in schema.columns if column.name == "Timestamp")
    assert time.description == "Time of the event or of the record, in UTC"
    assert (time.type, time.tags["kusto"]) == ("timestamp[ns, tz=UTC]", "datetime")


def test_every_asset_links_the_line_that_defines_it(location: dg.Definitions) -> None:
    written = {
        "AlertInfo": ("assets/alerts/defs.yaml", "- name: AlertInfo"),
        "DeviceProcessEvents": ("assets/device/defs.yaml", "- name: DeviceProcessEvents"),
        "persistence": ("assets/hunts/persistence.kql", "//"),
        "ProcessesByDay": ("assets/summaries/processes.py", "@dg.asset("),
        "quota": ("hunting_pipeline/orchestration/quota_asset.py", "@dg.asset("),
    }
    for spec in location.resolve_all_asset_specs():
        if spec.group_name == "service":  # external to Dagster: no file defines it
            continue
        first = spec.metadata["dagster/code_references"].code_references[0]
        line = Path(first.file_path).read_text().splitlines()[first.line_number - 1].strip()
        name = spec.key.path[-1]
        if spec.key.path[0] == "defender" and name != "quota":
            assert line == f"- name: {name}"
        if name in written:
            file, begins = written.pop(name)
            assert Path(first.file_path) == ROOT / file
            assert line.startswith(begins)
    assert not written


def test_each_asset_has_its_checks_policy_and_pool(location: dg.Definitions) -> None:
    assets = [asset for asset in location.assets or () if isinstance(asset, dg.AssetsDefinition)]
    tables = [asset for asset in assets if "fresh" in {key.name for key in asset.check_keys}]
    assert len(tables) >= 60
    for asset in tables:
        names = {check.name for check in asset.check_specs}
        assert names - {"reconciled"} == {"complete", "fresh", "drift", "deadline"}
        assert asset.backfill_policy == dg.BackfillPolicy.single_run()
        assert asset.op.pool == "hunting"
        assert all(spec.skippable for spec in asset.specs)


def test_no_sensor_runs_by_default_even_with_a_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"HUNTING_{name}", "x")
    sensors = defs().sensors or ()
    hourly = "_hourly_starting_2026_01_01t00"
    checks = ("reconcile_stale", "last_call")
    assert {sensor.name: getattr(sensor, "default_status", None) for sensor in sensors} == dict.fromkeys(
        ["run_when_due", "keep_complete", *checks, *(f"{name}{hourly}" for name in checks)],
        dg.DefaultSensorStatus.STOPPED,
    )


@pytest.mark.parametrize("grain", Grain)
def test_partitions_equal_those_of_the_lake_and_include_the_current_one(grain: Grain) -> None:
    import datetime

    start = datetime.date(2026, 1, 1)
    now = datetime.datetime(2026, 11, 20, 15, 30, tzinfo=datetime.UTC)
    with dg.partition_loading_context(effective_dt=now):
        keys = partitions_for(grain, start).get_partition_keys()
    assert (keys[0], keys[-1]) == (
        ("2026-01-01", "2026-11-20") if grain is Grain.DAY else ("2026-01-01T00", "2026-11-20T15")
    )
    for key in (keys[0], keys[-1]):
        assert partition_from_key("T", key).key == key
        assert partition_from_key("T", key).window.ticks == grain.ticks


@pytest.mark.parametrize(
    "command",
    [("dagster", "definitions", "validate", "-w", "workspace.yaml"), ("dg", "check", "yaml")],
    ids=lambda command: " ".join(command[:2]),
)
def test_the_tools_accept_the_code_location(command: tuple[str, ...], tmp_path: Path) -> None:
    """The commands run as a person types them: in the root folder, without a tenant."""
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "yes"}
    done = subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def keys(definitions: dg.Definitions) -> set[dg.AssetKey]:
    return {spec.key for spec in definitions.resolve_all_asset_specs()}


def test_without_a_project_the_default_assets_are_loaded(
    location: dg.Definitions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is only named `assets` is no project, and `assets` is not imported from there."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "__init__.py").write_text("raise AssertionError")
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    found = defs()
    assert keys(found) == keys(location)
    assert dg.AssetKey(["summary", "ProcessesByDay"]) in keys(found)
    dg.Definitions.validate_loadable(found)


PROJECTS = {
    "pyproject.toml": '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\n',
    "dg.toml": 'directory_type = "project"\n[project]\n',
}


@pytest.mark.parametrize("config", PROJECTS)
def test_the_nearest_project_upwards_is_loaded_instead_of_the_default_assets(
    config: str, location: dg.Definitions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = f"team_{config.partition('.')[0]}"
    names = f'root_module = "{module}"\ndefs_module = "{module}"\n'
    (tmp_path / config).write_text(PROJECTS[config] + names)
    (tmp_path / module / "mail").mkdir(parents=True)
    (tmp_path / module / "__init__.py").touch()
    (tmp_path / module / "mail" / "defs.yaml").write_text(
        "type: hunting_pipeline.orchestration.HuntingTables\nattributes:\n  tables:\n  - name: EmailEvents\n"
    )
    below = tmp_path / module / "mail"
    monkeypatch.chdir(below)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert project_of(below) == tmp_path
    assert keys(defs()) == {dg.AssetKey(["defender", "EmailEvents"]), dg.AssetKey(["defender", "quota"])}
    assert keys(default_defs()) == keys(location)


def test_a_project_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.dg\n")
    with pytest.raises(Misconfigured, match=r"pyproject\.toml is not valid TOML: .*Nothing was loaded"):
        project_of(tmp_path)
