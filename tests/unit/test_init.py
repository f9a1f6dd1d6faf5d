"""`hunting init` writes a project that Dagster and `dg` load without changes, or it writes nothing."""

import os
import subprocess
import sys
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from hunting_pipeline.cli.project import project_files
from hunting_pipeline.model import ticks_of
from hunting_pipeline.settings import Settings, load_settings
from hunting_pipeline.settings.model import variable
from hunting_pipeline.window import first_day

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FILES = project_files(date(2026, 10, 30))


def run(folder: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Run a program in a folder, with this checkout as the installed package and without settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUNTING_")}
    own = {"PYTHONPATH": str(ROOT), "VIRTUAL_ENV": sys.prefix, "DAGSTER_DISABLE_TELEMETRY": "yes"}
    return subprocess.run(
        command, cwd=folder, env={**kept, **own}, capture_output=True, text=True, check=False, timeout=120
    )


def init(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    done = run(folder, sys.executable, "-m", "hunting_pipeline", "init", *words)
    assert "Traceback" not in done.stderr
    return done


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    done = init(folder, "soc")
    assert done.returncode == 0, done.stderr
    assert "cd soc" in done.stdout
    assert all(f"  {name}\n" in done.stdout for name in FILES)
    return folder / "soc"


def test_the_written_files_begin_at_the_oldest_day_that_the_service_holds(project: Path) -> None:
    assert set(content(project)) == set(FILES)
    written = yaml.safe_load((project / "assets" / "tables" / "defs.yaml").read_text("utf-8"))
    today = datetime.now(UTC).date()
    starts = {str(today - timedelta(days=days)) for days in (30, 31)}  # midnight may have passed
    assert written["attributes"]["start"] in starts


def test_the_first_day_is_thirty_days_before_today() -> None:
    for moment in (datetime(2026, 11, 29, tzinfo=UTC), datetime(2026, 11, 29, 23, 59, 59, tzinfo=UTC)):
        assert first_day(ticks_of(moment), 30) == date(2026, 10, 30)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("dg list defs --json", '"defender/DeviceProcessEvents"'),
        pytest.param("dg check defs", "All definitions loaded successfully", marks=pytest.mark.slow),
        pytest.param(
            "dagster definitions validate -w workspace.yaml",
            "All code locations passed validation",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_tools_of_dagster_load_the_project(project: Path, command: str, said: str) -> None:
    program, *words = command.split()
    done = run(project, str(BIN / program), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
    assert "CloudAppEvents" not in done.stdout  # a table of the default assets


def test_every_setting_is_in_the_file_as_a_comment_and_secrets_only_by_their_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = FILES["hunting.toml"]
    assert tomllib.loads(text) == {}
    lines = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ") and " = " in line]
    shown = tomllib.loads("\n".join(lines))
    for name, field in Settings.model_fields.items():
        if field.annotation in (SecretStr, SecretStr | None):
            assert name not in shown
            assert variable(name) in text
        else:
            shown.pop(name)
    assert not shown
    (tmp_path / "hunting.toml").write_text("\n".join(line for line in lines if "…" not in line))
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HUNTING_")]:
        monkeypatch.delenv(name)
    assert load_settings() == Settings(lake_path_style=True)


@pytest.mark.parametrize("name", sorted({name.partition("/")[0] for name in FILES} | {"dg.toml"}))
def test_nothing_is_written_if_a_file_of_the_project_exists(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    done = init(tmp_path)
    assert done.returncode == 3
    assert f"{tmp_path} already has {name}. Nothing was written." in done.stderr
    assert content(tmp_path) == {name: b"mine"}
    assert done.stdout == ""


def test_other_files_of_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")
    done = init(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "  cd " not in done.stdout
    assert set(content(tmp_path)) == {*FILES, "notes.md"}


def test_if_a_file_cannot_be_written_the_written_ones_are_removed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = init(tmp_path, "file/soc")
    assert done.returncode == 3
    assert "cannot be written: Not a directory. No file was left behind" in done.stderr
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900));"
    code = f"{limited} import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); sys.argv = "
    code += "['hunting', 'init', 'a/b']; from hunting_pipeline.cli.main import main; main()"
    done = run(tmp_path, sys.executable, "-B", "-c", code)
    assert done.returncode == 3
    assert "cannot be written: File too large. No file was left behind" in done.stderr
    assert set(tmp_path.iterdir()) == {tmp_path / "file"}
