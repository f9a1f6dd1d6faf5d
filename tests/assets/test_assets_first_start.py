"""The first start with a tenant: nothing is requested, then one run, then the rest, oldest days first."""

import datetime
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster_process import Dagster, dagster

from hunting_emulator.process import running
from support import Emulated

pytestmark = pytest.mark.slow
TODAY = datetime.datetime.now(datetime.UTC).date()
OLDEST = str(TODAY - datetime.timedelta(days=28))
TICKS = 75.0
"""Seconds in which every sensor that runs is evaluated at least once."""


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with running(profile="test") as endpoint:
        yield Emulated(endpoint, tenant=None, home=tmp_path_factory.mktemp("first"))  # type: ignore[arg-type] # rows are not compared here


class Config:
    """The settings file of the code location."""

    def __init__(self, path: Path, secret: str) -> None:
        self.path = path
        self.secret = secret
        self.write(secret)

    def write(self, secret: str) -> None:
        self.path.write_text(f'client_secret = "{secret}"\n')


@pytest.fixture(scope="module")
def config(tenant: Emulated, tmp_path_factory: pytest.TempPathFactory) -> Config:
    secret = tenant.endpoint.settings()["HUNTING_CLIENT_SECRET"]
    return Config(tmp_path_factory.mktemp("config") / "hunting.toml", secret)


@pytest.fixture(scope="module")
def location(tenant: Emulated, config: Config) -> Iterator[Dagster]:
    settings = tenant.one_by_one() | {"HUNTING_CONFIG": str(config.path)}
    with dagster(settings, without=("HUNTING_CLIENT_SECRET",)) as started:
        yield started


def days_of(queries: list[str]) -> list[str]:
    """Return the first day in each query."""
    return [found[0] for query in queries if (found := re.search(r"\d{4}-\d\d-\d\d", query))]


def test_nothing_is_requested_before_a_person_acts_and_a_mended_mistake_needs_no_hand(
    location: Dagster, tenant: Emulated, config: Config
) -> None:
    time.sleep(TICKS)
    assert location.runs() == []
    assert tenant.stats()["log"] == []

    config.write("wrong")
    tenant.post("reset")
    location.start_sensor("keep_complete")
    (trial,) = location.until(location.runs, seconds=120)
    assert location.until(lambda: location.ended(trial), seconds=120) == "FAILURE"
    time.sleep(TICKS)
    assert location.runs() == [trial], "a single run fails"
    assert tenant.stats()["sign_ins"] == 1

    config.write(config.secret)
    location.until(lambda: len(location.runs()) > 2, seconds=150)
    person = location.materialize("AlertInfo", str(TODAY), str(TODAY))
    launched = time.monotonic()
    location.until(lambda: location.ended(person), seconds=120)
    assert location.ended(person) == "SUCCESS"
    assert time.monotonic() - launched < 60, "the run of a person waits for no other"
    rows = [call["query"] for call in tenant.stats()["log"] if call["kind"] == "rows"]
    assert days_of(rows)[0] == OLDEST
