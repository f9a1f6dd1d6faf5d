"""Commands on a lake in which other programs have damaged partitions, each partition in another way."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lake_damage import DAMAGE, HEALED, HIDDEN, damage
from test_cli import hunting

from hunting_emulator.process import Endpoint, running
from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.model import Partition, partition_from_key

TABLE = "AlertInfo"
KINDS = {**DAMAGE, **dict([*HEALED.items()][:6]), **HIDDEN}


def ago(days: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(BUILT - days * 86400))


BUILT = time.time()
DAYS = dict(zip(KINDS, range(len(KINDS) + 1, 1, -1), strict=True))
"""How many days ago the partition of each kind of damage begins. The newest files have hidden damage."""
LOST = sorted(ago(DAYS[name]) for name in DAMAGE)
UNREADABLE = sorted(ago(DAYS[name]) for name in {**DAMAGE, **HIDDEN})
SINCE = ["--from", ago(len(KINDS) + 3)]
GAP = ago(len(KINDS) + 2)
"""A partition that is missing and not damaged."""


def partition(key: str) -> Partition:
    return partition_from_key(TABLE, key)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running(profile="graph", scale=0.05, rows={TABLE: 3000}) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def built(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the damaged lake once. It ends before yesterday."""
    lake = tmp_path_factory.mktemp("built") / "lake"
    settings = {"HUNTING_LAKE": str(lake), "HUNTING_LEDGER": str(lake.parent / "quota.sqlite")}
    done = hunting(_variables(endpoint) | settings, "pull", TABLE, *SINCE, "--to", ago(1))
    assert done.returncode == 0, done.stderr
    for name, days in DAYS.items():
        damage(lake, partition(ago(days)), KINDS, name)
    (lake / data_path(partition(GAP))).unlink()
    return lake


def _variables(endpoint: Endpoint) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUNTING_")}
    return kept | endpoint.settings() | {"HUNTING_CONFIG": os.devnull}


@pytest.fixture
def variables(endpoint: Endpoint, built: Path, tmp_path: Path) -> dict[str, str]:
    shutil.copytree(built, tmp_path / "lake")
    here = {"HUNTING_LAKE": str(tmp_path / "lake"), "HUNTING_LEDGER": str(tmp_path / "quota.sqlite")}
    return _variables(endpoint) | here


def contents(lake: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in lake.joinpath(TABLE).rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_pull_of_other_days_succeeds(variables: dict[str, str]) -> None:
    done = hunting(variables, "pull", TABLE, "--from", ago(1), "--json")
    (report,) = json.loads(done.stdout)
    assert (done.returncode, done.stderr.count("damaged")) == (0, 0), done.stderr
    assert ago(1) in report["partitions"]


def test_a_pull_of_damaged_days_names_them_and_archives_the_others(variables: dict[str, str]) -> None:
    lake = Path(variables["HUNTING_LAKE"])
    before = contents(lake)
    planned = hunting(variables, "plan", TABLE, *SINCE, "--json")
    assert GAP in json.loads(planned.stdout)[0]["partitions"]
    for force in [], ["--force"]:
        done = hunting(variables, "pull", TABLE, *SINCE, "--json", *force)
        (report,) = json.loads(done.stdout)
        assert not {*report["partitions"]} & {*LOST}
        for said in (done, planned):
            assert said.returncode == 6
            assert [key for key in UNREADABLE if f"{TABLE} {key}" in said.stderr] == LOST
            assert said.stderr.count("out of the lake") == len(LOST)
    after = contents(lake)
    assert before.items() <= after.items()
    assert lake / data_path(partition(GAP)) in after


@pytest.mark.slow
def test_a_file_that_is_moved_out_of_the_lake_is_archived_again(variables: dict[str, str]) -> None:
    lake = Path(variables["HUNTING_LAKE"])
    for key in UNREADABLE:
        folder = (lake / data_path(partition(key))).parent
        folder.rename(lake.parent / key)
    assert hunting(variables, "pull", TABLE, *SINCE, "--to", ago(1)).returncode == 0
    done = hunting(variables, "status", TABLE, *SINCE, "--to", ago(1), "--json")
    (status,) = json.loads(done.stdout)
    assert (done.returncode, status["missing"], status["damaged"]) == (0, [], [])
    done = hunting(variables, "reconcile", TABLE, *SINCE, "--to", ago(1), "--dry-run", "--json")
    (found,) = json.loads(done.stdout)
    assert (done.returncode, found["damaged"], found["differing"]) == (0, [], [])


def test_status_names_damaged_partitions_and_foreign_files(variables: dict[str, str]) -> None:
    lake = Path(variables["HUNTING_LAKE"])
    healthy = lake / data_path(partition(ago(len(KINDS) + 3)))
    shutil.copy(healthy, healthy.parent / "copy.parquet")
    shutil.copy(healthy, healthy.parent / "_copy.parquet")
    done = hunting(variables, "status", TABLE, "EmailEvents", "--json")
    status, other = json.loads(done.stdout)
    assert done.returncode == 6
    assert [damaged["partition"] for damaged in status["damaged"]] == LOST
    assert all("out of the lake" in damaged["problem"] for damaged in status["damaged"])
    foreign = [Path(path).name for path in status["foreign_files"]]
    assert sorted(foreign) == sorted(
        ["copy.parquet", "part-0.parquet", f"date={ago(DAYS['a file as the folder'])}"]
    )
    assert (other["damaged"], other["foreign_files"]) == ([], [])
    assert [missing["partition"] for missing in status["missing"] if missing["partition"] in LOST] == []
    text = hunting(variables, "status", TABLE)
    assert text.returncode == 6
    assert [key for key in UNREADABLE if f"{TABLE} {key}" in text.stderr] == LOST
    assert "copy.parquet" in text.stderr


@pytest.mark.slow
def test_a_recount_compares_the_other_days(variables: dict[str, str]) -> None:
    done = hunting(variables, "reconcile", TABLE, *SINCE, "--dry-run", "--json")
    (found,) = json.loads(done.stdout)
    assert (done.returncode, sorted(found["damaged"])) == (6, UNREADABLE)
    assert (found["differing"], found["shrunk"], found["calls"]) == ([], [], 1)
    assert found["rows"] > 0
    text = hunting(variables, "reconcile", TABLE, *SINCE)
    assert text.returncode == 6
    assert all(key in text.stderr for key in UNREADABLE)


def test_check_does_not_end_at_a_damaged_file(variables: dict[str, str]) -> None:
    assert hunting(variables, "check", TABLE).returncode == 0
