"""Hunts as assets: the header of a file, the errors that name file and line, and the runs."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pyarrow as pa
import pytest
from test_assets_config import PROJECT, messages_of

from hunting_pipeline.apis import APIS
from hunting_pipeline.catalog import entry
from hunting_pipeline.definitions import defs
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.hunt_files import MANUAL, HuntFile, hunt_file
from hunting_pipeline.lake.manifest import load
from hunting_pipeline.lake.read import dataset
from hunting_pipeline.lake.stores import open_store
from hunting_pipeline.model import HOUR, SECOND, Grain, partition_from_key
from hunting_pipeline.orchestration import HuntingLake, materialize_range, partitions_for
from hunting_pipeline.orchestration.automation.sensors import checks_of
from hunting_pipeline.orchestration.keys import DEADLINE
from support import Emulated, emulated

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC)
FIRST, LAST = (f"{NOW - timedelta(days=back):%Y-%m-%d}" for back in (3, 2))


def located(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attributes: str = "", **files: str
) -> dg.Definitions:
    """Load a project that has nothing but hunts."""
    module = f"team_{uuid4().hex}"
    folder = tmp_path / module / "defs" / "hunts"
    folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PROJECT.format(module=module))
    (folder / "defs.yaml").write_text(
        f"type: hunting_pipeline.orchestration.HuntingQueries\n{attributes or 'attributes: {}'}\n"
    )
    for name, text in files.items():
        (folder / f"{name}.kql").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return dg.load_from_defs_folder(path_within_project=tmp_path)


def test_the_examples_are_assets_of_the_code_location() -> None:
    hunts = {
        spec.key.path[-1]: spec for spec in defs().resolve_all_asset_specs() if spec.key.path[0] == "hunts"
    }
    files = {path.stem for path in (ROOT / "assets" / "hunts").glob("*.kql")}
    assert set(hunts) == files
    assert len(files) >= 11
    assert all(spec.group_name == "hunts" and spec.description for spec in hunts.values())
    joined = hunts["logon_then_process"].metadata
    assert "the right side of the join" in joined["read in full by every call"].value
    assert joined["time filters"].value == "1, on Timestamp"
    assert hunts["persistence"].automation_condition is None


def test_a_hunt_shows_the_tables_and_columns_that_it_reads() -> None:
    """It does not depend on the archived tables: Dagster would skip it in a run with one of them."""
    hunts = {spec.key.path[-1]: spec for spec in defs().resolve_all_asset_specs()}
    read = {dep.asset_key.to_user_string() for dep in hunts["logon_then_process"].deps}
    assert read == {"service/DeviceLogonEvents", "service/DeviceProcessEvents"}
    assert all(dep.asset_key.path[0] == "service" for spec in hunts.values() if spec.key.path[0] == "hunts"
               for dep in spec.deps)  # fmt: skip
    handed_on = hunts["script_hosts"].metadata["dagster/column_lineage"].value.deps_by_column
    (origin,) = handed_on["DeviceName"]
    assert (origin.asset_key.path, origin.column_name) == (["service", "DeviceProcessEvents"], "DeviceName")
    assert "dagster/column_lineage" not in hunts["logon_then_process"].metadata
    (source,) = (spec for spec in defs().resolve_all_asset_specs() if spec.key == origin.asset_key)
    assert (source.group_name, source.description) == ("service", entry("DeviceProcessEvents").description)


def test_a_manual_hunt_is_not_requested_before_its_source_forgets() -> None:
    location = defs()
    keys = {spec.key for spec in location.resolve_all_asset_specs()}
    watched = {key.asset_key.path[-1] for key in checks_of(location, DEADLINE, keys)}
    assert "logon_then_process" in watched
    assert "persistence" not in watched


def test_a_hunt_has_only_checks_that_can_detect_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late rows change the values of a summary but not its number of rows. So it has no check of counts."""
    found = located(
        tmp_path,
        monkeypatch,
        plain="DeviceLogonEvents | where ActionType != ''",
        summary="DeviceLogonEvents | summarize count() by bin(Timestamp, 1h)",
        snapshot="// time: none\nDeviceLogonEvents | summarize count()",
    )
    names = {asset.key.path[-1]: {check.name for check in asset.check_specs} for asset in found.assets or ()}
    watched = {"complete", "fresh", "drift", "deadline"}
    assert names == {"plain": watched | {"reconciled"}, "summary": watched, "snapshot": watched}


HEADER = """// name: hourly
// description: Logons,
//   by the hour.
// grain: hour
// time: At
// settle: 2h
// schedule: 5 * * * *
// api: graph

DeviceLogonEvents | summarize count() by At = bin(Timestamp, 15m)
"""


def written(tmp_path: Path, text: str, name: str = "h") -> HuntFile:
    path = tmp_path / f"{name}.kql"
    path.write_text(text)
    return hunt_file(path)


def test_a_header_configures_the_pull(tmp_path: Path) -> None:
    found = written(tmp_path, HEADER)
    assert (found.name, found.description, found.schedule) == ("hourly", "Logons,\nby the hour.", "5 * * * *")
    spec, hunt = found.spec, found.hunt
    assert (spec.name, spec.time_column, spec.grain) == ("hunt-hourly", "At", Grain.HOUR)
    assert (hunt.step, hunt.settle, hunt.api) == (HOUR // 4, 2 * HOUR, "graph")
    plain = written(tmp_path, "DeviceLogonEvents", "logons")
    assert (plain.name, plain.schedule, plain.description) == ("logons", None, "")
    assert plain.hunt.settle == 900 * SECOND
    assert written(tmp_path, "DeviceLogonEvents | summarize count() by Timestamp").hunt.settle == 3 * HOUR


@pytest.mark.parametrize(
    "header",
    [
        "// schedule:manual",
        "// Schedule: manual",
        "// schedule : manual",
        "//schedule: manual",
        "  //\tSCHEDULE:manual  ",
        "\n// schedule: manual",
        "// Copyright Contoso. Licence: MIT.\n\n// schedule: manual",
        "// description: x\n \n\n// schedule: manual\n\n",
    ],
)
def test_a_key_before_the_query_is_read_in_every_spelling(header: str, tmp_path: Path) -> None:
    assert written(tmp_path, f"{header}\nDeviceLogonEvents").schedule == MANUAL


@pytest.mark.parametrize(
    "comments",
    [
        "// Copyright: Contoso",
        "// Source: https://example.org/hunts\n// https://example.org",
        "// Title: Logons at night",
        "\n// note: nothing but words",
        "//",
    ],
)
def test_other_comments_are_ignored(comments: str, tmp_path: Path) -> None:
    found = written(tmp_path, f"{comments}\n\n// grain: hour\n\n// todo: fewer rows\nDeviceLogonEvents")
    assert (found.name, found.spec.grain, found.description, found.schedule) == ("h", Grain.HOUR, "", None)


def test_a_description_ends_at_the_next_key_or_blank_line(tmp_path: Path) -> None:
    lines = "// Description:Logons,\n//\n//   by hour: all.\n//   Note: cloud, too.\n"
    described = "Logons,\nby hour: all.\nNote: cloud, too."
    for after in ("// Grain: day\n// of the query", "\n// of the query"):
        assert written(tmp_path, f"{lines}{after}\nDeviceLogonEvents").description == described


WRONG = {
    "// gain: hour\nDeviceInfo": (1, "did you mean grain?"),
    "// description: x\n// time: Timestamp\n// note: y\nDeviceInfo": (3, "there is no key 'note'"),
    "// Schedul: manual\nDeviceInfo": (1, "there is no key 'Schedul'; did you mean schedule?"),
    "\n// Copyright Contoso\n\n//schedul :manual\nDeviceInfo": (4, "did you mean schedule?"),
    "// Copyright Contoso\n\n// grain: day\n// note: y\nDeviceInfo": (4, "there is no key 'note'"),
    "// grain: day\n// grain: hour\nDeviceInfo": (2, "twice: remove one of them"),
    "// grain: day\n\n// Grain: hour\nDeviceInfo": (3, "twice: remove one of them"),
    "// grain: week\nDeviceInfo": (1, "neither day nor hour"),
    "// name: two words\nDeviceInfo": (1, "'two words' is not a valid name"),
    "// grain: day\n// name: AlertInfo\nDeviceInfo": (2, "AlertInfo is the name of a table"),
    "// time: a b\nDeviceInfo": (1, "not a valid name of a table or column"),
    "// time: Hour\nDeviceInfo": (1, "the lake reserves the name 'hour'"),
    "// schedule: every day\nDeviceInfo": (1, "neither a cron expression nor `manual`"),
    "// grain: day\n// schedule:\nDeviceInfo": (2, "'' is neither a cron expression nor `manual`"),
    "// api: portal\nDeviceInfo": (1, f"choose one of {', '.join(APIS)}"),
    "// settle: soon\nDeviceInfo": (1, "is not a duration"),
    "// grain: hour\n// time: none\nDeviceInfo": (1, "archived once a day"),
    "// grain: hour\nDeviceInfo | summarize count() by bin(Timestamp, 1d)": (1, "use `grain: day`"),
    "// description: x\n\nDeviceInfo\n| where Timestamp > ago(1d)\n| take 5": (5, "`take`"),
    "DeviceInfo\n| join (DeviceEvents) on DeviceId": (2, "innerunique"),
    "// description: nothing follows\n": (1, "there is no query"),
}


@pytest.mark.parametrize("text", WRONG)
def test_every_error_names_its_file_and_line(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, words = WRONG[text]
    with pytest.raises(Exception) as caught:  # noqa: PT011 # Dagster wraps what it finds
        located(tmp_path, monkeypatch, wrong=text)
    message = "\n".join(messages_of(caught.value))
    assert f"wrong.kql:{line}: " in message
    assert words in message


@pytest.mark.parametrize(("encoding", "line"), [("utf-16", 1), ("latin-1", 2)])
def test_a_file_that_is_not_utf8_is_named(encoding: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / "h.kql"
    path.write_text("DeviceLogonEvents\n| where AccountName == 'Jürgen'\n", encoding)
    with pytest.raises(Misconfigured) as caught:
        hunt_file(path)
    assert str(caught.value) == f"{path}:{line}: the file is not UTF-8: save it as UTF-8"


def test_two_hunts_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        located(tmp_path, monkeypatch, a="DeviceInfo", b="// name: A\nDeviceInfo")
    assert "b.kql:1: a.kql has the same name A" in "\n".join(messages_of(caught.value))


def test_a_wrong_attribute_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        located(tmp_path, monkeypatch, "attributes:\n  owners: [nobody]")
    message = "\n".join(messages_of(caught.value))
    assert "defs.yaml:3" in message
    assert "must be an email address or a team name" in message


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with emulated(
        tmp_path_factory.mktemp("hunts"),
        rows={"DeviceLogonEvents": 3_000},
        now=f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
    ) as running:
        yield running


@pytest.fixture
def configured(tenant: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables to the emulated tenant."""
    for name, value in tenant.endpoint.settings().items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("configured")
def test_a_run_commits_and_checks_each_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    found = located(
        tmp_path,
        monkeypatch,
        good="DeviceLogonEvents | where ActionType == 'LogonFailed'",
        bad="DeviceLogonEvents | where ActionTyp == 'LogonFailed'",
    )
    done = materialize_range(found, ["good"], first=FIRST, last=LAST, instance=instance)
    assert done.success
    events = done.asset_materializations_for_node("hunts__good")
    assert [event.partition for event in events] == [FIRST, LAST]
    lineage = events[0].metadata["dagster/column_lineage"].value
    assert isinstance(lineage, dg.TableColumnLineage)  # the UI reads it from the materialization
    assert "Timestamp" in lineage.deps_by_column
    assert sum(int(event.metadata["dagster/partition_row_count"].value) for event in events) > 0
    assert (tmp_path / "lake" / "hunt-good" / f"date={FIRST}" / f"hunt-good-{FIRST}.parquet").exists()

    failed = materialize_range(found, ["bad"], first=FIRST, last=LAST, instance=instance)
    (event,) = failed.get_step_failure_events()
    message = str(event.step_failure_data.error)
    assert "bad.kql: 400 BadRequest" in message
    assert "Failed to resolve column or scalar expression named 'ActionTyp'" in message


@pytest.mark.usefixtures("configured")
def test_the_hunts_of_a_folder_can_have_microseconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    attributes = "attributes:\n  timestamp_unit: us"
    found = located(tmp_path, monkeypatch, attributes, micros="DeviceLogonEvents | where ActionType != ''")
    assert materialize_range(found, ["micros"], first=FIRST, last=LAST, instance=instance).success
    rows = dataset(open_store(str(tmp_path / "lake")), "hunt-micros").to_table()
    assert rows.schema.field("Timestamp").type == pa.timestamp("us", "UTC")
    assert rows["Timestamp_ticks"].null_count == 0


@pytest.mark.usefixtures("configured")
def test_downstream_assets_load_partitions_of_a_hunt_like_those_of_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance
) -> None:
    found = located(tmp_path, monkeypatch, good="DeviceLogonEvents | where ActionType == 'LogonFailed'")
    assert materialize_range(found, ["good"], first=FIRST, last=LAST, instance=instance).success
    got = []

    @dg.asset(ins={"rows": dg.AssetIn(["hunts", "good"])}, partitions_def=partitions_for(Grain.DAY))
    def asks(rows: pa.Table) -> None:
        got.append(rows)

    ours = [asset for asset in found.assets or () if isinstance(asset, dg.AssetsDefinition)]
    elsewhere = dg.AssetSpec(
        ["hunts", "good"],
        partitions_def=partitions_for(Grain.DAY),
        metadata={"dagster/table_name": "hunt-good"},
    ).with_io_manager_key("hunting_lake")
    lake = {"hunting_lake": HuntingLake()}
    for hunts, resources in ((ours, found.resources or {}), ([elsewhere], lake)):
        done = dg.materialize([asks, *hunts], selection=[asks], resources=dict(resources), partition_key=LAST)
        assert done.success
    store = open_store(str(tmp_path / "lake"))
    manifest = load(store, partition_from_key("hunt-good", LAST))
    assert manifest is not None
    assert [rows.num_rows for rows in got] == [manifest.proof.rows] * 2
    assert manifest.proof.rows > 0
    assert set(got[0]["ActionType"].to_pylist()) == {"LogonFailed"}
    assert {str(day) for day in got[0]["date"].to_pylist()} == {LAST}


def test_the_documented_example_and_messages_are_true(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "hunts.md").read_text("utf-8")
    (example,) = re.findall(r"```kusto\n(.*?)```", page, re.DOTALL)
    assert written(tmp_path, example).hunt.step == HOUR
    texts = {
        "recent": "\n\nDeviceEvents\n| where Timestamp > ago(1d)",
        "pairs": "\n" * 6 + "DeviceEvents | join (DeviceInfo) on DeviceId",
        "last": "\n\nDeviceInfo | summarize arg_max(Timestamp, *) by DeviceId",
    }
    for name, text in texts.items():
        with pytest.raises(Misconfigured) as caught:
            written(tmp_path, text, name)
        assert str(caught.value).replace(str(tmp_path), "assets/hunts") in page
