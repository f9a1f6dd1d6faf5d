"""The cost of a fault: the calls that it causes, and the partitions that it affects."""

from pathlib import Path
from typing import Any

import pytest

from hunting_pipeline.catalog import spec
from hunting_pipeline.errors import HuntingError, ReplyUnreadable, ServiceFailed
from hunting_pipeline.pipeline import open_pipeline
from hunting_pipeline.quota.outage import DOWN_SECONDS
from hunting_pipeline.window import partitions_in
from support import MAX_WAIT, Emulated, Leaping, days, differences, emulated, window_of_tenant

ASKED = days("2026-11-01", "2026-11-20")
"""Nineteen whole days."""

PACE = 0.01
"""Pauses are a hundred times shorter, but still longer than a call."""

TABLES = ("AlertInfo", "EmailEvents", "DeviceLogonEvents", "IdentityLogonEvents", "UrlClickEvents")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    rows = {"AlertInfo": 3_000} | dict.fromkeys(TABLES[1:], 6_000)
    with emulated(tmp_path_factory.mktemp("faults"), rows=rows) as tenant:
        yield tenant


@pytest.fixture
def tenant(running: Emulated, tmp_path: Path) -> Emulated:
    """Return the same tenant without faults, and with a separate lake and ledger for each test."""
    calm(running)
    running.post("reset")
    return Emulated(running.endpoint, running.tenant, tmp_path)


def calm(tenant: Emulated) -> None:
    tenant.post("config", faults={"share": 0.0, "clear": True, "on": "any"}, manners={"garbled": None})


def pull(tenant: Emulated, *tables: str, clock: Leaping) -> tuple[list[str], list[HuntingError]]:
    """Pull some tables. Return the keys of the committed partitions, and the errors."""
    committed, errors = [], []
    settings = tenant.settings(limits="test")
    with open_pipeline(settings, max_wait=MAX_WAIT, clock=clock) as pipeline:
        for table in tables:
            asked = partitions_in(spec(table), ASKED)
            with pipeline.pull(spec(table), asked) as pulling:
                try:
                    committed += [receipt.partition.key for receipt in pulling]
                except HuntingError as error:
                    committed += [receipt.partition.key for receipt in pulling.report.receipts]
                    errors.append(error)
    return committed, errors


def exact(tenant: Emulated, table: str) -> bool:
    return differences(tenant.landed(table), window_of_tenant(tenant, table, ASKED)) == (0, 0)


@pytest.mark.parametrize("fault", ["gateway", "timeout", "error", "unavailable", "reset"])
@pytest.mark.parametrize("on", ["rows", "any"])
def test_an_outage_costs_ten_calls_a_table_and_thirty_a_tenant(tenant: Emulated, fault: str, on: str) -> None:
    clock = Leaping(PACE)
    tenant.post("config", faults={"share": 1.0, "kinds": [fault], "on": on})
    committed, errors = pull(tenant, *TABLES, clock=clock)
    stats = tenant.stats()
    assert not committed
    assert all(isinstance(error, ServiceFailed) for error in errors)
    assert errors[-1].everything  # type: ignore[attr-defined]
    assert max(stats["by_table"].values()) <= 10
    assert stats["calls"] <= 30
    calm(tenant)
    clock.sleep(DOWN_SECONDS)
    _, errors = pull(tenant, TABLES[1], clock=clock)
    assert not errors
    assert exact(tenant, TABLES[1])


def test_an_outage_of_a_minute_ends_no_run(tenant: Emulated) -> None:
    tenant.post("config", faults={"queue": ["gateway"] * 5, "on": "rows"})
    _, errors = pull(tenant, "EmailEvents", clock=Leaping(PACE))
    assert not errors
    assert exact(tenant, "EmailEvents")


def test_a_reply_that_always_lacks_a_row_costs_its_partition_and_few_calls(tenant: Emulated) -> None:
    """Every reply of the tenant lacks a row, so no partition with rows is committed."""
    tenant.post("config", faults={"share": 1.0, "kinds": ["short"], "on": "rows"})
    committed, errors = pull(tenant, "AlertInfo", clock=Leaping(PACE))
    assert not committed
    (error,) = errors
    assert isinstance(error, ReplyUnreadable)
    assert "the service counts" in str(error)
    assert tenant.stats()["calls"] <= 6 * 2 * 19 + 10
    calm(tenant)
    _, errors = pull(tenant, "AlertInfo", clock=Leaping(PACE))
    assert not errors
    assert exact(tenant, "AlertInfo")


def test_one_unreadable_row_costs_only_its_partition(tenant: Emulated) -> None:
    rows = window_of_tenant(tenant, "EmailEvents", ASKED)
    name = next(name for name in rows["InternetMessageId"].to_pylist() if len(name) == 36)
    tenant.post("config", manners={"garbled": name})
    committed, errors = pull(tenant, "EmailEvents", clock=Leaping(PACE))
    (error,) = errors
    assert isinstance(error, ReplyUnreadable)
    assert len(committed) == 18
    assert "(1 rows)" in str(error)
    assert "after byte" in str(error)
    assert name not in str(error)
    calm(tenant)
    _, errors = pull(tenant, "EmailEvents", clock=Leaping(PACE))
    assert not errors
    assert exact(tenant, "EmailEvents")


def test_one_impossible_count_is_asked_for_again(tenant: Emulated) -> None:
    tenant.post("config", faults={"queue": ["miscount"], "on": "histogram"})
    _, errors = pull(tenant, "EmailEvents", clock=Leaping(PACE))
    assert not errors
    assert exact(tenant, "EmailEvents")
