"""Errors, metadata, checks and the log: values become Dagster's objects."""

from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import dagster as dg
import pyarrow as pa
import pytest

from hunting_pipeline import errors
from hunting_pipeline.catalog import entry, spec
from hunting_pipeline.errors import HuntingError, QuotaExhausted
from hunting_pipeline.lake.inspect import Inspection
from hunting_pipeline.lake.manifest import Manifest, Segment
from hunting_pipeline.lake.picture import bars, preview
from hunting_pipeline.lake.verify import compare
from hunting_pipeline.model import Column, Progress, Proof, Receipt, Report, Step, partition_from_key
from hunting_pipeline.orchestration import metadata
from hunting_pipeline.orchestration.checks.complete import complete_result, partition_evaluation
from hunting_pipeline.orchestration.outcomes import OUTCOMES, outcome_of
from hunting_pipeline.pipeline.progress import Reporter, line_of

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
DAY = partition_from_key("AlertInfo", "2026-11-20")
KEY = dg.AssetKey(["defender", "AlertInfo"])


def seen(*segments: Proof, archived: Proof) -> Inspection:
    """Build a partition for which the service counted `segments`, and whose file holds `archived`."""
    manifest = Manifest(
        partition=DAY,
        tenant="t",
        query_hash="s",
        proof=archived,
        file_bytes=1234,
        file_version="v",
        body_bytes=5678,
        rescued=0,
        fingerprint="f",
        columns=(Column("Timestamp", "datetime"), Column("Title", "string")),
        segments=tuple(Segment(DAY.window, None, proof, "AlertInfo", 0) for proof in segments),
        api="graph",
        engine="e",
        run_id="r",
        committed_at=DAY.window.end,
    )
    return Inspection(manifest, archived, (1, 0, 3), pa.table({"Title": ["a|b", None]}))


def raised(name: str) -> HuntingError:
    kind = getattr(errors, name)
    error: HuntingError = (
        kind("what is the case", until=NOW + timedelta(seconds=90.5))
        if kind is QuotaExhausted
        else kind("what is the case")
    )
    return error


LEAVES = sorted(set(errors.__all__) - {"HuntingError", "setting"})


def test_every_error_has_an_outcome() -> None:
    assert {kind.__name__ for kind in OUTCOMES} == set(LEAVES)


@pytest.mark.parametrize("name", sorted(set(LEAVES) - {"LakeBusy", "QuotaExhausted", "ServiceFailed"}))
def test_an_error_that_a_person_must_fix_is_not_retried(name: str) -> None:
    error = raised(name)
    error.add_note("and another partition")
    outcome = outcome_of(error, now=NOW)
    assert isinstance(outcome, dg.Failure)
    assert not outcome.allow_retries
    assert outcome.description == "what is the case\nand another partition"
    assert outcome.metadata["error"].value == name


def test_a_spent_quota_is_retried_when_it_renews() -> None:
    outcome = outcome_of(raised("QuotaExhausted"), now=NOW)
    assert isinstance(outcome, dg.RetryRequested)
    assert outcome.seconds_to_wait == 91
    assert outcome.max_retries >= 96, "a day's budget returns by quarters of an hour"


def test_a_failed_service_is_retried_a_few_times() -> None:
    outcome = outcome_of(raised("ServiceFailed"), now=NOW)
    assert isinstance(outcome, dg.RetryRequested)
    assert (outcome.max_retries, outcome.seconds_to_wait) == (3, 300)


def test_a_step_waits_for_a_backfill_of_two_days_that_holds_its_table() -> None:
    outcome = outcome_of(raised("LakeBusy"), now=NOW)
    assert isinstance(outcome, dg.RetryRequested)
    assert outcome.max_retries * outcome.seconds_to_wait >= 2 * 86_400


def test_a_partition_is_complete_if_rows_and_checksum_equal_the_count_of_the_service() -> None:
    parts = (Proof(2, 10), Proof(1, 5))
    whole = compare(seen(*parts, archived=Proof(3, 15)))
    short = compare(seen(*parts, archived=Proof(2, 15)))
    other = compare(seen(*parts, archived=Proof(3, 16)))
    assert [comparison.equal for comparison in (whole, short, other)] == [True, False, False]
    evaluation = partition_evaluation(KEY, short)
    assert (evaluation.passed, evaluation.partition) == (False, "2026-11-20")
    assert evaluation.metadata["rows counted"].value == 3
    assert complete_result(KEY, [whole]).passed
    result = complete_result(KEY, [whole, short])
    assert not result.passed
    assert result.description == "1 of 2 partitions differ from the counts of the service: 2026-11-20"


def test_the_metadata_of_a_partition_has_the_form_that_dagster_displays() -> None:
    found = metadata.of_archived(seen(Proof(4, 1), archived=Proof(4, 1)), uri="/lake/x.parquet")
    assert found["dagster/partition_row_count"].value == 4
    assert found["dagster/uri"].value == "/lake/x.parquet"
    assert [column.type for column in found["dagster/column_schema"].value.columns] == [
        "timestamp[ns, tz=UTC]",
        "string",
    ]
    assert (found["bytes"].value, found["slices"].value) == (1234, 1)
    assert "data:image/svg+xml" in str(found["preview"].value)
    assert "\n```\nTitle\n─────\na|b\n" in str(found["preview"].value)


def test_a_commit_reports_its_changes_and_its_cost() -> None:
    receipt = Receipt(
        DAY,
        covered=(DAY.window,),
        path="p",
        proof=Proof(10, 0),
        file_bytes=1,
        body_bytes=1,
        slices=1,
        fingerprint="f",
        columns=(),
        previous_rows=7,
        time_range=(DAY.window.start, DAY.window.start + 1),
    )
    changes = metadata.of_receipt(receipt, added="late rows")
    assert {name: value.value for name, value in changes.items()} == {
        "late rows": 3,
        "first row": "2026-11-20T00:00:00Z",
        "last row": "2026-11-20T00:00:00.0000001Z",
    }
    fresh = replace(receipt, previous_rows=None, time_range=None)
    assert metadata.of_receipt(fresh, added="late rows") == {}
    spent = metadata.of_spending(
        Report("T", calls=2, running_seconds=1.5), Report("T", calls=5, running_seconds=4)
    )
    assert {name: value.value for name, value in spent.items()} == {
        "calls": 3,
        "quota seconds": 2.5,
        "seconds waited": 0.0,
    }


def test_the_schema_of_an_asset_has_only_the_configured_columns() -> None:
    found = metadata.of_asset(spec("AlertInfo", columns=("Title",), where="Title != ''"), entry("AlertInfo"))
    assert {column.name for column in found["dagster/column_schema"].value.columns} == {"Timestamp", "Title"}
    assert "Title != ''" in str(found["where"].value)


def test_bars_are_an_image_and_the_highest_one_fills_it() -> None:
    markdown = bars([0, 5, 10], first="00:00", last="24:00")
    svg = ElementTree.fromstring(b64decode(markdown.split("base64,")[1].rstrip(")")))
    heights = [float(bar.get("height", 0)) for bar in svg.iter("{http://www.w3.org/2000/svg}rect")]
    assert heights == [48.0, 96.0]
    ElementTree.fromstring(b64decode(bars([], first="", last="").split("base64,")[1].rstrip(")")))


def test_a_preview_is_a_text_with_a_line_for_each_row() -> None:
    rows = pa.table({"A\n": ["x|y", "<b>", "a\nb", "z" * 99, None], "B": [1, 2, 3, 4, 5]})
    lines = preview(rows).splitlines()
    assert lines[0] == f"A{' ' * 61}B"
    assert lines[1] == f"{'─' * 60}  ─"
    assert [line.split("  ")[0] for line in lines[2:]] == ["x|y", "<b>", "a b", f"{'z' * 59}…", ""]
    assert [line[-1] for line in lines[2:]] == ["1", "2", "3", "4", "5"]


def test_a_preview_needs_no_rows_and_no_columns() -> None:
    assert preview(pa.table({"A": pa.array([], pa.string())})) == "A\n─"
    assert preview(pa.table({})).strip() == ""


def progress(step: Step, rows: int = 250) -> Progress:
    return Progress(
        "T",
        step,
        f"T: {step}",
        slices=1,
        slices_planned=4,
        rows=rows,
        rows_planned=1000,
        partitions=0,
        partitions_planned=2,
        calls=3,
    )


def test_a_log_line_shows_progress_speed_and_expected_end() -> None:
    now = NOW.timestamp()
    end = f"{NOW + timedelta(seconds=30):%H:%M:%S}"
    assert line_of(progress(Step.FETCHED), seconds=10, now=now, quota="9 of 36 calls in 60 s left") == (
        "T: fetched, 250 of 1,000 rows (25%), 0 of 2 partitions, 3 calls, 25 rows/s, about 30 s left,"
        f" done by {end} UTC; 9 of 36 calls in 60 s left"
    )
    nothing = line_of(progress(Step.FETCHED, rows=0), seconds=10, now=now, quota="all")
    assert nothing.endswith("0 rows/s; all")


def test_the_log_reports_plans_and_waits_at_once_and_slices_at_intervals() -> None:
    now, lines = [0.0], list[str]()
    report = Reporter(lines.append, lambda: now[0], quota=lambda: "enough")
    report(progress(Step.PLANNED))
    for now[0] in (1.0, 9.0, 11.0, 12.0):
        report(progress(Step.FETCHED))
    report(progress(Step.COMMITTED))
    report(progress(Step.WAITING))
    assert [line.split(",")[0] for line in lines] == ["T: planned", "T: fetched", "T: waiting"]
