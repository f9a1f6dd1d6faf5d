"""A browser for the tests of Dagster's UI."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_ABSENT = [
    name
    for name, there in {
        "the browser `chromium` (apt-get install chromium)": _CHROMIUM,
        "the Python package `playwright` (pip install playwright)": importlib.util.find_spec("playwright"),
    }.items()
    if not there
]

_REQUIRED = "UI_REQUIRED"
"""A variable. If it is set, as on a build server, these tests fail without a browser and are not skipped."""

_ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)

_MAX_WAIT = 90_000
"""Milliseconds to wait for a part of a page, on a busy machine."""


@pytest.fixture(scope="module", autouse=True)
def browser_is_there() -> None:
    if _ABSENT:
        unusable = pytest.fail if os.environ.get(_REQUIRED) else pytest.skip
        unusable(f"needs {' and '.join(_ABSENT)}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_CHROMIUM, headless=True, args=_ARGUMENTS.split()
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(_MAX_WAIT)
    yield opened
    opened.close()
