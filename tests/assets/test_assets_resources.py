"""The resource and the components in Python: stated settings, secrets, and calls of a team's own assets."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from test_assets_config import located

from hunting_emulator.process import Endpoint, running
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.orchestration import (
    HuntingLake,
    HuntingResource,
    HuntingTables,
    TableConfig,
    with_automation,
)
from hunting_pipeline.orchestration.stated import StatedSettings
from hunting_pipeline.pipeline import open_quota
from hunting_pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
SECRETS = {"certificate_password", "client_secret", "lake_proxy", "ledger"}


def test_every_setting_is_a_field_with_its_description() -> None:
    fields = {name: field.description for name, field in StatedSettings.model_fields.items()}
    settings = {name: field.description for name, field in Settings.model_fields.items()}
    assert {name: text for name, text in fields.items() if name != "tenant"} == settings


def test_a_stated_setting_overrides_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNTING_SHARE", "0.3")
    monkeypatch.setenv("HUNTING_WORKERS", "7")
    monkeypatch.setenv("OUR_TENANT", "contoso-id")
    stated = HuntingResource(share=0.5, tenant_id=dg.EnvVar("OUR_TENANT"), client_id=dg.EnvVar("ABSENT"))
    found = stated.settings()
    assert (found.share, found.workers, found.tenant_id, found.client_id) == (0.5, 7, "contoso-id", None)
    assert HuntingResource().settings().share == 0.3


@pytest.mark.parametrize("resource", [HuntingResource, HuntingLake])
@pytest.mark.parametrize("name", sorted(SECRETS))
def test_no_secret_is_shown(
    name: str, resource: type[HuntingResource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_SECRET", "postgresql://u:hush@h/d" if name == "ledger" else "http://u:hush@h")
    written = resource(**{name: "postgresql://u:hush@h/d"})  # type: ignore[arg-type] # any field
    assert "hush" not in repr(written)
    with pytest.raises(Misconfigured, match=f'{name}=EnvVar\\("NAME"\\)') as caught:
        dg.Definitions(resources={"ours": written}).get_repository_def()
    assert "hush" not in str(caught.value)
    named = resource(**{name: dg.EnvVar("OUR_SECRET")})  # type: ignore[arg-type] # any field
    shown = repr(RepositorySnap.from_def(dg.Definitions(resources={"ours": named}).get_repository_def()))
    assert "OUR_SECRET" in shown
    assert "hush" not in shown
    assert "hush" in getattr(named.settings(), name).get_secret_value()


def test_the_path_of_a_ledger_is_no_secret(tmp_path: Path) -> None:
    ours = HuntingResource(ledger=str(tmp_path / "ours.sqlite"))
    dg.Definitions(resources={"ours": ours}).get_repository_def()


@pytest.mark.parametrize("attributes", ["", "own_resources: true\n"])
def test_a_project_defines_its_own_resource(
    attributes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key `hunting` has one resource. With another key, both resources may stand side by side."""
    found = located(tmp_path, monkeypatch, f"{attributes}tables:\n- name: AlertInfo")
    ours = HuntingResource(lake=str(tmp_path / "ours"), automation="on")
    key = "hunting" if attributes else "ours"
    location = with_automation(dg.Definitions.merge(found, dg.Definitions(resources={key: ours})))
    dg.Definitions.validate_loadable(location)
    resources = location.resources or {}
    assert resources[key] is ours
    lake = resources["hunting_lake"]
    assert isinstance(lake, HuntingLake)
    assert lake.settings().lake == str(tmp_path / ("ours" if attributes else "lake"))
    status = {sensor.name: sensor.default_status.value for sensor in location.sensors or ()}
    assert status["keep_complete"] == ("RUNNING" if attributes else "STOPPED")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running(profile="test", rows={"AlertInfo": 500, "DeviceLogonEvents": 500}) as started:
        yield started


def test_the_examples_of_the_documentation_run(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    """All calls of a team's own asset are in the ledger of the resource that the example states."""
    for name, value in endpoint.settings().items():
        monkeypatch.setenv(name.replace("HUNTING_TENANT_ID", "DEFENDER_TENANT"), value)
    for setting in ("CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"DEFENDER_{setting}", endpoint.settings()[f"HUNTING_{setting}"])
        monkeypatch.delenv(f"HUNTING_{setting}")
    monkeypatch.setenv("HUNTING_LIMITS", "test")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "dagster.md").read_text("utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    location = names["location"]
    assert isinstance(location, dg.Definitions)
    dg.Definitions.validate_loadable(location)
    (spec,) = (spec for spec in location.resolve_all_asset_specs() if spec.key.path[-1] == "AlertInfo")
    assert (spec.tags["tier"], spec.group_name) == ("gold", "alerts")
    watched = names["watched"]
    assert isinstance(watched, list)
    assert next(iter(watched[0].specs)).freshness_policy is not None
    asset = location.get_assets_def("failed_logons")
    result = dg.materialize([asset], instance=instance, resources=dict(location.resources or {}))
    assert result.success
    assert isinstance(result.output_for_node("failed_logons"), pa.Table)
    ours = names["ours"]
    assert isinstance(ours, HuntingResource)
    with closing(open_quota(ours.settings())) as ledger:
        assert sum(ledger.usage().owners.values()) > 1, "a query and a pull"
    assert list((tmp_path / "archive" / "AlertInfo").rglob("*.parquet"))
    assert ours.settings().share == 0.5


def test_an_error_of_a_teams_own_asset_becomes_an_outcome(ledger: object) -> None:
    with pytest.raises(dg.Failure, match="there is no hunting table"), HuntingResource().connect() as hunting:
        hunting.read("NoSuchTable")


def test_assets_are_built_in_python_for_a_resource() -> None:
    ours = HuntingResource(lake="archive")
    tables = HuntingTables(tables=[TableConfig(name="AlertInfo")])
    location = dg.Definitions(assets=tables.build_assets(ours), resources=ours.resources)
    dg.Definitions.validate_loadable(location)
    assert {"hunting", "hunting_lake"} == set(location.resources or ())
