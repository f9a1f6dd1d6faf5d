"""Settings of a test's own, whatever the machine has configured."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest


@pytest.fixture(autouse=True)
def unconfigured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No tenant, and a lake and a ledger in the test's folder."""
    for name in [name for name in os.environ if name.startswith("HUNTING_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HUNTING_CONFIG", os.devnull)
    monkeypatch.setenv("HUNTING_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("HUNTING_LEDGER", str(tmp_path / "quota.sqlite"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
