"""A person in front of the browser: two tables, a backfill, and what it brought."""

import datetime
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster_process import Dagster, dagster

from hunting_emulator.process import running

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_ABSENT = [
    name
    for name, there in {
        "the browser `chromium` (apt-get install chromium)": _CHROMIUM,
        "the Python package `playwright` (pip install playwright)": importlib.util.find_spec("playwright"),
    }.items()
    if not there
]

pytestmark = pytest.mark.skipif(bool(_ABSENT), reason=f"needs {' and '.join(_ABSENT)}")

_ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)

_PICTURES = "UI_IMAGES"
"""Names a folder that is to get the screenshots of the documentation."""

_PATIENCE = 60_000
"""Milliseconds for anything to appear, on a busy machine."""

_BACKFILLS = """{ partitionBackfillsOrError(limit: 5) { ... on PartitionBackfills {
    results { id status numPartitions } } } }"""

_PARTITIONS = """query Done($path: [String!]!) { assetNodeOrError(assetKey: {path: $path}) {
    ... on AssetNode { partitionStats { numMaterialized numFailed } } } }"""

TABLES = ("AlertInfo", "AlertEvidence")


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    """Dagster on a small tenant; the browser test's own lake and ledger."""
    home = tmp_path_factory.mktemp("ui")
    with running(profile="test", rows={"AlertInfo": 6_000, "AlertEvidence": 12_000}) as endpoint:
        settings = endpoint.settings() | {
            "HUNTING_LAKE": str(home / "lake"),
            "HUNTING_LEDGER": str(home / "quota.sqlite"),
            "HUNTING_CONFIG": os.devnull,
        }
        with dagster(settings) as started:
            yield started


@pytest.fixture
def page() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_CHROMIUM, headless=True, args=_ARGUMENTS.split()
        )
        opened = browser.new_page(viewport={"width": 1280, "height": 800})
        opened.set_default_timeout(_PATIENCE)
        yield opened
        browser.close()


def kept(page: Any, name: str) -> None:
    """A screenshot for the documentation, where it is asked for."""
    if folder := os.environ.get(_PICTURES):
        page.wait_for_timeout(1500)  # for animations
        page.screenshot(path=Path(folder) / f"{name}.png")


def shown(page: Any, location: Dagster, path: str) -> None:
    page.goto(location.url + path, wait_until="domcontentloaded")


def materialized(location: Dagster, table: str) -> int:
    found = location.ask(_PARTITIONS, path=["defender", table])["assetNodeOrError"]["partitionStats"]
    assert not found["numFailed"]
    return int(found["numMaterialized"])


def completed(location: Dagster) -> bool:
    (backfill,) = location.ask(_BACKFILLS)["partitionBackfillsOrError"]["results"] or ({"status": ""},)
    assert "FAIL" not in backfill["status"], location.failures()
    return bool(backfill["status"] == "COMPLETED_SUCCESS")


def test_a_backfill_of_two_tables_is_launched_watched_and_inspected(location: Dagster, page: Any) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    first, last = (str(today - datetime.timedelta(days=back)) for back in (6, 2))

    shown(page, location, "/locations/hunting_pipeline/asset-groups/alerts")
    page.get_by_text(TABLES[0], exact=True).first.click()
    page.get_by_text(TABLES[1], exact=True).first.click(modifiers=["Shift"])
    page.get_by_role("button", name="Materialize selected (2)").click()
    dialog = page.get_by_role("dialog")
    field = dialog.get_by_role("textbox")
    field.fill(f"[{first}...{last}]")
    field.press("Enter")
    dialog.get_by_text("5 partitions", exact=True).first.wait_for()
    kept(page, "backfill")
    dialog.get_by_role("button", name="Launch backfill").click()

    location.until(lambda: completed(location), seconds=120)
    assert [materialized(location, table) for table in TABLES] == [5, 5]
    shown(page, location, "/locations/hunting_pipeline/asset-groups/alerts")
    page.get_by_text(re.compile(r"[1-9]\d*% filled")).nth(1).wait_for()
    kept(page, "assets")

    shown(page, location, f"/assets/defender/AlertInfo?view=partitions&partition={last}")
    page.get_by_text("dagster/partition_row_count").wait_for()
    page.get_by_text("JSON bytes").wait_for()
    page.get_by_text("preview", exact=True).locator("xpath=ancestor::tr").get_by_text("Show").click()
    page.get_by_role("dialog").locator("img[src^='data:image/svg+xml']").wait_for()
    kept(page, "preview")

    shown(page, location, "/assets/defender/AlertInfo?view=checks&checkDetail=complete")
    page.get_by_text("5 partitions hold every row that the service counted").first.wait_for()
    assert page.get_by_text("Skipped", exact=True).count() == 0
    kept(page, "checks")
