"""The wheel in an environment of its own and in empty folders: commands, default assets, a new project.

`make wheel` copies this file out of the repository and runs it there. The environment has the extras `ui` and
`emulator`.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
ENTRY = {"command": ["hunting"], "module": ["python", "-m", "hunting_pipeline"]}

_COUNT = """
import json, hunting_pipeline
from hunting_pipeline.definitions import defs
keys = ["/".join(spec.key.path) for spec in defs().resolve_all_asset_specs()]
print(json.dumps([hunting_pipeline.__file__, keys]))
"""

_ASSETS = "{ assetNodes { assetKey { path } } }"


def run(folder: Path, *command: str, seconds: float = 180) -> str:
    """Run a program of this environment, and return its output. The program must succeed."""
    program = [str(BIN / command[0]), *command[1:]]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def loaded(folder: Path) -> set[str]:
    """Return the asset keys of the code location that `folder` has as its working directory."""
    file, keys = json.loads(run(folder, "python", "-c", _COUNT).splitlines()[-1])
    assert Path(file).is_relative_to(sys.prefix)
    return set(keys)


@pytest.mark.parametrize("entry", ENTRY)
def test_the_command_runs(entry: str, tmp_path: Path) -> None:
    shown = run(tmp_path, *ENTRY[entry], "--help")
    assert "archive" in shown.lower()
    assert "  init " in shown
    assert "DeviceProcessEvents" in run(tmp_path, *ENTRY[entry], "tables", "--json")
    assert list(tmp_path.iterdir()) == []


def test_no_other_package_is_installed() -> None:
    for name in ("assets", "docs", "tests", "hatch_build"):
        assert importlib.util.find_spec(name) is None, name


def test_the_default_assets_are_loaded_in_an_empty_folder(tmp_path: Path) -> None:
    keys = loaded(tmp_path)
    tables = json.loads(run(tmp_path, "hunting", "tables", "--json"))
    current = {f"defender/{table['table']}" for table in tables if not table["deprecated"]}
    assert len(current) >= 60
    assert {key for key in keys if key.startswith("defender/")} == current | {"defender/quota"}
    assert sum(key.startswith("hunts/") for key in keys) == 11
    assert "summary/ProcessesByDay" in keys
    run(tmp_path, "dagster", "definitions", "validate", "-m", "hunting_pipeline.definitions")


def test_the_demo_runs_in_an_empty_folder(tmp_path: Path) -> None:
    shown = json.loads(run(tmp_path, "hunting", "demo", "--rows", "20000", "--json", seconds=300))
    assert [table["files"] for table in shown["pulled"]] == [30, 30, 30, 30, 1]
    (network,) = [table for table in shown["pulled"] if table["table"] == "DeviceNetworkEvents"]
    assert sum(week["connections"] for week in shown["query"]) == network["rows"] > 15000


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    assert "cd soc" in run(folder, "hunting", "init", "soc")
    return folder / "soc"


@pytest.mark.parametrize(
    "command",
    ["dg check defs", "dg list defs --json", "dagster definitions validate -w workspace.yaml"],
)
def test_a_new_project_is_valid(command: str, project: Path) -> None:
    run(project, *command.split())


def test_only_the_tables_of_a_new_project_are_loaded(project: Path) -> None:
    names = ("AlertInfo", "AlertEvidence", "EmailEvents", "DeviceProcessEvents", "quota")
    assert loaded(project) == {f"defender/{name}" for name in names}


def test_a_new_project_gets_more_folders_by_dg(tmp_path: Path) -> None:
    run(tmp_path, "hunting", "init")
    for component, folder in (("HuntingTables", "more"), ("HuntingQueries", "hunts")):
        run(tmp_path, "dg", "scaffold", "defs", f"hunting_pipeline.orchestration.{component}", folder)
    assert (tmp_path / "assets" / "hunts" / "failed_logons.kql").exists()
    (tmp_path / "assets" / "tables" / "defs.yaml").unlink()  # it lists AlertInfo, too
    tables = {"defender/AlertInfo", "service/DeviceLogonEvents", "defender/quota"}
    assert loaded(tmp_path) == {"hunts/failed_logons", *tables}


def test_dagster_dev_serves_a_new_project_on_an_emulated_tenant(project: Path) -> None:
    port = 20000 + os.getpid() % 20000
    serve = f"dagster dev -w workspace.yaml -h 127.0.0.1 -p {port}"
    command = [str(BIN / "hunting"), "emulate", "--scale", "0.05", "--run", serve]
    log = project.parent / "dagster-dev.log"
    with log.open("wb") as output, subprocess.Popen(
        command, cwd=project, stdout=output, stderr=output, start_new_session=True
    ) as process:  # fmt: skip
        try:
            found = _until_served(f"http://127.0.0.1:{port}/graphql", process, log)
        finally:
            process.terminate()
            process.wait(60)
    assert "defender/EmailEvents" in found
    assert len(found) == 5


def _until_served(url: str, process: "subprocess.Popen[bytes]", log: Path) -> set[str]:
    body = json.dumps({"query": _ASSETS}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    for _ in range(240):
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                nodes = json.load(reply)["data"]["assetNodes"]
        except OSError:
            nodes = []
        if nodes:
            return {"/".join(node["assetKey"]["path"]) for node in nodes}
        time.sleep(0.5)
    raise AssertionError(log.read_text(errors="replace"))


def test_an_unknown_program_is_named(tmp_path: Path) -> None:
    command = [str(BIN / "hunting"), "emulate", "--run", "nonexistent"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == "hunting: --run names no program: nonexistent. Nothing was run. Correct --run\n"
