"""`hunting query` as a person or a scheduler runs it: formats, files, standard input and exit codes."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hunting_emulator.process import Endpoint, running

pytestmark = pytest.mark.slow
QUERY = "AlertInfo | project Timestamp, AlertId, Title | where AlertId != ''"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running(
        profile="test", rows={"AlertInfo": 2_500}, limit={"rows": 1_000, "bytes": "off"}
    ) as endpoint:
        yield endpoint


@pytest.fixture
def variables(endpoint: Endpoint, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUNTING_")}
    own = {"HUNTING_LEDGER": str(tmp_path / "quota.sqlite"), "HUNTING_LIMITS": "test"}
    return kept | endpoint.settings() | own | {"HUNTING_CONFIG": os.devnull}


def asked(variables: dict[str, str], *words: object, given: str = "") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "hunting_pipeline.cli.main", "query", *map(str, words)]
    done = subprocess.run(
        command, env=variables, input=given, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def test_every_format_has_the_same_rows_and_parquet_their_types(
    variables: dict[str, str], tmp_path: Path
) -> None:
    found = {}
    for form in ("csv", "json", "ndjson", "parquet"):
        path = tmp_path / f"rows.{form}"
        done = asked(variables, QUERY, "--format", form, "--out", path)
        assert (done.returncode, done.stdout) == (0, "")
        found[form] = path
    table = pq.read_table(found["parquet"])
    assert table.schema.types == [pa.timestamp("ns", "UTC"), pa.string(), pa.string()]
    ids = sorted(table["AlertId"].to_pylist())
    assert len(ids) > 2_400, "cut into slices: one reply has at most 1,000 rows"
    assert sorted(row["AlertId"] for row in csv.DictReader(found["csv"].open())) == ids
    assert sorted(row["AlertId"] for row in json.loads(found["json"].read_text())) == ids
    assert sorted(json.loads(line)["AlertId"] for line in found["ndjson"].read_text().splitlines()) == ids


def test_a_query_is_a_text_a_file_or_standard_input(variables: dict[str, str], tmp_path: Path) -> None:
    text = "// the newest\nAlertInfo | top 3 by Timestamp | project AlertId"
    (tmp_path / "newest.kql").write_text(text)
    (tmp_path / "newest").write_text(text)
    words = [(text,), (tmp_path / "newest.kql",), (tmp_path / "newest",)]
    answers = [asked(variables, *word, "--format", "csv") for word in words]
    answers.append(asked(variables, "-", "--format", "csv", given=text))
    assert {done.returncode for done in answers} == {0}
    assert len({done.stdout for done in answers}) == 1
    assert len([*csv.DictReader(io.StringIO(answers[0].stdout))]) == 3
    shown = asked(variables, text)
    assert "AlertId" in shown.stdout
    assert (shown.stderr, shown.returncode) == ("", 0), "no progress bar outside a terminal"


def test_a_truncated_result_is_refused_or_says_so(variables: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    words = (f"{QUERY} | sort by Timestamp asc", "--format", "csv", "--out", path)
    done = asked(variables, *words)
    assert done.returncode == 6
    assert done.stderr.startswith("hunting: the reply holds 1,000 rows.")
    assert "`sort`" in done.stderr
    assert not path.exists()
    done = asked(variables, *words, "--allow-truncated")
    assert done.returncode == 0
    assert done.stderr == "hunting: the result is truncated at 1,000 rows, so rows are probably missing\n"
    assert len(path.read_text().splitlines()) == 1_001


def test_errors_have_the_exit_codes_of_other_commands(variables: dict[str, str], tmp_path: Path) -> None:
    done = asked(variables, "AlertInfo | wher 1")
    assert done.returncode == 3
    assert "Syntax error: 'wher' is not an operator" in done.stderr
    assert asked(variables, tmp_path / "absent.kql").returncode == 3
    assert asked(variables, QUERY, "--format", "parquet").returncode == 2
    assert asked(variables, QUERY, "--out", tmp_path / "rows").returncode == 2
    done = asked(variables, QUERY, "--format", "csv", "--out", tmp_path / "absent" / "rows")
    assert (done.returncode, "the file cannot be written" in done.stderr) == (3, True)
    offline = variables | {"HUNTING_CLIENT_SECRET": "wrong"}
    assert asked(offline, QUERY).returncode == 3
