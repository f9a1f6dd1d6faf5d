"""The quota as an asset: it shows the figures of the ledger, and warns of a block or a long wait."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from hunting_pipeline.apis import APIS
from hunting_pipeline.limits import GRAPH
from hunting_pipeline.orchestration.keys import HEALTHY, SUPPORTED
from hunting_pipeline.orchestration.quota_asset import healthy_result, quota_asset
from hunting_pipeline.orchestration.resources import hunting_of
from hunting_pipeline.quota import Ledger, Priority, Reservation, Usage, open_ledger
from hunting_pipeline.quota.report import describe_left


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Open the ledger of the settings. They name a tenant that receives no call."""
    for name in ("TENANT_ID", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"HUNTING_{name}", "t")
    opened = open_ledger(str(tmp_path / "quota.sqlite"), tenant="t", limits=GRAPH)
    yield opened
    opened.close()


def spend(ledger: Ledger, calls: int) -> None:
    for _ in range(calls):
        reservation = ledger.reserve(table="T", priority=Priority.BACKFILL, owner="me")
        assert isinstance(reservation, Reservation)
        ledger.settle(reservation, seconds=2)


def run() -> dg.ExecuteInProcessResult:
    hunting = hunting_of()
    resources = {hunting.key: hunting}
    return dg.materialize([quota_asset(hunting)], resources=resources, raise_on_error=False)


def checked(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    (found,) = [one for one in result.get_asset_check_evaluations() if one.check_name == name]
    return found


@pytest.mark.parametrize("api", APIS)
def test_an_api_that_ends_is_a_warning_with_its_date(
    api: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUNTING_API", api)
    check = checked(run(), SUPPORTED)
    assert check.passed is (APIS[api].ends is None)
    if not check.passed:
        assert check.severity is dg.AssetCheckSeverity.WARN
        said = str(check.description)
        assert all(word in said for word in ("2027", "MC1220762", "ThreatHunting"))


def test_the_asset_reports_spent_and_remaining_calls_and_their_owners(ledger: Ledger) -> None:
    spend(ledger, 6)
    result = run()
    (event,) = result.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    assert {name: metadata[f"calls in 60 s: {name}"].value for name in ("spent", "reserved", "left")} == {
        "spent": 6.0,
        "reserved": 0.0,
        "left": 30.0,
    }
    assert metadata["calls by owner"].value == {"me": 6}
    assert re.search(r"\d\d:00       6 calls       12 s  █{30}\n", str(metadata["calls by hour"].value))
    check = checked(result, HEALTHY)
    assert (check.passed, check.description) == (True, "30 of 36 calls in 60 s left")


def test_a_throttled_tenant_gives_a_warning_with_end_and_reason(ledger: Ledger) -> None:
    ledger.block(until=time.time() + 2871, reason="CpuQuotaExceeded")
    result = run()
    check = checked(result, HEALTHY)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert str(check.description).startswith("blocked until 20")
    assert str(check.description).endswith("UTC: CpuQuotaExceeded")


def test_a_call_that_waits_too_long_gives_a_warning(ledger: Ledger) -> None:
    usage: Usage = ledger.usage()
    assert healthy_result(replace(usage, longest_wait=900)).passed
    starving = healthy_result(replace(usage, longest_wait=901))
    assert not starving.passed
    assert starving.description == "a call has been waiting in the queue for 15 minutes"
    assert describe_left(usage) == "36 of 36 calls in 60 s left"


def test_without_a_tenant_the_error_says_what_to_set() -> None:
    result = run()
    (failed,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failed.user_failure_data is not None
    assert "HUNTING_TENANT_ID" in str(failed.user_failure_data.description)
