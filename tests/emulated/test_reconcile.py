"""Late rows, rows without a time, identical rows, a retention limit that moves: the lake stays exact."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hunting_pipeline.catalog import spec
from hunting_pipeline.errors import (
    BeyondRetention,
    CommitRefused,
    QuotaExhausted,
    ServiceFailed,
    SliceTooDense,
)
from hunting_pipeline.model import DAY, HOUR, SECOND, Progress, Receipt, Step, Window, ticks_of
from hunting_pipeline.pipeline import Pipeline, Recount, open_pipeline
from hunting_pipeline.window import partitions_in
from places import Place
from support import (
    DOTNET_EPOCH,
    NOW,
    WEEK,
    Emulated,
    Leaping,
    Shifted,
    days,
    differences,
    emulated,
    window_of_tenant,
)

pytestmark = pytest.mark.stores
ALERTS = [
    ("AlertId", pa.string()),
    ("Title", pa.string()),
    ("Category", pa.string()),
    ("Severity", pa.string()),
    ("ServiceSource", pa.string()),
    ("DetectionSource", pa.string()),
    ("AttackTechniques", pa.string()),
]


def alerts(times: list[int | None], names: list[str]) -> pa.Table:
    """Build AlertInfo rows at Unix ticks. Apart from the time, they differ only in their id."""
    dotnet = [None if time is None else time + DOTNET_EPOCH for time in times]
    rest = {name: pa.array(names if name == "AlertId" else ["x"] * len(names), kind) for name, kind in ALERTS}
    return pa.table({"Timestamp": pa.array(dotnet, pa.int64())} | rest)


def loaded(home: Path, table: pa.Table, name: str = "AlertInfo") -> Path:
    path = home / f"{name}.parquet"
    pq.write_table(table, path)
    return path


def test_a_reconcile_archives_late_rows_and_changes_nothing_else(tmp_path: Path, place: Place) -> None:
    """Rows arrive up to three days late. After the reconcile, the lake is exact again."""
    late = {"late_share": 0.02, "late_seconds": 3 * 86400.0, "clock_runs": True}
    with emulated(tmp_path, place, rows={"DeviceLogonEvents": 200_000}, **late) as tenant:
        table = spec("DeviceLogonEvents")
        asked = days("2026-11-06", "2026-11-20")
        tenant.pull(table, asked)
        before = place.contents(".parquet")
        later = NOW.timestamp() + 4 * 86400
        tenant.post("config", now="2026-11-24T15:00:00Z")
        tenant.tenant.configure(now=ticks_of(NOW) + 4 * DAY + DOTNET_EPOCH)
        tenant.post("reset")
        clock = Shifted(later)
        with tenant.open(clock=clock) as pipeline:
            with pipeline.reconcile(table, partitions_in(table, asked)) as (found, pull):
                assert found.grown
                assert not found.shrunk
                receipts = list(pull)
            with pipeline.reconcile(table, partitions_in(table, asked)) as (again, pull):
                assert again.equal
                assert list(pull) == []
        assert differences(tenant.landed(table.name), window_of_tenant(tenant, table.name, asked)) == (0, 0)
        changed = {receipt.partition.key for receipt in receipts}
        assert changed == {"2026-11-17", "2026-11-18", "2026-11-19"}
        for key, content in before.items():
            assert (place.read(key) == content) == (key.split("/")[1].removeprefix("date=") not in changed)
        assert tenant.stats()["calls"] <= 3 + 3  # three counts; three days of 7,000 rows each


@pytest.mark.stores("fast")
def test_rows_without_a_time_are_fetched_once(tmp_path: Path, place: Place) -> None:
    times = [WEEK.start + n * HOUR for n in range(100)] + [None] * 7
    data = loaded(tmp_path, alerts(times, [f"a{n}" for n in range(107)]))
    with emulated(tmp_path, place, load={"AlertInfo": data}) as tenant:
        tenant.tenant.load("AlertInfo", data)
        report, receipts = tenant.pull(spec("AlertInfo"), WEEK)
        assert [receipt.proof.rows for receipt in receipts if receipt.partition.null_time] == [7]
        assert differences(tenant.landed("AlertInfo"), window_of_tenant(tenant, "AlertInfo")) == (0, 0)
        assert report.calls == 4
        again, receipts = tenant.pull(spec("AlertInfo"), WEEK)
        assert (again.calls, receipts) == (0, [])


@pytest.mark.slow
def test_one_tick_with_more_distinct_rows_than_a_reply_is_archived_exactly(
    tmp_path: Path, place: Place
) -> None:
    data = loaded(tmp_path, alerts([WEEK.start + 5 * HOUR + 3] * 250_000, [f"a{n}" for n in range(250_000)]))
    with emulated(tmp_path, place, load={"AlertInfo": data}) as tenant:
        tenant.tenant.load("AlertInfo", data)
        tenant.pull(spec("AlertInfo"), WEEK)
        assert differences(tenant.landed("AlertInfo"), window_of_tenant(tenant, "AlertInfo")) == (0, 0)


def test_one_tick_of_identical_rows_is_archived_exactly(tmp_path: Path, place: Place) -> None:
    table = alerts([WEEK.start + 5 * HOUR + 3] * 250_000, ["a"] * 250_000)
    data = loaded(tmp_path, table)
    with emulated(tmp_path, place, load={"AlertInfo": data}) as tenant:
        tenant.tenant.load("AlertInfo", data)
        tenant.pull(spec("AlertInfo"), WEEK)
        assert differences(tenant.landed("AlertInfo"), window_of_tenant(tenant, "AlertInfo")) == (0, 0)


def test_a_recount_does_not_wait_for_a_pull(tmp_path: Path, place: Place) -> None:
    """A pull of the same table holds the lock during the recount."""
    times = [WEEK.start + n * HOUR for n in range(48)]
    data = loaded(tmp_path, alerts(times, [f"a{n}" for n in range(48)]))
    table, asked = spec("AlertInfo"), Window(WEEK.start, WEEK.start + 2 * DAY)
    partitions = partitions_in(table, asked)
    with emulated(tmp_path, place, load={"AlertInfo": data}) as tenant:
        tenant.pull(table, asked)
        with tenant.open() as pipeline, tenant.open() as other, pipeline.pull(table, partitions):
            found: list[Recount] = []
            counting = Thread(target=lambda: found.append(other.recount(table, partitions)), daemon=True)
            counting.start()
            counting.join(timeout=60)
        assert [(one.rows, one.equal, one.calls) for one in found] == [(48, True, 1)]


@pytest.mark.stores("fast")
def test_fewer_rows_than_archived_are_refused_unless_forced(tmp_path: Path, place: Place) -> None:
    times = [WEEK.start + n * HOUR for n in range(100)]
    data = loaded(tmp_path, alerts(times, [f"a{n}" for n in range(100)]))
    fewer = loaded(tmp_path, alerts(times[1:], [f"a{n}" for n in range(99)]), "Fewer")
    asked = Window(WEEK.start, WEEK.start + DAY)
    with emulated(tmp_path, place, load={"AlertInfo": data}) as tenant:
        tenant.pull(spec("AlertInfo"), asked)
        before = place.contents(".parquet")
    with emulated(tmp_path, place, load={"AlertInfo": fewer}) as tenant, tenant.open() as pipeline:
        partitions = partitions_in(spec("AlertInfo"), asked)
        with pipeline.reconcile(spec("AlertInfo"), partitions) as (found, pull):
            assert [window.start for window in found.shrunk] == [WEEK.start]
            assert list(pull) == []
        assert place.contents(".parquet") == before
        with pipeline.reconcile(spec("AlertInfo"), partitions, force=True) as (found, pull):
            (receipt,) = pull
        assert receipt.proof.rows == 23


@pytest.mark.slow
def test_rows_of_another_query_are_replaced_only_on_request(tmp_path: Path, place: Place) -> None:
    """A row arrives late, after `columns` has changed."""
    times = [WEEK.start + n * HOUR for n in range(48)]
    data = loaded(tmp_path, alerts(times, [f"a{n}" for n in range(48)]))
    later = loaded(tmp_path, alerts([*times, WEEK.start + 7], [f"a{n}" for n in range(49)]), "Later")
    old, asked = spec("AlertInfo"), Window(WEEK.start, WEEK.start + 2 * DAY)
    new = replace(old, columns=("Timestamp", "AlertId"))
    with emulated(tmp_path, place, load={"AlertInfo": data}) as tenant:
        tenant.pull(old, asked)
    with emulated(tmp_path, place, load={"AlertInfo": later}) as tenant:
        with tenant.open() as pipeline, pipeline.reconcile(new, partitions_in(new, asked)) as (found, pull):
            assert found.other_query == partitions_in(new, asked)
            assert list(pull) == []
        for span in (asked, Window(asked.end, asked.end + DAY)):
            with pytest.raises(CommitRefused, match=r"AlertInfo: 2026-11-14 was archived by another query"):
                tenant.pull(new, span)
        assert tenant.stats()["calls"] == 0
        tenant.pull(new, asked, renew=True)
        landed = tenant.landed("AlertInfo")
        assert landed.num_rows == 49
        assert set(landed.column_names) >= {"Timestamp", "AlertId"}
        assert landed["Title"].null_count == 49


def test_a_partly_forgotten_partition_of_another_query_stays_unchanged(tmp_path: Path, place: Place) -> None:
    """The whole partition can no longer be fetched."""
    first = (ticks_of(NOW) - 30 * DAY) // DAY * DAY
    asked = Window(first, first + DAY)
    data = loaded(tmp_path, alerts([first + n * HOUR for n in range(24)], [f"a{n}" for n in range(24)]))
    old = spec("AlertInfo")
    with emulated(tmp_path, place, load={"AlertInfo": data}, now="2026-11-19T12:00:00Z") as tenant:
        tenant.pull(old, asked, clock=Shifted(NOW.timestamp() - 27 * 3600))
    with emulated(tmp_path, place, load={"AlertInfo": data}) as tenant:
        report, _ = tenant.pull(replace(old, columns=("Timestamp", "AlertId")), asked, renew=True)
        assert (report.calls, report.covered) == (0, partitions_in(old, asked))


class _Waiting(Shifted):
    """A clock that jumps when a test sets `jump`."""

    jump = 0.0

    def now(self) -> float:
        return super().now() + self.jump


def test_an_edge_that_passes_a_slice_leaves_an_exact_partition(tmp_path: Path, place: Place) -> None:
    """The service forgets half a day between plan and fetch. The rest is archived with its exact span."""
    first = ticks_of(NOW) - 30 * DAY
    with emulated(tmp_path, place, rows={"AlertInfo": 20_000}) as tenant:
        table, clock = spec("AlertInfo"), _Waiting()
        asked = Window(first // DAY * DAY + DAY, first // DAY * DAY + 3 * DAY)
        with open_pipeline(tenant.settings(), max_wait=1, clock=clock) as pipeline:
            receipts = _pull_while_time_passes(pipeline, tenant, clock, asked)
        moved = first + int(clock.jump) * SECOND
        covered = [span for receipt in receipts for span in receipt.covered]
        assert all(span.start >= moved for span in covered)
        assert covered[-1].end == asked.end
        for span in covered:
            available = window_of_tenant(tenant, table.name, span)
            assert available.num_rows > 0
        landed = tenant.landed(table.name)
        whole = Window(covered[0].start, covered[-1].end)
        assert differences(landed, window_of_tenant(tenant, table.name, whole)) == (0, 0)


@pytest.mark.parametrize(
    ("hours", "available"), [(9.5, 3_000), (18.0, 0)], ids=["before the tick", "after it"]
)
def test_an_edge_that_passes_between_the_buckets_of_a_tick_leaves_an_exact_partition(
    tmp_path: Path, place: Place, hours: float, available: int
) -> None:
    """Buckets of a partly forgotten span are useless: the remaining span is queried again."""
    first = ticks_of(NOW) // DAY * DAY - 29 * DAY
    asked, dense = Window(first, first + 2 * DAY), first + 8 * HOUR
    times = [first + n * HOUR for n in range(9, 48)] + [dense] * 3_000
    data = loaded(tmp_path, alerts(times, [f"a{n}" for n in range(len(times))]))
    with emulated(tmp_path, place, load={"AlertInfo": data}, limits={"rows": 1_000}) as tenant:
        table, clock, reports = spec("AlertInfo"), _Waiting(), []

        def jump(progress: Progress) -> None:
            reports.append(progress)
            if progress.step is Step.FETCHED and "is cut into 8" in reports[-2].message:
                clock.jump = hours * 3600
                later = NOW + timedelta(hours=hours)
                tenant.post("config", now=f"{later:%Y-%m-%dT%H:%M:%SZ}")

        with (
            tenant.open(clock=clock, limits="test", workers=1) as pipeline,
            pipeline.pull(table, partitions_in(table, asked), observe=jump) as pull,
        ):
            receipts = list(pull)
        assert clock.jump
        assert pull.report.calls < 30
        tenant.tenant.load(table.name, data)
        spans = [span for receipt in receipts for span in receipt.covered]
        there = pa.concat_tables(window_of_tenant(tenant, table.name, span) for span in spans)
        assert there.num_rows == 39 + available
        assert differences(tenant.landed(table.name), there) == (0, 0)


def _pull_while_time_passes(
    pipeline: Pipeline, tenant: Emulated, clock: _Waiting, asked: Window
) -> tuple[Receipt, ...]:
    def jump(progress: object) -> None:
        if not clock.jump:
            clock.jump = 36 * 3600.0
            tenant.post("config", now="2026-11-22T03:00:00Z")

    spec_ = spec("AlertInfo")
    with pipeline.pull(spec_, partitions_in(spec_, asked), observe=jump) as pull:
        with pytest.raises(BeyondRetention):
            list(pull)
        return pull.report.receipts


def test_a_row_larger_than_a_reply_is_named_and_all_other_days_are_archived(
    tmp_path: Path, place: Place
) -> None:
    """One row has 600 kB, a reply at most 500 kB. The row's day stays a gap. All other days are archived."""
    times = [WEEK.start + n * HOUR for n in range(100)]
    table = alerts(times, [f"a{n}" for n in range(100)])
    titles = ["x"] * 50 + ["y" * 600_000] + ["x"] * 49
    data = loaded(tmp_path, table.set_column(2, "Title", pa.array(titles)))
    with emulated(tmp_path, place, load={"AlertInfo": data}, limits={"bytes": 500_000}) as tenant:
        with pytest.raises(SliceTooDense, match=r"AlertInfo .*\(1 rows\) cannot be cut further"):
            tenant.pull(spec("AlertInfo"), WEEK)
        tenant.tenant.load("AlertInfo", data)
        hole = WEEK.start + 2 * DAY
        whole = tenant.landed("AlertInfo")
        assert whole.num_rows == 100 - 24
        for span in (Window(WEEK.start, hole), Window(hole + DAY, WEEK.end)):
            keys = list(partitions_in(spec("AlertInfo"), span))
            landed = tenant.landed("AlertInfo", keys)
            assert differences(landed, window_of_tenant(tenant, "AlertInfo", span)) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
def test_a_null_time_row_larger_than_a_reply_is_named_and_all_rows_with_a_time_are_archived(
    tmp_path: Path, place: Place, workers: int
) -> None:
    """The other slices of the rows that were given up are not fetched."""
    times = [WEEK.start + n * HOUR for n in range(100)]
    table = alerts([*times, *[None] * 3_000], [f"a{n}" for n in range(3_100)])
    titles = ["x"] * 200 + ["y" * 1_200_000] + ["x"] * 2_899
    data = loaded(tmp_path, table.set_column(2, "Title", pa.array(titles)))
    with emulated(
        tmp_path, place, load={"AlertInfo": data}, limits={"rows": 1_000, "bytes": 1_000_000}
    ) as tenant:
        with pytest.raises(SliceTooDense, match=r"snapshot bucket .* \(1 rows\) cannot be cut further"):
            tenant.pull(spec("AlertInfo"), WEEK, limits="test", workers=workers)
        assert tenant.landed("AlertInfo").num_rows == 100


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["timeout", "gateway"])
@pytest.mark.parametrize("hours", [[], [5]], ids=["no row", "one row"])
def test_a_query_for_at_most_one_row_is_retried_if_the_service_is_busy(
    tmp_path: Path, place: Place, fault: str, hours: list[int]
) -> None:
    data = loaded(tmp_path, alerts([WEEK.start + n * HOUR for n in hours], ["a"] * len(hours)))
    with emulated(tmp_path, place, load={"AlertInfo": data}) as tenant:
        tenant.post("config", faults={"on": "rows", "queue": [fault]})
        _, receipts = tenant.pull(spec("AlertInfo"), Window(WEEK.start, WEEK.start + DAY))
        assert [receipt.proof.rows for receipt in receipts] == [len(hours)]
        assert [call["outcome"] for call in tenant.stats()["log"]] == ["ok", fault, "ok"]


@pytest.mark.slow
def test_a_spent_quota_is_reported_before_a_row_that_is_too_large(tmp_path: Path, place: Place) -> None:
    """A second run archives the rest. A message about the row alone would suggest that it is useless."""
    times = [WEEK.start + n * HOUR // 2 for n in range(300)]
    titles = ["x" * 30_000] * 300
    titles[10] = "y" * 600_000
    table = alerts(times, [f"a{n}" for n in range(300)])
    data = loaded(tmp_path, table.set_column(2, "Title", pa.array(titles)))
    with emulated(tmp_path, place, load={"AlertInfo": data}, limits={"bytes": 500_000}) as tenant:
        partitions = partitions_in(spec("AlertInfo"), WEEK)

        def fail(progress: Progress) -> None:
            if progress.step is Step.COMMITTED:
                tenant.post("config", faults={"share": 1.0, "kinds": ["cpu"]}, manners={"wait_seconds": 3000})

        with (
            tenant.open(workers=1, clock=Leaping()) as pipeline,
            pipeline.pull(spec("AlertInfo"), partitions, observe=fail) as pull,
            pytest.raises(QuotaExhausted) as caught,
        ):
            list(pull)
        assert any("cannot be cut further" in note for note in caught.value.__notes__)


def test_a_first_run_that_only_staged_rows_has_claimed_the_lake(tmp_path: Path, place: Place) -> None:
    """Staged rows of one tenant must never be used by another."""
    times = [WEEK.start + n * HOUR for n in range(100)]
    data = loaded(tmp_path, alerts(times, [f"a{n}" for n in range(100)]))
    with emulated(tmp_path, place, load={"AlertInfo": data}) as tenant, tenant.open() as pipeline:
        partitions = partitions_in(spec("AlertInfo"), WEEK)
        with pipeline.pull(spec("AlertInfo"), partitions) as pull:
            commits = iter(pull)
            next(commits)
            commits.close()
        assert json.loads(place.read("_hunting/lake.json"))["tenant"] == tenant.endpoint.tenant_id


@pytest.mark.parametrize("changes", [False, True])
def test_a_snapshot_read_in_parts_is_one_snapshot_or_none(
    tmp_path: Path, place: Place, changes: bool
) -> None:
    """3,000 rows need several replies of 1,000. In one case, a value changes between two replies."""
    name = "DeviceTvmInfoGatheringKB"
    first = loaded(tmp_path, knowledge("old"), "First")
    second = loaded(tmp_path, knowledge("new"), "Second")
    today = Window(ticks_of(NOW) - 1, ticks_of(NOW))
    with emulated(tmp_path, place, load={name: first}, limits={"rows": 1_000}) as tenant:

        def change(progress: Progress) -> None:
            if changes and progress.step is Step.FETCHED:
                tenant.post("config", load={name: str(second)})

        with tenant.open(limits="test", workers=1) as pipeline:
            partitions = partitions_in(spec(name), today)
            with pipeline.pull(spec(name), partitions, observe=change) as pull:
                if changes:
                    with pytest.raises(ServiceFailed, match="changed while its snapshot was read"):
                        list(pull)
                    assert not place.contents(".parquet")
                else:
                    list(pull)
        tenant.pull(spec(name), today, limits="test")
        tenant.tenant.load(name, second if changes else first)
        assert differences(tenant.landed(name), window_of_tenant(tenant, name)) == (0, 0)


def knowledge(word: str) -> pa.Table:
    """Build 3,000 rows of a snapshot table. The description of the last row is `word`."""
    numbers = [f"i{n}" for n in range(3_000)]
    described = [*numbers[:-1], word]
    return pa.table(
        {"IgId": numbers, "FieldName": numbers, "Description": described, "DataStructure": numbers}
    )
