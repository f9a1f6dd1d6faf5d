"""A machine whose clock is wrong: the service's time decides what is fetched, and no row is lost."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from hunting_pipeline.catalog import spec
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.model import DAY, HOUR, SECOND, Window, datetime_of, ticks_of
from hunting_pipeline.pipeline import open_lake
from hunting_pipeline.window import SETTLING, partitions_in
from places import Place
from support import DOTNET_EPOCH, NOW, Emulated, Shifted, differences, emulated, window_of_tenant

pytestmark = pytest.mark.stores
TABLE = "AlertInfo"
MIDNIGHT = ticks_of(NOW) // DAY * DAY
TODAY = Window(MIDNIGHT, MIDNIGHT + DAY)
AHEAD = 40 * 60.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    rows = {TABLE: 60_000, "DeviceTvmSoftwareInventory": 300}
    with emulated(tmp_path_factory.mktemp("clock"), rows=rows) as tenant:
        yield tenant


@pytest.fixture
def tenant(running: Emulated, tmp_path: Path, place: Place) -> Iterator[Emulated]:
    running.post("reset")
    yield Emulated(running.endpoint, running.tenant, tmp_path, place)
    set_time(running, 0)
    running.post("config", manners={"date_skew": 0.0})


def set_time(tenant: Emulated, seconds: float) -> None:
    """Set the tenant's clock to `NOW` and some seconds."""
    now = ticks_of(NOW) + round(seconds * SECOND)
    tenant.post("config", now=f"{datetime_of(now):%Y-%m-%dT%H:%M:%SZ}")
    tenant.tenant.configure(now=now + DOTNET_EPOCH)


def shifted(seconds: float) -> Shifted:
    return Shifted(NOW.timestamp() + seconds)


def pull(tenant: Emulated, clock: Shifted, asked: Window = TODAY, table: str = TABLE) -> None:
    with (
        tenant.open(clock=clock) as pipeline,
        pipeline.pull(spec(table), partitions_in(spec(table), asked)) as pulling,
    ):
        list(pulling)


def covered(tenant: Emulated) -> list[Window]:
    return [span for one in load_all(open_lake(tenant.settings()), TABLE) for span in one.covered]


def assert_exact(tenant: Emulated) -> None:
    """Assert that the lake has every row of the spans that count as covered, and no other row."""
    spans = covered(tenant)
    assert spans
    whole = Window(spans[0].start, spans[-1].end)
    assert sum(span.ticks for span in spans) == whole.ticks
    assert differences(tenant.landed(TABLE), window_of_tenant(tenant, TABLE, whole)) == (0, 0)


class Jumping(Shifted):
    """A clock that is set forwards after it was read some times."""

    def __init__(self, reads: int, seconds: float) -> None:
        super().__init__()
        self._reads = reads
        self._seconds = seconds

    def now(self) -> float:
        self._reads -= 1
        return super().now() + (self._seconds if self._reads < 0 else 0.0)


CLOCKS = [
    *(
        pytest.param(lambda seconds=seconds: shifted(seconds), id=f"{seconds:+g}")
        for seconds in (AHEAD, -AHEAD)
    ),
    *(
        pytest.param(lambda reads=reads: Jumping(reads, AHEAD), id=f"jumps at read {reads}")
        for reads in (1, 2, 4, 8)
    ),
]


@pytest.mark.parametrize("clock", CLOCKS)
def test_no_row_is_missing_where_the_lake_counts_as_covered(tenant: Emulated, clock: type[Shifted]) -> None:
    pull(tenant, clock())
    assert covered(tenant)[-1].end <= ticks_of(NOW) - SETTLING
    assert all(
        segment.fetched_at <= one.committed_at <= ticks_of(NOW) + 30 * SECOND
        for one in load_all(open_lake(tenant.settings()), TABLE)
        for segment in one.segments
    )
    set_time(tenant, 7200)
    assert_exact(tenant)
    pull(tenant, shifted(7200))
    assert covered(tenant)[-1].end == ticks_of(NOW) + 2 * HOUR - SETTLING
    assert_exact(tenant)


def test_staged_rows_of_a_crashed_run_are_used_by_a_clock_that_is_ahead(tenant: Emulated) -> None:
    asked = Window(TODAY.start - 4 * DAY, TODAY.end)
    with (
        tenant.open(clock=shifted(0), limits="test", workers=1) as pipeline,
        pipeline.pull(spec(TABLE), partitions_in(spec(TABLE), asked)) as pulling,
    ):
        iterator = iter(pulling)
        next(iterator)
        iterator.close()
    with (
        tenant.open(clock=shifted(AHEAD)) as pipeline,
        pipeline.pull(spec(TABLE), partitions_in(spec(TABLE), asked)) as pulling,
    ):
        list(pulling)
        assert pulling.report.resumed
    assert covered(tenant)[-1].end == ticks_of(NOW) - SETTLING
    assert_exact(tenant)


def test_rows_near_the_retention_edge_are_fetched_although_the_clock_is_ahead(tenant: Emulated) -> None:
    edge = ticks_of(NOW) - 30 * DAY
    asked = Window(edge // DAY * DAY, edge // DAY * DAY + DAY)
    pull(tenant, shifted(AHEAD), asked)
    assert covered(tenant)[0].start <= edge + 15 * 60 * SECOND
    assert_exact(tenant)


def test_a_recount_by_a_clock_that_is_behind_compares_only_what_the_service_still_has(
    tenant: Emulated,
) -> None:
    edge = ticks_of(NOW) - 30 * DAY
    asked = Window(edge // DAY * DAY, edge // DAY * DAY + 2 * DAY)
    pull(tenant, shifted(0), asked)
    set_time(tenant, 7200)
    with tenant.open(clock=shifted(7200 - AHEAD)) as pipeline:
        found = pipeline.recount(spec(TABLE), partitions_in(spec(TABLE), asked))
    assert found.rows > 0
    assert found.equal


@pytest.mark.parametrize("seconds", [3_700.0, -3_700.0, 86_400.0, -86_400.0])
def test_a_clock_that_is_wrong_by_an_hour_is_refused_and_nothing_is_written(
    tenant: Emulated, seconds: float
) -> None:
    said = "ahead of" if seconds > 0 else "behind"
    with pytest.raises(Misconfigured, match=rf"this machine's clock is .* {said} the service's clock"):
        pull(tenant, shifted(seconds), Window(TODAY.start - 3 * DAY, TODAY.end))
    assert tenant.stats()["calls"] == 1, "the call that counts"
    assert not [key for key in tenant.lake.objects() if key.endswith((".parquet", ".json", ".arrow"))]


@pytest.mark.parametrize(("seconds", "warned"), [(30.0, False), (90.0, True), (-90.0, True)])
def test_a_clock_that_is_wrong_by_a_minute_gives_one_warning(
    tenant: Emulated, caplog: pytest.LogCaptureFixture, seconds: float, warned: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        pull(tenant, shifted(seconds), Window(TODAY.start - DAY, TODAY.end))
    assert ["This machine's clock is 0:01:" in text for text in caplog.messages] == [True] * warned


def test_a_pull_of_nothing_by_a_wrong_clock_sends_no_call(tenant: Emulated) -> None:
    yesterday = Window(TODAY.start - DAY, TODAY.start)
    pull(tenant, shifted(0), yesterday)
    tenant.post("reset")
    pull(tenant, shifted(86_400), yesterday)
    assert tenant.stats()["calls"] == 0


def test_the_snapshot_of_a_day_that_has_not_begun_is_not_taken(tenant: Emulated) -> None:
    table = spec("DeviceTvmSoftwareInventory")
    set_time(tenant, 8.5 * 3600)
    partitions = partitions_in(table, Window(TODAY.start, TODAY.end + DAY))
    with (
        tenant.open(clock=shifted(9.1 * 3600)) as pipeline,
        pipeline.pull(table, partitions) as pulling,
    ):
        receipts = list(pulling)
        assert [receipt.partition for receipt in receipts] == [partitions[0]]
        assert pulling.report.future == partitions[1:]


def test_a_plan_uses_the_time_of_the_service(tenant: Emulated) -> None:
    with tenant.open(clock=shifted(AHEAD)) as pipeline:
        planned = pipeline.plan(spec(TABLE), partitions_in(spec(TABLE), TODAY))
    assert planned.backlog.missing[-1][1].end <= ticks_of(NOW) - SETTLING


def test_without_a_date_the_clock_of_the_machine_counts(tenant: Emulated) -> None:
    tenant.post("config", manners={"date_skew": None})
    with tenant.open(clock=shifted(-AHEAD)) as pipeline:
        pipeline.probe(spec(TABLE))
        assert pipeline.client.clock.difference is None
        assert abs(pipeline.now() - ticks_of(NOW) + AHEAD * SECOND) < 30 * SECOND


def test_a_date_that_changes_during_a_run_corrects_the_time(tenant: Emulated) -> None:
    with tenant.open() as pipeline:
        for skew in (0.0, 1_200.0, -1_200.0):
            tenant.post("config", manners={"date_skew": skew})
            pipeline.probe(spec(TABLE))
            assert abs(pipeline.now() - ticks_of(NOW) - skew * SECOND) < 5 * SECOND
