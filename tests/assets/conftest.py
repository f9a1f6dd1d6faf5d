"""Separate settings for each test, independent of the settings of the machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest


@pytest.fixture(autouse=True)
def unconfigured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove the tenant from the settings, and put lake and ledger into the test's folder."""
    for name in [name for name in os.environ if name.startswith("HUNTING_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HUNTING_CONFIG", os.devnull)
    monkeypatch.setenv("HUNTING_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("HUNTING_LEDGER", str(tmp_path / "quota.sqlite"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
