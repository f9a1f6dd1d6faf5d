"""Two pulls of one table at once, into a store without locks: the ledger's claim makes the second wait."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from memory_store import MemoryStore

from hunting_pipeline.catalog import spec
from hunting_pipeline.errors import LakeBusy
from hunting_pipeline.lake import read
from hunting_pipeline.model import Report
from hunting_pipeline.pipeline import Pipeline
from hunting_pipeline.quota import claiming
from hunting_pipeline.window import partitions_in
from support import Emulated, days, differences, emulated, window_of_tenant

SPEC = spec("AlertInfo")
ASKED = days("2026-11-10", "2026-11-14")
PARTITIONS = partitions_in(SPEC, ASKED)


def open_two(stack: ExitStack, tenant: Emulated, store: MemoryStore) -> list[Pipeline]:
    """Open two pipelines that share only the store and the ledger's file."""
    return [replace(stack.enter_context(tenant.open()), store=store) for _ in range(2)]


def pull_at_once(pipelines: list[Pipeline]) -> list[Report]:
    """Pull with every pipeline at once. Return the reports, the one with the most calls first."""
    ready = threading.Barrier(len(pipelines))

    def run(pipeline: Pipeline) -> Report:
        ready.wait(60)
        return pull(pipeline)

    with ThreadPoolExecutor() as pool:
        return sorted(pool.map(run, pipelines), key=lambda report: -report.calls)


def pull(pipeline: Pipeline) -> Report:
    with pipeline.pull(SPEC, PARTITIONS) as pulling:
        list(pulling)
        return pulling.report


def reconcile(pipeline: Pipeline) -> Report:
    with pipeline.reconcile(SPEC, PARTITIONS) as (_, pulling):
        list(pulling)
        return pulling.report


def test_two_pulls_at_once_pay_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claiming, "_POLL_SECONDS", 0.05)
    store = MemoryStore()
    with emulated(tmp_path, rows={SPEC.name: 3_000}) as tenant, ExitStack() as stack:
        first, second = pull_at_once(open_two(stack, tenant, store))
        assert len(first.receipts) == len(PARTITIONS)
        assert (second.calls, second.receipts, set(second.covered)) == (0, (), set(PARTITIONS))
        assert tenant.stats()["calls"] == first.calls
        landed = read.dataset(store, SPEC.name).to_table().drop_columns(["date"])
        assert differences(landed, window_of_tenant(tenant, SPEC.name, ASKED)) == (0, 0)


def test_a_pull_waits_for_a_reconcile_and_names_it_when_it_gives_up(tmp_path: Path) -> None:
    with emulated(tmp_path, rows={SPEC.name: 500}) as tenant, ExitStack() as stack:
        first, second = open_two(stack, tenant, MemoryStore())
        with first.reconcile(SPEC, PARTITIONS):
            words = rf"AlertInfo into the lake memory:.* after 0 seconds \(.*{first.writer.run_id}, since"
            impatient = replace(second, max_wait=0.1)
            before = tenant.stats()["calls"]
            for work in (pull, reconcile):
                with pytest.raises(LakeBusy, match=words):
                    work(impatient)
            assert tenant.stats()["calls"] == before
        assert len(pull(second).receipts) == len(PARTITIONS)
