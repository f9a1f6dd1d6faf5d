"""Publishing after the commits: a publisher is called once a run, with every receipt, and undoes nothing."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
from test_reconcile import alerts, loaded

from hunting_pipeline import publish
from hunting_pipeline.catalog import spec
from hunting_pipeline.errors import BeyondRetention, Misconfigured, ServiceFailed
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.model import DAY, HOUR, Receipt, TableSpec, Window
from hunting_pipeline.pipeline import open_pipeline
from hunting_pipeline.window import partitions_in
from support import WEEK, Emulated, Shifted, emulated

TABLE = "AlertInfo"
ASKED = Window(WEEK.start, WEEK.start + 3 * DAY)


@dataclass
class Ledger:
    """A publisher that keeps one number for each partition: its rows."""

    table: dict[str, int] = field(default_factory=dict)
    runs: list[tuple[str, ...]] = field(default_factory=list)
    fails: bool = False

    def publish(self, store: Store, spec: TableSpec, receipts: Sequence[Receipt]) -> None:
        self.runs.append(tuple(receipt.partition.key for receipt in receipts))
        if self.fails:
            raise ServiceFailed("the table's catalogue does not answer. The lake is complete. Run again")
        self.table = {one.partition.key: one.proof.rows for one in load_all(store, spec.name)}


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Register a format for the time of a test."""
    publisher = Ledger()
    file = ModuleType("hunting_pipeline.publish.ledger")
    vars(file)["open_publisher"] = lambda: publisher
    monkeypatch.setitem(sys.modules, file.__name__, file)
    monkeypatch.setattr(publish, "FORMATS", ("ledger",))
    return publisher


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Emulated:
    home = tmp_path_factory.mktemp("publish")
    data = loaded(home, alerts([WEEK.start + n * HOUR for n in range(72)], [f"a{n}" for n in range(72)]))
    with emulated(home, load={TABLE: data}) as tenant:
        yield tenant


def pulled(running: Emulated, home: Path, asked: Window = ASKED) -> list[Receipt]:
    """Pull with publishing to the ledger, and return the receipts."""
    tenant = Emulated(running.endpoint, running.tenant, home)
    partitions = partitions_in(spec(TABLE), asked)
    with (
        open_pipeline(tenant.settings(), max_wait=60, clock=Shifted(), publish=["ledger"]) as pipeline,
        pipeline.pull(spec(TABLE), partitions) as pull,
    ):
        return list(pull)


def test_a_run_publishes_once_with_every_receipt(running: Emulated, ledger: Ledger, tmp_path: Path) -> None:
    pulled(running, tmp_path)
    assert ledger.runs == [("2026-11-13", "2026-11-14", "2026-11-15")]
    assert ledger.table == {"2026-11-13": 24, "2026-11-14": 24, "2026-11-15": 24}


def test_a_failed_publisher_is_named_and_the_next_run_publishes(
    running: Emulated, ledger: Ledger, tmp_path: Path
) -> None:
    """Every partition is still committed. The next run commits nothing and publishes everything."""
    ledger.fails = True
    with pytest.raises(ServiceFailed, match="catalogue does not answer"):
        pulled(running, tmp_path)
    assert ledger.table == {}
    ledger.fails = False
    assert pulled(running, tmp_path) == []
    assert ledger.runs == [("2026-11-13", "2026-11-14", "2026-11-15"), ()]
    assert ledger.table == {"2026-11-13": 24, "2026-11-14": 24, "2026-11-15": 24}


def test_a_partition_that_fails_does_not_stop_the_publishing_of_others(
    running: Emulated, ledger: Ledger, tmp_path: Path
) -> None:
    ledger.fails = True
    forgotten = Window(WEEK.start - 40 * DAY, WEEK.start - 39 * DAY)
    both = [*partitions_in(spec(TABLE), forgotten), *partitions_in(spec(TABLE), ASKED)]
    tenant = Emulated(running.endpoint, running.tenant, tmp_path)
    with (
        open_pipeline(tenant.settings(), max_wait=60, clock=Shifted(), publish=["ledger"]) as pipeline,
        pipeline.pull(spec(TABLE), both) as pull,
        pytest.raises(ServiceFailed, match="catalogue does not answer") as caught,
    ):
        list(pull)
    assert ledger.runs == [("2026-11-13", "2026-11-14", "2026-11-15")]
    assert any("the service no longer holds" in note for note in caught.value.__notes__)
    ledger.fails = False
    with pytest.raises(BeyondRetention):
        pulled(running, tmp_path, forgotten)
    assert ledger.table == {"2026-11-13": 24, "2026-11-14": 24, "2026-11-15": 24}


def test_an_unknown_format_is_refused_before_any_call(running: Emulated, tmp_path: Path) -> None:
    running.post("reset")
    with pytest.raises(Misconfigured, match="`publish` names unknown formats: ledger"):
        pulled(running, tmp_path)
    assert running.stats()["calls"] == 0
