"""A `defs.yaml` in another project: its settings, and the messages for its errors."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.model import Grain, TableSpec, TimestampUnit
from hunting_pipeline.orchestration import HuntingTables, TableConfig, with_automation

ROOT = Path(__file__).parents[2]
ROOM = "hunting_pipeline.orchestration"

PROJECT = """
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "{module}"
"""


def located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *files: str) -> dg.Definitions:
    """Load a project that has only these `defs.yaml`. Attributes begin on the third line of each file."""
    module = f"team_{uuid4().hex}"
    (tmp_path / "pyproject.toml").write_text(PROJECT.format(module=module))
    for number, attributes in enumerate(files):
        folder = tmp_path / module / "defs" / f"hunting{number or ''}"
        folder.mkdir(parents=True)
        head = "type: hunting_pipeline.orchestration.HuntingTables\nattributes:\n"
        indented = "".join(f"  {line}\n" for line in attributes.splitlines())
        (folder / "defs.yaml").write_text(head + indented)
    monkeypatch.syspath_prepend(tmp_path)
    return dg.load_from_defs_folder(path_within_project=tmp_path)


def test_another_project_uses_the_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = located(
        tmp_path,
        monkeypatch,
        "group: security\nowners: [team:soc]\ntags: {tier: gold}\nstart: 2026-10-01\n"
        "tables:\n- name: AlertInfo\n- name: EmailEvents\n  group: mail\n  owners: [a@example.org]\n"
        "  tags: {pii: yes-please}\n  grain: hour\n  description: Mail.",
    )
    alerts, mail = sorted(found.resolve_all_asset_specs(), key=lambda spec: spec.key)
    assert (alerts.group_name, list(alerts.owners), alerts.tags["tier"]) == ("security", ["team:soc"], "gold")
    assert (mail.group_name, list(mail.owners)) == ("mail", ["team:soc", "a@example.org"])
    assert (mail.description, mail.tags["pii"]) == ("Mail.", "yes-please")
    assert mail.partitions_def is not None
    assert mail.partitions_def.get_first_partition_key() == "2026-10-01T00"
    dg.Definitions.validate_loadable(found)


def test_a_configured_table_becomes_the_same_table_of_the_pipeline() -> None:
    table = TableConfig(
        name="EmailEvents", grain=Grain.HOUR, columns=["Subject"], where="Subject != ''", policy="freeze",
        timestamp_unit=TimestampUnit.US,
    )  # fmt: skip
    assert table.spec == TableSpec(
        name="EmailEvents",
        time_column="Timestamp",
        grain=Grain.HOUR,
        columns=("Timestamp", "Subject"),
        where="Subject != ''",
        bytes_per_row=table.spec.bytes_per_row,
        service="Office 365",
        evolve=False,
        timestamp_unit=TimestampUnit.US,
    )


def test_a_predicate_may_contain_text_that_looks_like_a_call_of_the_clock() -> None:
    where = "Title != 'ago(1d)' and Now > 1 // now()"
    assert TableConfig(name="AlertInfo", where=where).spec.where == where


def test_the_predicate_of_a_snapshot_may_use_the_clock_but_no_random_number() -> None:
    moving = "todatetime(ExpirationDate) < now()"
    assert TableConfig(name="DeviceTvmCertificateInfo", where=moving).spec.where == moving
    with pytest.raises(ValueError, match=r"rand\(\)"):
        TableConfig(name="DeviceTvmCertificateInfo", where="rand() > 0.5")


@pytest.mark.parametrize(
    ("component", "asset"),
    [("HuntingTables", "defender/AlertInfo"), ("HuntingQueries", "hunts/failed_logons")],
)
def test_dg_scaffolds_a_folder_that_loads(
    component: str, asset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The project does not mention this package: `dg` finds the component among the installed packages."""
    module = f"team_{uuid4().hex}"
    (tmp_path / module / "defs").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(PROJECT.format(module=module))
    for folder in (tmp_path / module, tmp_path / module / "defs"):
        (folder / "__init__.py").touch()
    done = subprocess.run(
        [Path(sys.executable).parent / "dg", "scaffold", "defs", f"{ROOM}.{component}", "security"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))),
            "VIRTUAL_ENV": sys.prefix,
            "DAGSTER_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(tmp_path)
    found = with_automation(dg.load_from_defs_folder(path_within_project=tmp_path))
    assert {spec.key.to_user_string() for spec in found.resolve_all_asset_specs()} == {
        asset,
        "defender/quota",
    } | ({"service/DeviceLogonEvents"} if component == "HuntingQueries" else set())
    assert {"keep_complete", "last_call"} <= {sensor.name for sensor in found.sensors or ()}
    dg.Definitions.validate_loadable(found)
    text = (tmp_path / module / "defs" / "security" / "defs.yaml").read_text("utf-8")
    today = datetime.now(UTC).date()
    starts = {f"start: '{today - timedelta(days=days)}'" for days in (30, 31)}  # midnight may have passed
    assert any(start in text for start in starts), text


def test_tables_of_different_partitions_load_with_a_sensor_for_each_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster allows no sensor for both kinds. With one kind only, the names of the sensors stay the same."""
    hourly = "- name: EmailEvents\n  grain: hour\n"
    usual = {"run_when_due", "keep_complete", "reconcile_stale", "last_call"}
    hour = "_hourly_starting_2026_10_01t00"
    for number, (tables, more) in enumerate({
        "start: 2026-10-01\ntables:\n- name: AlertInfo": set(),
        f"tables:\n{hourly}": set(),
        f"start: 2026-10-01\ntables:\n{hourly}- name: AlertInfo": {
            f"keep_complete{hour}", f"reconcile_stale{hour}", f"last_call{hour}"
        },
    }.items()):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        found = with_automation(located(folder, monkeypatch, tables))
        dg.Definitions.validate_loadable(found)
        sensors = {sensor.name: sensor for sensor in found.sensors or ()}
        assert set(sensors) == usual | more
        for name in more:
            job = sensors[name].job
            assert isinstance(job, UnresolvedAssetJobDefinition)
            chosen = job.selection.resolve(found.get_repository_def().asset_graph)
            assert {key.path[-1] for key in chosen} == {"EmailEvents"}


WRONG = {
    "tables:\n- name: AlertInfo\n- name: AlertInf0": (5, "did you mean AlertInfo"),
    "tables:\n- name: ExposureGraphNodes\n  grain: hour": (5, "no time column"),
    "tables:\n- name: AlertInfo\n  grain: week": (5, "'day' or 'hour'"),
    "tables:\n- name: AlertInfo\n  policy: melt": (5, "'evolve' or 'freeze'"),
    "tables:\n- name: AlertInfo\n  timestamp_unit: ms": (5, "'ns' or 'us'"),
    "tables:\n- name: AlertInfo\n  columns:\n  - Title\n  - 'Ti tle'": (
        7,
        "is not a valid name of a table or column",
    ),
    "tables:\n- name: AlertInfo\n  columns: [Title, Titel]": (5, "did you mean Title"),
    "tables:\n- name: AlertInfo\n  where: 'Title == \"x'": (5, "where"),
    "tables:\n- name: AlertInfo\n  where: Timestamp > ago(1d)": (
        5,
        "ago(): it changes the result from day to day",
    ),
    "tables:\n- name: AlertInfo\n  where: Title == '' or rand() > 0.5": (
        5,
        "rand(): it returns a different value",
    ),
    "tables:\n- name: AlertInfo\n  where: Title != prev(Title)": (
        5,
        "prev(): its value depends on all rows before",
    ),
    "tables:\n- name: AlertInfo\n  where: AlertId in ((AlertEvidence | take 5))": (
        5,
        "`take`: it returns arbitrary rows",
    ),
    "tables:\n- name: AlertInfo\n  owners: [nobody]": (5, "must be an email address or a team name"),
    "tables:\n- name: AlertInfo\n  tags: {'a b': c}": (5, "invalid tag keys"),
    "tables:\n- name: AlertInfo\n  group: a b": (5, "not a valid asset group name"),
    "tables:\n- name: AlertInfo\n  grian: hour": (5, "grian"),
    "tables:\n- name: AlertInfo\n- grain: day": (5, "name"),
    "tables:\n- name: AlertInfo\n- name: AlertInfo": (5, "AlertInfo is listed more than once"),
    "start: 1st of May\ntables:\n- name: AlertInfo": (3, "isoformat"),
    "group: a b\ntables:\n- name: AlertInfo": (3, "not a valid asset group name"),
    "tenants: [contoso]\ntables:\n- name: AlertInfo": (3, "there is no tenant 'contoso'"),
    "group: lonely": (2, "attributes.tables"),
    "group: mail\ntables: AlertInfo": (4, "`tables` must be a list, such as"),
}


def messages_of(error: BaseException | None) -> Iterator[str]:
    """Yield the messages of an error and of its causes, as Dagster shows them."""
    while error is not None:
        yield str(error)
        error = error.__cause__


@pytest.mark.parametrize("attributes", WRONG)
def test_every_error_names_its_file_and_line(
    attributes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, words = WRONG[attributes]
    with pytest.raises(Exception) as caught:  # noqa: PT011 # Dagster wraps what it finds in several types
        located(tmp_path, monkeypatch, attributes)
    message = "\n".join(messages_of(caught.value))
    assert f"defs.yaml:{line}" in message
    assert words in message


def test_a_table_in_two_files_is_refused_with_both_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributes = "tables:\n- name: AlertInfo"
    found = located(tmp_path, monkeypatch, attributes, f"group: other\n{attributes}")
    with pytest.raises(Misconfigured, match=r"defender/AlertInfo is defined twice: .*yaml:4 and .*yaml:5"):
        with_automation(found)


def test_a_template_gives_the_list_of_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = located(tmp_path, monkeypatch, "tables: \"{{ [{'name': 'AlertInfo'}] }}\"")
    assert [spec.key.path[-1] for spec in found.resolve_all_asset_specs()] == ["AlertInfo"]


def test_a_subclass_changes_how_tables_look() -> None:
    class Ours(HuntingTables):
        def get_asset_spec(self, table: TableConfig) -> dg.AssetSpec:
            return super().get_asset_spec(table).replace_attributes(key=["raw", table.name.lower()])

    component = Ours(tables=[TableConfig(name="AlertInfo")])
    (spec,) = component.build_defs(None).resolve_all_asset_specs()  # type: ignore[arg-type] # needs no context
    assert spec.key == dg.AssetKey(["raw", "alertinfo"])
