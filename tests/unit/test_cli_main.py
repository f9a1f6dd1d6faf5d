"""The command line in this process: options of `hunting` itself, help, completion, and the form of errors."""

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hunting_pipeline.catalog import catalog
from hunting_pipeline.cli import log
from hunting_pipeline.cli.app import COMMANDS, app
from hunting_pipeline.cli.columns import compared
from hunting_pipeline.cli.main import main
from hunting_pipeline.cli.problems import complain
from hunting_pipeline.cli.progress import reporting
from hunting_pipeline.errors import Refused
from hunting_pipeline.model import Column, Progress, Step
from hunting_pipeline.moments import FORMS
from hunting_pipeline.pipeline import open_quota
from hunting_pipeline.quota import Priority, Reservation
from hunting_pipeline.settings import load_settings

Hunting = Callable[..., tuple[int, str, str]]
"""Runs `hunting` with words, and returns its exit code, standard output and standard error."""


@pytest.fixture(autouse=True)
def _text_again() -> Iterator[None]:
    yield
    log.configure(json_errors=False)


@pytest.fixture
def hunting(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Hunting:
    monkeypatch.setenv("HUNTING_CONFIG", "/dev/null")

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["hunting", *words])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()

    return run


def completed(*words: str) -> list[str]:
    """Return the words with which bash completes the last word."""
    variables = {"_HUNTING_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(["hunting", *words])}
    done = CliRunner().invoke(
        app, prog_name="hunting", env=variables | {"COMP_CWORD": str(len(words))}, catch_exceptions=False
    )
    return done.stdout.split()


def test_the_version_names_the_package_and_python(hunting: Hunting) -> None:
    version = metadata.version("hunting-pipeline")
    assert hunting("--version") == (
        0,
        f"hunting-pipeline {version}, Python {platform.python_version()}\n",
        "",
    )


def test_the_summary_of_a_command_is_not_cut_in_a_narrow_terminal(
    hunting: Hunting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    _, shown, _ = hunting("--help")
    text = " ".join(shown.split())
    for command in COMMANDS.values():
        assert command.summary in text
        assert command.summary.endswith(".")


def test_a_shell_completes_commands() -> None:
    assert completed("re") == ["reconcile", "rewrite"]


@pytest.mark.parametrize("words", [("pull",), ("plan", "AlertInfo"), ("status", "--json")])
def test_a_shell_completes_tables(words: tuple[str, ...]) -> None:
    known = [name for name in catalog() if name.startswith("Email")]
    assert len(known) > 2
    assert completed(*words, "Email") == known


def test_a_shell_completes_options_and_their_values() -> None:
    assert completed("pull", "--f") == ["--from", "--force"]
    assert completed("rewrite", "--timestamp-unit", "u") == ["us"]
    assert completed("pull", "--from", "Email") == [], "a date is no table"


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.takes_tables])
def test_a_misspelt_table_is_named_before_a_missing_setting(hunting: Hunting, name: str) -> None:
    words = ["--timestamp-unit", "us"] if name == "rewrite" else []
    code, _, said = hunting(name, "EmailEvnts", *words)
    assert (code, "no hunting table 'EmailEvnts'; did you mean EmailEvents" in said) == (3, True), said
    _, _, said = hunting(name, "Zebra", *words)
    assert said == "hunting: there is no hunting table 'Zebra'; `hunting tables` lists all tables\n"


@pytest.mark.parametrize(
    ("words", "name", "code", "message"),
    [
        (["pull", "EmailEvnts", "--json"], "Misconfigured", 3, "no hunting table 'EmailEvnts'"),
        (["check", "--json"], "Misconfigured", 3, "no tenant is configured"),
        (["tables", "--json", "--nonsense"], "NoSuchOption", 2, "No such option: --nonsense"),
        (["plul", "--json"], "UsageError", 2, "No such command 'plul'. Did you mean 'pull'?"),
        (["pull", "--json", "--from"], "BadOptionUsage", 2, "'--from' requires an argument"),
    ],
)
def test_an_error_is_a_json_object_if_the_output_is_json(
    hunting: Hunting, words: list[str], name: str, code: int, message: str
) -> None:
    done, shown, said = hunting(*words)
    error = json.loads(said)
    assert list(error) == ["error", "message", "exit_code", "notes"]
    assert (error["error"], error["exit_code"], error["notes"]) == (name, code, [])
    assert message in error["message"]
    assert (done, shown) == (code, "")


def test_without_json_an_error_is_text(hunting: Hunting) -> None:
    assert hunting("tables", "--nonsense")[2].startswith("Usage: hunting tables ")
    assert hunting("pull", "EmailEvnts")[2].startswith("hunting: there is no hunting table")


def test_each_error_of_a_table_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(json_errors=True)
    error = Refused("one\nline")
    error.add_note("a note")
    complain(error)
    complain(error)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [{"error": "Refused", "message": "one\nline", "exit_code": 3, "notes": ["a note"]}] * 2


def test_lines_of_the_log_are_json_objects(
    hunting: Hunting, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, which would have bars
    assert hunting("--log-format", "json", "tables")[2] == ""
    with reporting(quiet=False) as observe:
        observe(Progress("T", Step.WAITING, "T: waiting", 0, 1, 0, 1, 0, 1, 0))
    log.warn("careful\x1b[2J")
    complain(Refused("no"))
    shown = capsys.readouterr().err
    assert json.loads(log.line("stopped"))["message"] == "stopped"
    progress, warning, error = (json.loads(line) for line in shown.splitlines())
    for each in (progress, warning, error):
        age = datetime.now().astimezone() - datetime.fromisoformat(each.pop("time"))
        assert timedelta(0) <= age < timedelta(minutes=1)
    assert progress == {"level": "info", "message": "T: waiting", "table": "T"}
    assert warning == {"level": "warning", "message": "careful\x1b[2J"}
    assert error == {"level": "error", "message": "no", "error": "Refused", "exit_code": 3, "notes": []}
    _, _, said = hunting("--log-format", "json", "tables", "--nonsense")
    assert json.loads(said)["error"] == "NoSuchOption"
    assert hunting("tables", "--nonsense")[2].startswith("Usage: "), "the form is that of one command"


def test_tables_shows_the_columns_of_a_table_without_a_tenant(hunting: Hunting) -> None:
    code, shown, _ = hunting("tables", "AlertInfo", "DeviceTvmSoftwareInventory", "--json")
    first, second = json.loads(shown)
    assert (code, first["table"], second["time_column"]) == (0, "AlertInfo", None)
    columns = {column.pop("name"): column for column in first["columns"]}
    assert list(columns) == [column.name for column in catalog()["AlertInfo"].columns]
    assert columns["Timestamp"] == {"kusto_type": "datetime", "arrow_type": "timestamp[ns, tz=UTC]"}
    assert columns["Title"] == {"kusto_type": "string", "arrow_type": "string"}
    _, shown, _ = hunting("tables", "AlertInfo")
    assert shown.split()[:6] == ["AlertInfo", "column", "Kusto", "type", "Arrow", "type"]
    assert "difference" not in shown


def test_columns_of_the_service_and_of_the_catalogue_are_compared() -> None:
    known = catalog()["AlertInfo"]
    service = [Column("Own", "long"), *(one for one in known.columns if one.name != "Title")]
    service[2] = Column(service[2].name, "guid")
    found = compared(known, service)
    differing = {column.name: column.difference for column in found if column.difference}
    assert differing == {
        "Own": "not in the catalogue",
        "AlertId": "string in the catalogue",
        "Title": "not in the service",
    }
    assert [column.name for column in found] == [*(column.name for column in service), "Title"]
    assert {column.name: column.arrow_type for column in found}["Own"] == "int64"


def test_the_service_is_asked_only_for_named_tables(hunting: Hunting) -> None:
    code, _, said = hunting("tables", "--live")
    assert (code, "--live needs names of tables" in said) == (2, True)
    code, _, said = hunting("tables", "AlertInfo", "--live")
    assert (code, "no tenant is configured" in said) == (3, True)


def test_a_wrong_date_is_named_before_a_missing_setting(hunting: Hunting) -> None:
    code, _, said = hunting("pull", "--from", "2026-13-01")
    assert (code, FORMS in " ".join(said.split())) == (2, True), said
    assert hunting("plan", "--to", "tomorrow")[0] == 2


def test_the_quota_needs_no_credentials(
    hunting: Hunting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HUNTING_LEDGER", str(tmp_path / "quota.sqlite"))
    code, _, said = hunting("quota")
    assert (code, said) == (
        3,
        "hunting: no tenant is configured, so nothing was read. Set HUNTING_TENANT_ID\n",
    )
    monkeypatch.setenv("HUNTING_TENANT_ID", "t")
    monkeypatch.setenv("HUNTING_LAKE", "/dev/null")
    code, shown, said = hunting("quota", "--json")
    assert (code, json.loads(shown)["tenant"], said) == (0, "t", "")
    monkeypatch.setenv("HUNTING_LEDGER", str(tmp_path / "another" / "quota.sqlite"))
    code, _, said = hunting("pull", "AlertInfo")
    assert (code, "only partly configured" in said) == (3, True)
    assert not (tmp_path / "another").exists(), "without an identity, no refusal is recorded"


def test_the_quota_shows_calls_over_time(
    hunting: Hunting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HUNTING_LEDGER", str(tmp_path / "quota.sqlite"))
    monkeypatch.setenv("HUNTING_TENANT_ID", "t")
    with closing(open_quota(load_settings())) as ledger:
        for table, owner in (("A", "hunting pod:1"), ("A", "hunting pod:2"), ("B", "dagster pod:3")):
            reservation = ledger.reserve(table=table, priority=Priority.FRESH, owner=owner)
            assert isinstance(reservation, Reservation)
            ledger.settle(reservation, seconds=2)
    hours = json.loads(hunting("quota", "--since", "2h", "--json")[1])["hours"]
    assert [(one["table"], one["program"], one["calls"], one["seconds"]) for one in hours] == [
        ("A", "hunting", 2, 4.0),
        ("B", "dagster", 1, 2.0),
    ]
    for since, column in (("2h", "hour"), ("7d", "day")):
        shown = hunting("quota", "--since", since)[1].split("Calls since")[1]
        assert column in shown
        assert ["A", "hunting", "2", "4.0", "s"] in [line.split()[-5:] for line in shown.splitlines()]
    assert "Calls since" not in hunting("quota")[1]
    assert hunting("quota", "--since", "never")[0] in (2, 3)


def test_a_warning_of_any_library_is_a_line_of_the_log() -> None:
    code = (
        "import logging, sys; sys.argv = ['hunting', '--log-format', 'json', 'tables']\n"
        "from hunting_pipeline.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    logging.getLogger('library').warning('late')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["level"], line["message"]) == ("warning", "late")
