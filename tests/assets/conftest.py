"""Separate settings for each test, independent of the settings of the machine."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from hunting_pipeline.pipeline import open_quota
from hunting_pipeline.quota import Ledger
from hunting_pipeline.settings import load_settings


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


@pytest.fixture
def ledger(unconfigured: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Configure a tenant that does not exist, and return its ledger."""
    for name, value in {"TENANT_ID": "t", "CLIENT_ID": "c", "CLIENT_SECRET": "s"}.items():
        monkeypatch.setenv(f"HUNTING_{name}", value)
    with closing(open_quota(load_settings())) as opened:
        yield opened
