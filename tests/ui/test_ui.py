"""Dagster's UI in a browser: a backfill of two tables, its result, and a run that is killed."""

import datetime
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster_process import Dagster, dagster

from hunting_emulator.process import running
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.lake.stores import open_store
from support import Emulated, settled_day

_PICTURES = "UI_IMAGES"
"""A variable with the folder for the screenshots of the documentation."""

TABLES = ("AlertInfo", "AlertEvidence")
KILLED = "DeviceLogonEvents"
TODAY = settled_day()
MONTH = [str(TODAY - datetime.timedelta(days=back)) for back in reversed(range(30))]
RANGE = f"[{MONTH[0]}...{MONTH[-1]}]"


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """Start a small tenant with a separate lake and ledger for the browser tests."""
    rows = {"AlertInfo": 3_000, "AlertEvidence": 6_000, KILLED: 3_000}
    with running(profile="test", rows=rows) as endpoint:
        yield Emulated(endpoint, tenant=None, home=tmp_path_factory.mktemp("ui"))  # type: ignore[arg-type] # rows are not compared here


@pytest.fixture(scope="module")
def location(tenant: Emulated) -> Iterator[Dagster]:
    """Start Dagster on the tenant. Small calls, one at a time, allow a test to act in the middle of a run."""
    with dagster(tenant.one_by_one()) as started:
        yield started


def kept(page: Any, name: str) -> None:
    """Save a screenshot for the documentation, if `UI_IMAGES` is set."""
    if folder := os.environ.get(_PICTURES):
        page.wait_for_timeout(1500)  # for animations
        page.screenshot(path=Path(folder) / f"{name}.png")


def shown(page: Any, location: Dagster, path: str) -> None:
    page.goto(location.url + path, wait_until="domcontentloaded")


def launch(page: Any, picture: str = "") -> None:
    """Enter thirty days in the dialog that `Materialize` opens, and launch the backfill."""
    dialog = page.get_by_role("dialog")
    field = dialog.get_by_role("textbox")
    field.fill(RANGE)
    field.press("Enter")
    dialog.get_by_text("30 partitions", exact=True).first.wait_for()
    if picture:
        kept(page, picture)
    dialog.get_by_role("button", name="Launch backfill").click()
    dialog.wait_for(state="hidden")


def see_partitions(page: Any, location: Dagster, table: str, *, materialized: int, failed: int) -> None:
    """Wait until the partitions page of a table shows these numbers."""
    shown(page, location, f"/assets/defender/{table}?view=partitions")
    page.get_by_text(f"Materialized ({materialized})").wait_for()
    page.get_by_text(f"Failed ({failed})").wait_for()


def test_a_backfill_of_two_tables_is_launched_watched_and_inspected(location: Dagster, page: Any) -> None:
    last = MONTH[-2]
    see_partitions(page, location, TABLES[0], materialized=0, failed=0)
    shown(page, location, "/locations/hunting_pipeline/asset-groups/alerts")
    page.get_by_text(TABLES[0], exact=True).first.click()
    page.get_by_text(TABLES[1], exact=True).first.click(modifiers=["Shift"])
    page.get_by_role("button", name="Materialize selected (2)").click()
    launch(page, picture="backfill")

    run = location.until(location.last_run, seconds=120)
    shown(page, location, f"/runs/{run}")
    location.until(lambda: location.ended(run), seconds=180)
    page.get_by_text("Success", exact=True).first.wait_for()
    assert [location.partitions(table) for table in TABLES] == [(30, 0), (30, 0)]
    shown(page, location, "/locations/hunting_pipeline/asset-groups/alerts")
    page.get_by_text(re.compile(r"[1-9]\d*% filled")).nth(1).wait_for()
    kept(page, "assets")

    shown(page, location, f"/assets/defender/AlertInfo?view=partitions&partition={last}")
    page.get_by_text("dagster/partition_row_count").wait_for()
    page.get_by_text("JSON bytes").wait_for()
    page.get_by_text("preview", exact=True).locator("xpath=ancestor::tr").get_by_text("Show").click()
    preview = page.get_by_role("dialog")
    preview.locator("img[src^='data:image/svg+xml']").wait_for()
    preview.locator("code").get_by_text(last).wait_for()
    kept(page, "preview")

    shown(page, location, "/assets/defender/AlertInfo?view=checks&checkDetail=complete")
    page.get_by_text("30 partitions hold every row that the service counted").first.wait_for()
    page.get_by_text("Passed", exact=True).wait_for()
    assert page.get_by_text("Skipped", exact=True).count() == 0
    kept(page, "checks")


def execute_again(page: Any, location: Dagster, run: str) -> str:
    """Re-execute a failed run from its page and return the id of the new run.

    Dagster asks for a confirmation if the run belongs to a backfill that has ended.
    """
    shown(page, location, f"/runs/{run}")
    page.get_by_role("button", name="Re-execute all").click()
    sure = page.get_by_role("dialog").get_by_role("button", name="Confirm")

    def launched() -> str | None:
        if sure.is_visible():
            sure.click()
        last = location.last_run()
        return last if last != run else None

    return str(location.until(launched, seconds=60))


def received(tenant: Emulated) -> list[str]:
    """Return the days that end before the end of the last reply that arrived."""
    (query,) = [call["query"] for call in tenant.stats()["log"] if call["outcome"] == "slow"][-1:]
    end = re.findall(r"datetime\(([\d-]{10})[^)]*\)", query)[-1]
    return [day for day in MONTH if day < end]


def archived(tenant: Emulated) -> dict[str, int]:
    """Return the time of each partition's commit, oldest partition first."""
    manifests = load_all(open_store(str(tenant.home / "lake")), KILLED)
    return {manifest.partition.key: manifest.committed_at for manifest in manifests}


@pytest.mark.slow
def test_a_killed_run_shows_its_finished_partitions_and_its_re_execution_archives_the_rest(
    location: Dagster, tenant: Emulated, page: Any
) -> None:
    """The run is killed without a warning while it waits for its fourth reply."""
    tenant.post("reset")
    tenant.post("config", manners={"slow_seconds": 0.1})
    tenant.post("config", faults={"on": "rows", "queue": ["slow"] * 3 + ["hang"] * 200})
    see_partitions(page, location, KILLED, materialized=0, failed=0)
    page.get_by_role("button", name="Materialize").first.click()
    launch(page)
    location.until(lambda: tenant.stats()["by_outcome"].get("slow") == 3, seconds=120)
    whole = received(tenant)
    location.until(lambda: location.partitions(KILLED)[0] == len(whole), seconds=60)
    run = location.last_run()
    os.kill(location.process_of(run), signal.SIGKILL)
    assert location.until(lambda: location.ended(run), seconds=60) == "FAILURE"

    done = archived(tenant)
    assert list(done) == whole
    assert 0 < len(whole) < len(MONTH)
    see_partitions(page, location, KILLED, materialized=len(done), failed=30 - len(done))
    kept(page, "killed")

    tenant.post("config", faults={"clear": True})
    again = execute_again(page, location, run)
    assert location.until(lambda: location.ended(again), seconds=180) == "SUCCESS"
    see_partitions(page, location, KILLED, materialized=30, failed=0)
    after = archived(tenant)
    assert list(after) == MONTH
    assert done.items() <= after.items(), "finished partitions were not archived again"
