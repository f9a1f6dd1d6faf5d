"""The `hunting` command as a person or a scheduler runs it: text, JSON and exit codes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import certifi
import pytest

from hunting_emulator.process import Endpoint, running
from hunting_pipeline.catalog import spec
from hunting_pipeline.cli.app import COMMANDS
from hunting_pipeline.model import Grain, TableSpec, Window
from hunting_pipeline.pipeline import open_pipeline
from hunting_pipeline.settings import Settings
from hunting_pipeline.window import partitions_in
from places import Place
from support import day

BEFORE = (time.time() - 4 * 86400, time.time() - 2 * 86400)
DATES = ["--from", *[time.strftime("%Y-%m-%d", time.gmtime(BEFORE[0]))]]
DATES += ["--to", time.strftime("%Y-%m-%d", time.gmtime(BEFORE[1]))]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    options = {"scale": 0.05, "rows": {"AlertInfo": 3000}, "unlicensed": ["CloudDnsEvents"]}
    with running(profile="graph", **options) as endpoint:
        yield endpoint


@pytest.fixture
def variables(endpoint: Endpoint, tmp_path: Path, place: Place) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUNTING_")}
    here = {**place.variables, "HUNTING_LEDGER": str(tmp_path / "quota.sqlite")}
    return kept | endpoint.settings() | here


def hunting(
    variables: dict[str, str], *words: str, through: Sequence[str] = ()
) -> "subprocess.CompletedProcess[str]":
    command = [*through, sys.executable, "-m", "hunting_pipeline.cli.main", *words]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    assert (variables.get("HUNTING_CLIENT_SECRET") or "no secret") not in done.stdout + done.stderr
    return done


def test_check_names_readable_and_unreadable_tables(variables: dict[str, str]) -> None:
    done = hunting(variables, "check", "AlertInfo", "CloudDnsEvents", "--json")
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert list(found) == ["lake", "sign-in", "AlertInfo", "CloudDnsEvents", "clock"]
    assert abs(found["clock"]["seconds_ahead"]) <= 2
    assert found["AlertInfo"] == {"probe": "table", "name": "AlertInfo", "problem": "", "columns": 8}
    assert found["sign-in"] == {"probe": "sign-in", "name": "sign-in", "problem": ""}
    assert "not licensed" in found["CloudDnsEvents"]["problem"]
    assert done.returncode == 3


def test_tables_compares_the_catalogue_with_the_service_and_the_quota_counts_the_call(
    variables: dict[str, str],
) -> None:
    done = hunting(variables, "tables", "AlertInfo", "CloudDnsEvents", "--live", "--json")
    (found,) = json.loads(done.stdout)
    assert found["table"] == "AlertInfo"
    assert len(found["columns"]) == 8
    assert all(column["service_type"] == column["catalogue_type"] for column in found["columns"])
    error = json.loads(done.stderr)
    assert (error["error"], error["exit_code"], done.returncode) == ("Refused", 3, 3)
    assert "not licensed" in error["message"]
    anonymous = {"HUNTING_CLIENT_ID": "", "HUNTING_CLIENT_SECRET": ""}
    quota = json.loads(hunting(variables | anonymous, "quota", "--json").stdout)
    assert quota["rates"][0]["spent"] == 2


def test_check_ends_at_a_failed_sign_in(variables: dict[str, str]) -> None:
    wrong = variables | {"HUNTING_CLIENT_SECRET": "not-the-secret"}
    done = hunting(wrong, "check", "AlertInfo", "--json")
    lake, sign_in = json.loads(done.stdout)
    assert (lake["problem"], done.returncode) == ("", 3)
    assert "HUNTING_CLIENT_SECRET" in sign_in["problem"]
    done = hunting(wrong, "check", "AlertInfo")
    assert done.stderr.startswith("lake: writable\nsign-in: ")
    assert "AlertInfo" not in done.stderr
    assert done.returncode == 3


def test_plan_shows_the_cost_of_a_pull_and_writes_nothing(variables: dict[str, str]) -> None:
    done = hunting(variables, "plan", "AlertInfo", *DATES, "--json")
    (planned,) = json.loads(done.stdout)
    assert done.returncode == 0
    assert planned["calls"] == 2
    assert planned["rows"] > 50
    assert len(planned["partitions"]) == 2
    assert planned["at_risk"] == []
    assert not Path(variables["HUNTING_LAKE"]).exists()
    assert "AlertInfo" in hunting(variables, "pull", "--dry-run", "AlertInfo", *DATES).stdout


@pytest.mark.slow
def test_a_command_chooses_one_of_several_tenants(
    endpoint: Endpoint, variables: dict[str, str], tmp_path: Path
) -> None:
    settings = {key.removeprefix("HUNTING_").lower(): value for key, value in endpoint.settings().items()}
    sections = ["[tenants.fabrikam]", 'tenant_id = "another"', "[tenants.contoso]"]
    sections += [f'{name} = "{value}"' for name, value in settings.items() if name != "client_secret"]
    (tmp_path / "hunting.toml").write_text("\n".join(sections))
    several = {name: value for name, value in variables.items() if name not in endpoint.settings()}
    several["HUNTING_CONFIG"] = str(tmp_path / "hunting.toml")
    several["HUNTING_TENANTS__CONTOSO__CLIENT_SECRET"] = endpoint.client_secret
    words = ["pull", "AlertInfo", *DATES, "--json"]
    unnamed = hunting(several, *words)
    assert unnamed.returncode == 3
    assert "Choose one by --tenant or HUNTING_TENANT" in unnamed.stderr
    assert "fabrikam, contoso" in unnamed.stderr
    assert not Path(variables["HUNTING_LAKE"]).exists()
    assert hunting(several, *words, "--tenant", "contoso").returncode == 0
    assert len(list((Path(variables["HUNTING_LAKE"]) / "contoso").rglob("*.parquet"))) == 2
    (found,) = json.loads(hunting(several | {"HUNTING_TENANT": "contoso"}, "status", *words[1:]).stdout)
    assert len(found["archived"]) == 2
    strangers = several | {"HUNTING_TENANTS__CONTOSO__CA_BUNDLE": certifi.where()}
    for command in (["check"], ["pull", "EmailEvents", *DATES]):
        wrong = hunting(strangers, *command, "--tenant", "contoso")
        assert wrong.returncode == 3
        assert "set HUNTING_TENANTS__CONTOSO__CA_BUNDLE to the PEM file" in wrong.stderr
    secret = "HUNTING_TENANTS__CONTOSO__CLIENT_SECRET"
    wrong = hunting(several | {secret: "x"}, "check", "--tenant", "contoso")
    assert (wrong.returncode, secret in wrong.stderr) == (3, True)
    half = hunting(several, *words, "--tenant", "fabrikam")
    assert (half.returncode, "HUNTING_TENANTS__FABRIKAM__CLIENT_ID" in half.stderr) == (3, True)


def test_pull_then_status_shows_full_coverage(variables: dict[str, str]) -> None:
    words = ["AlertInfo", "EmailEvents", *DATES, "--json"]
    done = hunting(variables, "pull", *words)
    assert done.returncode == 0, done.stderr
    assert [report["table"] for report in json.loads(done.stdout)] == ["AlertInfo", "EmailEvents"]
    for found in json.loads(hunting(variables, "status", *words).stdout):
        assert (len(found["archived"]), found["missing"], found["forgotten"]) == (2, [], [])
    (again, _) = json.loads(hunting(variables, "pull", *words).stdout)
    assert (again["calls"], again["partitions"], len(again["covered"])) == (0, [], 2)
    quota = json.loads(hunting(variables, "quota", "--json").stdout)
    assert quota["rates"][0]["spent"] >= 4


@pytest.mark.slow
def test_a_command_takes_the_path_of_a_hunt_instead_of_a_table(
    variables: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "high.kql"
    path.write_text(
        "// schedule: manual\nAlertInfo\n| where Severity == 'High'\n| project Timestamp, AlertId"
    )
    words = [str(path), *DATES, "--json"]
    (planned,) = json.loads(hunting(variables, "plan", *words).stdout)
    assert (planned["table"], len(planned["partitions"])) == ("hunt-high", 2)
    (pulled,) = json.loads(hunting(variables, "pull", *words).stdout)
    assert (pulled["table"], pulled["rows"]) == ("hunt-high", planned["rows"])
    (found,) = json.loads(hunting(variables, "status", *words).stdout)
    assert (len(found["archived"]), found["missing"]) == (2, [])
    (recounted,) = json.loads(hunting(variables, "reconcile", *words).stdout)
    assert (recounted["differing"], recounted["calls"]) == ([], 1)
    path.write_text("AlertInfo\n| take 5")
    wrong = hunting(variables, "plan", *words)
    assert (wrong.returncode, f"{path}:2: `take`: " in wrong.stderr) == (3, True)


def test_reconcile_finds_an_equal_archive_equal(variables: dict[str, str]) -> None:
    hunting(variables, "pull", "AlertInfo", *DATES)
    done = hunting(variables, "reconcile", "AlertInfo", *DATES, "--json")
    (found,) = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (found["differing"], found["shrunk"], found["replaced"], found["calls"]) == ([], [], [], 1)
    assert found["rows"] > 50


def materialized(variables: dict[str, str], spec: TableSpec) -> None:
    """Archive the days of `DATES` with the settings of a `defs.yaml`."""
    settings = Settings(**{  # type: ignore[arg-type]
        name.removeprefix("HUNTING_").lower(): value
        for name, value in variables.items()
        if name.startswith("HUNTING_")
    })  # fmt: skip
    asked = Window(*(day(text) for text in DATES[1::2]))
    with (
        open_pipeline(settings, max_wait=5) as pipeline,
        pipeline.pull(spec, partitions_in(spec, asked)) as pull,
    ):
        list(pull)


@pytest.mark.slow
def test_status_of_everything_begins_at_the_first_partition(variables: dict[str, str]) -> None:
    assert hunting(variables, "pull", "AlertInfo", *DATES).returncode == 0
    table = Path(variables["HUNTING_LAKE"], "AlertInfo")
    first = min(table.iterdir())
    (table / "date=2020-02-29").mkdir()
    (table / "readme.txt").write_text("foreign")
    copied = table / "date=2020-02-29" / "AlertInfo-2020-02-29.parquet"
    copied.write_bytes((first / f"AlertInfo-{first.name[5:]}.parquet").read_bytes())
    assert hunting(variables, "status", "AlertInfo", *DATES).returncode == 0
    done = hunting(variables, "status", "AlertInfo", "--all", "--json")
    (found,) = json.loads(done.stdout)
    assert done.returncode == 6
    assert [each["partition"] for each in found["damaged"]] == ["2020-02-29"]
    assert found["foreign_files"] == ["AlertInfo/readme.txt"]
    assert found["forgotten"][0] == "2020-03-01"
    assert "the whole archive" in hunting(variables, "status", "AlertInfo", "--all").stdout
    assert hunting(variables, "status", "--all", *DATES).returncode == 2


@pytest.mark.slow
def test_a_table_that_is_archived_by_hours_stays_hourly(variables: dict[str, str]) -> None:
    materialized(variables, replace(spec("AlertInfo"), grain=Grain.HOUR))
    done = hunting(variables, "status", "AlertInfo", *DATES, "--json")
    (status,) = json.loads(done.stdout)
    assert (done.returncode, len(status["archived"]), status["missing"]) == (0, 48, [])
    assert hunting(variables, "pull", "AlertInfo", *DATES).returncode == 0


@pytest.mark.slow
def test_rows_that_a_defs_file_filters_are_not_replaced_and_the_next_table_is_archived(
    variables: dict[str, str],
) -> None:
    materialized(variables, replace(spec("AlertInfo"), where='Severity == "High"'))
    lake = Path(variables["HUNTING_LAKE"])
    before = {path: path.read_bytes() for path in lake.rglob("AlertInfo/**/*.parquet")}
    assert before
    done = hunting(variables, "pull", "AlertInfo", "AlertEvidence", *DATES, "--json")
    assert done.returncode == 6
    assert "was archived by another query" in done.stderr
    assert [report["table"] for report in json.loads(done.stdout)] == ["AlertEvidence"]
    done = hunting(variables, "plan", "AlertInfo", "AlertEvidence", *DATES, "--json")
    assert (done.returncode, [plan["table"] for plan in json.loads(done.stdout)]) == (6, ["AlertEvidence"])
    done = hunting(variables, "pull", "AlertInfo", *DATES, "--force", "--dry-run", "--json")
    assert (done.returncode, len(json.loads(done.stdout)[0]["partitions"])) == (0, 2)
    done = hunting(variables, "reconcile", "AlertInfo", *DATES, "--json")
    (found,) = json.loads(done.stdout)
    assert (done.returncode, len(found["archived_by_another_query"]), found["replaced"]) == (0, 2, [])
    assert {path: path.read_bytes() for path in before} == before
    assert hunting(variables, "pull", "AlertInfo", *DATES, "--force").returncode == 0
    assert {path: path.read_bytes() for path in before} != before


@pytest.mark.slow
@pytest.mark.parametrize("word", ["plan", "pull", "status", "reconcile", "check"])
def test_an_error_of_one_hunt_does_not_end_the_list(
    variables: dict[str, str], tmp_path: Path, word: str
) -> None:
    daily, hourly, other_api = (tmp_path / f"{name}.kql" for name in ("daily", "hourly", "other_api"))
    daily.write_text("// name: alerts\nAlertInfo\n")
    assert hunting(variables, "pull", str(daily), *DATES).returncode == 0
    hourly.write_text("// name: alerts\n// grain: hour\nAlertInfo\n")
    other_api.write_text("// name: elsewhere\n// api: endpoint\nAlertInfo\n")
    dates = [] if word == "check" else DATES
    done = hunting(variables, word, str(hourly), str(other_api), "AlertInfo", *dates, "--json")
    found = [each.get("table") or each["name"] for each in json.loads(done.stdout)]
    assert "AlertInfo" in found
    assert done.returncode == 3
    if word != "status":  # which needs no API
        assert "HUNTING_API" in done.stdout + done.stderr
    if word != "check":  # which reads no archive
        assert "Change `grain` back" in done.stderr


def test_progress_goes_to_standard_error_in_plain_lines(variables: dict[str, str]) -> None:
    done = hunting(variables, "pull", "AlertInfo", *DATES)
    assert "AlertInfo: " in done.stderr
    assert "committed" in done.stderr
    assert "\x1b" not in done.stderr
    assert "Pulled" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["pull", "AlertInfo", "--from", "2026-13-01"], 2, "is not a date"),
        (["pull", "AlertInfo", "--from", "2026-11-05", "--to", "2026-11-04"], 2, "the window is empty"),
        (["pull", "AlertInfo", "--from", "2099-01-01", "--to", "2099-01-02"], 2, "in the future"),
        (["pull", "AlertInfo", "--from", "2020-01-01", "--to", "2020-01-02"], 6, "2020-01-01"),
        (["pull", "AlertInfos"], 3, "did you mean AlertInfo"),
        (["pull", "CloudDnsEvents"], 3, "not licensed"),
        (["pull", "--nonsense"], 2, "No such option"),
    ],
)
def test_a_wrong_argument_ends_with_the_exit_code_of_its_kind(
    variables: dict[str, str], words: list[str], code: int, said: str
) -> None:
    done = hunting(variables, *words)
    assert (done.returncode, said in " ".join(done.stderr.split())) == (code, True), done.stderr
    assert not list(Path(variables["HUNTING_LAKE"]).rglob("*.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"HUNTING_CLIENT_SECRET": "not-the-secret"}, "HUNTING_CLIENT_SECRET"),
        ({"HUNTING_TENANT_ID": "", "HUNTING_CLIENT_ID": ""}, "no tenant is configured"),
        ({"HUNTING_CLIENT_SECRET": ""}, "HUNTING_CLIENT_SECRET"),
        ({"HUNTING_API": "graf"}, "HUNTING_API"),
        ({"HUNTING_CLOUD": "mars"}, "HUNTING_CLOUD"),
        ({"HUNTING_SHARE": "80"}, "HUNTING_SHARE"),
        ({"HUNTING_LAEK": "x"}, "did you mean HUNTING_LAKE"),
        ({"HUNTING_CONFIG": "nowhere.toml"}, "nowhere.toml"),
        ({"HUNTING_LAKE": "/dev/null"}, "HUNTING_LAKE"),
        ({"HUNTING_LAKE": "~nosuch/lake"}, "HUNTING_LAKE"),
        ({"HUNTING_LAKE": "/proc/lake"}, "HUNTING_LAKE"),
        ({"HUNTING_LEDGER": "~nosuch/quota.sqlite"}, "HUNTING_LEDGER"),
    ],
)
def test_a_wrong_setting_is_named(variables: dict[str, str], change: dict[str, str], said: str) -> None:
    done = hunting(variables | change, "pull", "AlertInfo")
    assert (done.returncode, said in done.stderr) == (3, True), done.stderr


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """Make a folder that only root may list."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "hunting.toml").write_text("workers = 2\n")
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


@pytest.fixture
def bound() -> list[str]:
    """Return the prefix of a command that makes file permissions apply even to root."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("rights bind root only under setpriv")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.mark.parametrize("word", ["status", "check", "pull"])
@pytest.mark.parametrize(
    ("variable", "name"),
    [("HUNTING_LAKE", "."), ("HUNTING_LAKE", "lake"), ("HUNTING_CONFIG", "hunting.toml")],
)
def test_a_path_without_permission_is_named(
    variables: dict[str, str], closed: Path, bound: list[str], variable: str, name: str, word: str
) -> None:
    done = hunting(variables | {variable: str(closed / name)}, word, "AlertInfo", through=bound)
    assert (done.returncode, variable in done.stderr) == (3, True), done.stderr
    assert "Permission denied" in done.stderr


def test_check_names_a_lake_that_cannot_be_written(
    variables: dict[str, str], tmp_path: Path, bound: list[str]
) -> None:
    (tmp_path / "lake").mkdir(mode=0o500)
    done = hunting(variables, "check", "AlertInfo", through=bound)
    assert (done.returncode, "HUNTING_LAKE" in done.stderr) == (3, True), done.stderr
    assert "readable" not in done.stderr, "nothing was asked"


def test_a_settings_file_is_read_and_its_errors_are_named(variables: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "hunting.toml"
    config.write_text('tables = ["AlertInfo"]\nworkers = 2\n')
    with_file = variables | {"HUNTING_CONFIG": str(config)}
    *_, table, _clock = json.loads(hunting(with_file, "check", "--json").stdout)
    assert table["name"] == "AlertInfo"
    config.write_text('tabels = ["AlertInfo"]\n')
    done = hunting(with_file, "check")
    assert (done.returncode, f"{config}:1: tabels" in done.stderr) == (3, True)


@pytest.mark.slow
def test_every_command_has_help() -> None:
    for word in COMMANDS:
        done = hunting(dict(os.environ), word, "--help")
        assert done.returncode == 0
        assert "--help" in done.stdout


@pytest.mark.slow
def test_the_emulator_is_started_and_ended_around_a_command(tmp_path: Path) -> None:
    command = f"{sys.executable} -m hunting_pipeline.cli.main pull AlertInfo --json"
    done = hunting(dict(os.environ), "emulate", "--scale", "0.05", "--home", str(tmp_path), "--run", command)
    assert done.returncode == 0, done.stderr
    (report,) = json.loads(done.stdout)
    assert report["rows"] > 0
    assert list((tmp_path / "lake").rglob("*.parquet"))


def test_ctrl_c_ends_the_emulator_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hunting_pipeline.cli.main", "emulate", "--home", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline().startswith("export HUNTING_")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("number", "stubborn"),
    [
        (signal.SIGTERM, False),
        (signal.SIGHUP, False),
        pytest.param(signal.SIGTERM, True, marks=pytest.mark.slow),
    ],
    ids=["SIGTERM", "SIGHUP", "stubborn"],
)
def test_a_signal_ends_the_emulator_and_all_processes_of_its_command(
    tmp_path: Path, number: signal.Signals, stubborn: bool
) -> None:
    """The command starts a child and a grandchild. A stubborn one ignores the signal and is killed."""
    trap = "trap '' TERM; " if stubborn else ""
    pids = tmp_path / "pids"
    script = tmp_path / "script"
    script.write_text(
        f"{trap}echo $$ >> {pids}\n"
        f"(sleep 300 & echo $! >> {pids}; {trap}sleep 300) &\n"
        f"echo $! >> {pids}\nwait\n"
    )
    command = [sys.executable, "-m", "hunting_pipeline.cli.main", "emulate", "--home", str(tmp_path)]

    process = subprocess.Popen([*command, "--run", f"sh {script}"], start_new_session=True)
    while not pids.exists() or len(pids.read_text().split()) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    children = [process.pid, *_descendants(process.pid)]
    assert {int(pid) for pid in pids.read_text().split()} < set(children)
    assert len(children) >= 5  # this command, the emulator, the shell, its child and its grandchild
    process.send_signal(number)
    assert process.wait(40) == 128 + number
    assert not [pid for pid in children if _runs(pid)]


def _descendants(pid: int) -> list[int]:
    own = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return own + [each for one in own for each in _descendants(one)]


def _runs(pid: int) -> bool:
    """Return whether a process runs. A zombie has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        ("nonexistent --really", "names no program: nonexistent"),
        ("sh -c 'open", "is not a command: No closing quotation"),
    ],
)
def test_a_command_that_cannot_be_run_is_named_and_no_tenant_is_started(
    tmp_path: Path, run: str, problem: str
) -> None:
    done = hunting(dict(os.environ), "emulate", "--home", str(tmp_path), "--run", run)
    assert done.returncode == 3
    assert done.stderr == f"hunting: --run {problem}. Nothing was run. Correct --run\n"


def test_a_command_gets_ctrl_c_and_its_exit_code_is_returned(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time\n"
        "print('ready', flush=True)\n"
        "try:\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    sys.exit(7)\n"
    )
    command = [sys.executable, "-m", "hunting_pipeline.cli.main", "emulate", "--home", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--run", f"{sys.executable} {script}"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=40)
    assert process.returncode == 7


@pytest.mark.stores
def test_ctrl_c_ends_a_pull_at_once_and_the_next_pull_resumes_it(variables: dict[str, str]) -> None:
    words = [sys.executable, "-m", "hunting_pipeline.cli.main", "pull", "DeviceNetworkEvents"]
    process = subprocess.Popen(words, env=variables, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    while " of about " not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=10)[1]
    assert (process.returncode, "Traceback" in said) == (130, False), said
    assert said.endswith("hunting: interrupted. Fetched rows are staged. Run again to continue.\n")
    assert hunting(variables, "pull", "DeviceNetworkEvents").returncode == 0


@pytest.mark.stores("fast")
def test_two_simultaneous_pulls_of_the_same_partitions_leave_one_complete_lake(
    variables: dict[str, str], place: Place
) -> None:
    words = [sys.executable, "-m", "hunting_pipeline.cli.main", "pull", "AlertInfo", *DATES, "--json"]
    both = [
        subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    reports = [json.loads(process.communicate(timeout=120)[0])[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(len(report["partitions"]) for report in reports) == [0, 2]
    assert len(place.contents(".parquet")) == 2
