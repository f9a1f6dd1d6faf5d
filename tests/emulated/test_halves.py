"""If a histogram query is too large for the service, each half is queried, and the lake is exact."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hunting_pipeline.catalog import spec
from places import Place
from support import WEEK, Emulated, differences, emulated, window_of_tenant

pytestmark = pytest.mark.stores
TABLE = "DeviceLogonEvents"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with emulated(tmp_path_factory.mktemp("halves"), rows={TABLE: 6_000}) as tenant:
        yield tenant


@pytest.fixture
def tenant(running: Emulated, tmp_path: Path, place: Place) -> Emulated:
    running.post("config", faults={"clear": True, "share": 0.0, "on": "histogram"})
    running.post("reset")
    return Emulated(running.endpoint, running.tenant, tmp_path, place)


def histograms(tenant: Emulated) -> list[str]:
    """Return the outcomes of the queries for histograms, sorted."""
    return sorted(call["outcome"] for call in tenant.stats()["log"] if call["kind"] == "histogram")


@pytest.mark.parametrize("fault", ["preempted", "too_big"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_histogram_that_is_refused_is_queried_again_in_halves(
    tenant: Emulated, fault: str, times: int
) -> None:
    """Each refusal costs three calls: the refused call, the count of a second half, and that half's rows."""
    tenant.post("config", faults={"queue": [fault] * times})
    report, _ = tenant.pull(spec(TABLE), WEEK)
    assert histograms(tenant) == sorted([fault] * times + ["ok"] * (times + 1))
    assert report.calls == 3 * times + 2
    assert differences(tenant.landed(TABLE), window_of_tenant(tenant, TABLE, WEEK)) == (0, 0)


@pytest.mark.parametrize("fault", ["timeout", "gateway"])
@pytest.mark.parametrize(("times", "more"), [(1, 1), (2, 4)])
def test_a_histogram_without_an_answer_is_queried_once_more_and_then_in_halves(
    tenant: Emulated, fault: str, times: int, more: int
) -> None:
    tenant.post("config", faults={"queue": [fault] * times})
    report, _ = tenant.pull(spec(TABLE), WEEK)
    assert histograms(tenant).count(fault) == times
    assert report.calls == 2 + more
    assert differences(tenant.landed(TABLE), window_of_tenant(tenant, TABLE, WEEK)) == (0, 0)


@pytest.mark.slow
def test_a_histogram_that_hangs_past_the_timeout_is_queried_again(tenant: Emulated) -> None:
    """The `test` limits allow eleven seconds without a reply."""
    tenant.post("config", faults={"queue": ["hang"]}, manners={"hang_seconds": 13.0})
    tenant.pull(spec(TABLE), WEEK, limits="test")
    assert "ok" in histograms(tenant)
    assert differences(tenant.landed(TABLE), window_of_tenant(tenant, TABLE, WEEK)) == (0, 0)
