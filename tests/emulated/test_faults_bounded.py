"""The cost of a fault: the calls that it causes, and the partitions that it affects."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hunting_emulator.faults import KINDS
from hunting_pipeline.catalog import spec
from hunting_pipeline.errors import HuntingError, Refused, ReplyUnreadable, ServiceFailed
from hunting_pipeline.pipeline import open_pipeline
from hunting_pipeline.quota.outage import DOWN_SECONDS
from hunting_pipeline.window import partitions_in
from places import Place
from support import MAX_WAIT, Emulated, Leaping, days, differences, emulated, window_of_tenant

pytestmark = pytest.mark.stores
ASKED = days("2026-11-01", "2026-11-20")
"""Nineteen whole days."""

PACE = 0.01
"""Pauses are a hundred times shorter, but still longer than a call."""

TABLES = ("AlertInfo", "EmailEvents", "DeviceLogonEvents", "IdentityLogonEvents", "UrlClickEvents")


SMALL = "AlertEvidence"
"""A table whose bins fit in one histogram."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    rows = {"AlertInfo": 3_000, SMALL: 600} | dict.fromkeys(TABLES[1:], 6_000)
    with emulated(tmp_path_factory.mktemp("faults"), rows=rows) as tenant:
        yield tenant


@pytest.fixture
def tenant(running: Emulated, tmp_path: Path, place: Place) -> Emulated:
    """Return the same tenant without faults, and with a separate lake and ledger for each test."""
    calm(running)
    running.post("reset")
    return Emulated(running.endpoint, running.tenant, tmp_path, place)


def calm(tenant: Emulated) -> None:
    tenant.post(
        "config",
        faults={"share": 0.0, "clear": True, "on": "any"},
        manners={"garbled": None, "withheld": None},
    )


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


@pytest.mark.parametrize(
    "fault",
    ["gateway", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("timeout", "unavailable"))],
)
@pytest.mark.parametrize("on", ["rows", pytest.param("any", marks=pytest.mark.slow)])
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


@pytest.mark.slow
def test_a_reply_that_always_lacks_a_row_costs_its_partition_and_few_calls(tenant: Emulated) -> None:
    """Every reply of the tenant lacks a row, so no partition with rows is committed."""
    tenant.post("config", faults={"share": 1.0, "kinds": ["short"], "on": "rows"})
    committed, errors = pull(tenant, "AlertInfo", clock=Leaping(PACE))
    assert not committed
    (error,) = errors
    assert isinstance(error, ReplyUnreadable)
    assert "the service counts" in str(error)
    assert tenant.stats()["calls"] <= 8 * 2 * 19
    calm(tenant)
    _, errors = pull(tenant, "AlertInfo", clock=Leaping(PACE))
    assert not errors
    assert exact(tenant, "AlertInfo")


@pytest.mark.slow
def test_a_row_that_is_counted_and_never_sent_costs_only_its_partition(tenant: Emulated) -> None:
    tenant.post("config", manners={"withheld": a_name(tenant, "EmailEvents")})
    committed, errors = pull(tenant, "EmailEvents", clock=Leaping(PACE))
    (error,) = errors
    assert isinstance(error, ReplyUnreadable)
    assert re.search(r"the service counts (\d+) rows and sends \d+ rows", str(error))
    assert len(committed) == 18
    assert tenant.stats()["calls"] <= 50
    calm(tenant)
    _, errors = pull(tenant, "EmailEvents", clock=Leaping(PACE))
    assert not errors
    assert exact(tenant, "EmailEvents")


def a_name(tenant: Emulated, table: str) -> str:
    """Return a text that only one row of the table has."""
    column = window_of_tenant(tenant, table, ASKED)["InternetMessageId"].to_pylist()
    return next(name for name in column if len(name) == 36)


@pytest.mark.slow
def test_one_unreadable_row_costs_only_its_partition(tenant: Emulated) -> None:
    name = a_name(tenant, "EmailEvents")
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


FINAL = {"echo": Refused, "teapot": Refused}
"""Faults that a service means: the call is not repeated."""

ONCE = sorted({*KINDS} - {*FINAL, "hang"})
"""Faults of one call. `hang` would take the time of a request."""

SHORT = sorted({*ONCE[::2], "miscount"})
"""The faults in the short tests. `make nightly` tests all."""


@pytest.mark.slow
@pytest.mark.parametrize(("on", "table"), [("histogram", SMALL), ("rows", "EmailEvents")])
def test_one_fault_of_any_kind_costs_a_few_calls_and_no_partition(
    tenant: Emulated, on: str, table: str, record_property: Callable[[str, object], None]
) -> None:
    pull(tenant, table, clock=Leaping(PACE))
    quiet = tenant.stats()["calls"]
    costs: dict[str, int] = {}
    for number, fault in enumerate(ONCE if os.environ.get("HUNTING_LONG") else SHORT):
        home, place = tenant.home / str(number), tenant.lake.at(f"lake{number}")
        again = Emulated(tenant.endpoint, tenant.tenant, home, place)
        again.home.mkdir()
        tenant.post("reset")
        tenant.post("config", faults={"queue": [fault], "on": on})
        committed, errors = pull(again, table, clock=Leaping(PACE))
        assert not errors, fault
        assert len(committed) == 19, fault
        assert exact(again, table), fault
        costs[fault] = tenant.stats()["calls"] - quiet
        calm(tenant)
    record_property(f"report: more calls after one fault of a query for {on}", costs)
    assert max(costs.values()) <= 6, costs
    assert costs["miscount"] == (on == "histogram"), "an impossible count is asked for again"


@pytest.mark.slow
@pytest.mark.parametrize("fault", FINAL)
def test_a_final_refusal_ends_the_run_and_blocks_no_later_run(tenant: Emulated, fault: str) -> None:
    tenant.post("config", faults={"queue": [fault], "on": "rows"})
    _, errors = pull(tenant, "EmailEvents", clock=Leaping(PACE))
    assert [type(error) for error in errors] == [FINAL[fault]]
    _, errors = pull(tenant, "EmailEvents", clock=Leaping(PACE))
    assert not errors
    assert exact(tenant, "EmailEvents")
