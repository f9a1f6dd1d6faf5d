"""What a pull promises besides exactness: few calls, nothing twice, nothing lost on the way."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from hunting_pipeline.catalog import spec
from hunting_pipeline.errors import BeyondRetention, HuntingError, Misconfigured, QuotaExhausted, Refused
from hunting_pipeline.lake.read import frame
from hunting_pipeline.lake.stores import local
from hunting_pipeline.model import DAY, Grain, Window, ticks_of
from hunting_pipeline.pipeline import open_lake, open_pipeline
from hunting_pipeline.window import available, partitions_in
from places import Place
from support import NOW, WEEK, Emulated, Shifted, days, differences, emulated, window_of_tenant

pytestmark = pytest.mark.stores
WHOLE = available(ticks_of(NOW), 30)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Emulated:
    rows = {"DeviceNetworkInfo": 450_000, "AlertInfo": 3_000, "EmailEvents": 60_000}
    with emulated(tmp_path_factory.mktemp("pull"), rows=rows, unlicensed=["CloudDnsEvents"]) as tenant:
        yield tenant


@pytest.fixture
def tenant(running: Emulated, tmp_path: Path, place: Place) -> Emulated:
    """Return the same tenant with a separate lake and ledger for each test."""
    running.post("reset")
    return Emulated(running.endpoint, running.tenant, tmp_path, place)


@pytest.mark.stores("fast")
def test_a_second_pull_makes_no_call_and_changes_no_byte(tenant: Emulated) -> None:
    asked = days("2026-11-10", "2026-11-15")
    tenant.pull(spec("AlertInfo"), asked)
    before = tenant.lake.contents()
    tenant.post("reset")
    report, receipts = tenant.pull(spec("AlertInfo"), asked)
    assert (report.calls, receipts, len(report.covered)) == (0, [], 5)
    assert tenant.lake.contents() == before
    assert tenant.stats()["calls"] == 0


def test_the_number_of_calls_is_near_the_minimum_of_the_row_limit(tenant: Emulated) -> None:
    """With the byte limit off: calls <= 1.06 * ceil(rows / 100,000) + 2."""
    table = "DeviceNetworkInfo"
    tenant.pull(spec(table), WHOLE, api="xdr", limits="original")
    rows = tenant.landed(table).num_rows
    assert rows > 250_000
    assert tenant.stats()["calls"] <= 1.06 * math.ceil(rows / 100_000) + 2
    assert tenant.stats()["by_outcome"].keys() == {"ok"}


@pytest.mark.slow
def test_no_call_fails_because_of_the_byte_limit(tenant: Emulated) -> None:
    with emulated(tenant.home, tenant.place, rows={"EmailEvents": 120_000}, profile="graph") as small:
        small.pull(spec("EmailEvents"), WHOLE)
        assert small.stats()["too_big"] == 0
        assert differences(small.landed("EmailEvents"), window_of_tenant(small, "EmailEvents", WHOLE)) == (
            0,
            0,
        )


def test_a_small_table_costs_one_call_to_count_and_one_to_fetch(tenant: Emulated) -> None:
    report, receipts = tenant.pull(spec("AlertInfo"), WHOLE)
    assert (report.calls, len(receipts)) == (2, 31)


@pytest.mark.stores("fast")
def test_the_current_day_is_extended_without_fetching_it_again(tenant: Emulated) -> None:
    today = Window(ticks_of(NOW) // DAY * DAY, ticks_of(NOW) // DAY * DAY + DAY)
    table = spec("EmailEvents")
    _, (first,) = tenant.pull(table, today)
    assert first.covered[0].end < today.end
    tenant.post("config", now="2026-11-20T18:00:00Z")
    try:
        later = Shifted(NOW.timestamp() + 3 * 3600)
        with (
            tenant.open(clock=later) as pipeline,
            pipeline.pull(table, partitions_in(table, today)) as pulling,
        ):
            (second,) = pulling
    finally:
        tenant.post("config", now="2026-11-20T15:00:00Z")
    assert second.covered == (Window(today.start, ticks_of(NOW) + (3 * 3600 - 900) * 10_000_000),)
    assert second.proof.rows > first.proof.rows
    fetched = [call["rows"] for call in tenant.stats()["log"] if call["kind"] == "rows"]
    assert sum(fetched) == second.proof.rows


def test_a_forgotten_day_is_refused_by_name_and_never_queried(tenant: Emulated) -> None:
    asked = days("2026-10-10", "2026-10-12")
    with pytest.raises(BeyondRetention, match="2026-10-10, 2026-10-11"):
        tenant.pull(spec("AlertInfo"), asked)
    assert tenant.stats()["calls"] == 0
    assert tenant.lake.objects() == []


def test_past_days_of_a_snapshot_are_refused_after_today_is_archived(tenant: Emulated) -> None:
    table = spec("DeviceTvmInfoGatheringKB")
    with pytest.raises(BeyondRetention, match="only today"):
        tenant.pull(table, Window(ticks_of(NOW) - 2 * DAY, ticks_of(NOW)))
    landed = tenant.landed(table.name)
    assert differences(landed, window_of_tenant(tenant, table.name)) == (0, 0)


def test_a_missing_table_is_refused_with_the_message_of_the_service(tenant: Emulated) -> None:
    with pytest.raises(Refused, match=r"CloudDnsEvents.*not licensed") as caught:
        tenant.pull(spec("CloudDnsEvents"), WEEK)
    assert not caught.value.everything
    assert tenant.lake.objects() == []


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"client_secret": "wrong"}, HuntingError, "HUNTING_CLIENT_SECRET"),
        ({"tenant_id": "11111111-1111-1111-1111-111111111111"}, HuntingError, "HUNTING_TENANT_ID"),
        ({"ca_bundle": "/nowhere.pem"}, Misconfigured, "HUNTING_CA_BUNDLE"),
        ({"api_url": "http://localhost:1"}, Misconfigured, "HUNTING_API_URL"),
        ({"cloud": "china"}, Misconfigured, "HUNTING_CLOUD"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_is_written(
    tenant: Emulated, change: dict[str, str], error: type[HuntingError], words: str
) -> None:
    with pytest.raises(error, match=words):
        tenant.pull(spec("AlertInfo"), WEEK, **change)
    assert tenant.lake.objects() == []


def test_a_missing_permission_is_named(tenant: Emulated) -> None:
    with (
        emulated(tenant.home, tenant.place, deny=["graph"]) as denied,
        pytest.raises(Refused, match=r"ThreatHunting\.Read\.All"),
    ):
        denied.pull(spec("AlertInfo"), WEEK)
    assert tenant.lake.objects() == []


def test_the_lake_of_another_tenant_is_refused_before_any_call(tenant: Emulated) -> None:
    owner = {"tenant": "11111111-1111-1111-1111-111111111111", "layout": 2}
    tenant.lake.write("_hunting/lake.json", json.dumps(owner).encode())
    before = tenant.lake.contents()
    with pytest.raises(Misconfigured, match="holds tenant 11111111"):
        tenant.pull(spec("AlertInfo"), WEEK)
    assert tenant.lake.contents() == before
    assert tenant.stats()["calls"] == 0


def test_a_lake_without_write_access_is_refused_before_any_call(
    running: Emulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_FOLDER_SECONDS", 0.1)  # no other run removes the folder
    running.post("reset")
    tenant, lake = Emulated(running.endpoint, running.tenant, tmp_path), tmp_path / "lake"
    lake.symlink_to(tmp_path / "unmounted")
    for path in (lake, lake / "defender", Path("/proc/lake")):
        with pytest.raises(
            Misconfigured, match=rf"lake {path} cannot be used .*Change (HUNTING_)?(lake|LAKE)"
        ):
            tenant.pull(spec("AlertInfo"), WEEK, lake=path)
    assert tenant.stats()["calls"] == 0
    assert not (tmp_path / "unmounted").exists()


def test_staged_slices_of_a_crashed_run_are_used_and_not_fetched_again(tenant: Emulated) -> None:
    """A run is dropped after its first commit; the next one fetches only what was not staged."""
    table = spec("DeviceNetworkInfo")
    settings = {"api": "xdr", "limits": "original", "workers": 1}
    with tenant.open(**settings) as pipeline, pipeline.pull(table, partitions_in(table, WHOLE)) as pulling:
        iterator = iter(pulling)
        next(iterator)
        iterator.close()
    spent = tenant.stats()["rows"]
    assert tenant.lake.contents(".arrow")
    report, _ = tenant.pull(table, WHOLE, **settings)
    assert report.resumed > 0
    rows = tenant.landed(table.name).num_rows
    fetched = sum(call["rows"] for call in tenant.stats()["log"] if call["kind"] == "rows")
    assert fetched == rows
    assert spent < rows
    assert differences(tenant.landed(table.name), window_of_tenant(tenant, table.name, WHOLE)) == (0, 0)
    assert not tenant.lake.contents(".arrow")


def test_a_changed_grain_is_refused(tenant: Emulated) -> None:
    asked = days("2026-11-10", "2026-11-11")
    tenant.pull(spec("AlertInfo"), asked)
    before = tenant.lake.contents()
    with pytest.raises(Misconfigured, match="grain"):
        tenant.pull(spec("AlertInfo", grain=Grain.HOUR), asked)
    assert tenant.lake.contents() == before


def test_the_lake_is_readable_by_partition(tenant: Emulated) -> None:
    asked = days("2026-11-10", "2026-11-12")
    tenant.pull(spec("AlertInfo"), asked)
    first = partitions_in(spec("AlertInfo"), asked)[:1]
    rows = frame(open_lake(tenant.settings()), "AlertInfo", first)
    assert set(map(str, rows["date"])) == {"2026-11-10"}
    assert len(rows) > 0


def test_a_certificate_signs_in_as_well_as_a_secret(tenant: Emulated) -> None:
    pem = tenant.home / "app.pem"
    certificate = tenant.home / "certificate.pem"
    authority = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert(
        "hunting.example", key_type=trustme.KeyType.RSA
    )
    certificate.write_bytes(authority.cert_chain_pems[0].bytes())
    pem.write_bytes(authority.private_key_and_cert_chain_pem.bytes())
    with emulated(tenant.home, tenant.place, rows={"AlertInfo": 3_000}, certificate=certificate) as signed:
        report, _ = signed.pull(spec("AlertInfo"), WEEK, client_secret=None, certificate=pem)
        assert report.calls == 2


def test_a_run_does_not_wait_for_a_service_that_refuses_every_call(tenant: Emulated) -> None:
    with emulated(tenant.home, tenant.place, rows={"AlertInfo": 3_000}) as refusing:
        refusing.post("config", faults={"share": 1.0, "kinds": ["quota_after"]}, manners={"wait_seconds": 1})
        settings = refusing.settings()
        with open_pipeline(settings, max_wait=2.5, clock=Shifted()) as pipeline:
            partitions = partitions_in(spec("AlertInfo"), WEEK)
            with (
                pipeline.pull(spec("AlertInfo"), partitions) as pull,
                pytest.raises(QuotaExhausted) as caught,
            ):
                list(pull)
        assert caught.value.until > NOW
        assert 1 <= refusing.stats()["over_quota"] <= 4


def test_a_plan_names_partitions_that_will_be_forgotten_before_their_turn(tenant: Emulated) -> None:
    """Queries five hundred times as heavy as assumed cannot all run before the service forgets."""
    table = spec("DeviceNetworkInfo")
    with tenant.open(api="xdr", share=0.0001, limits="original") as pipeline:
        planned = pipeline.plan(table, partitions_in(table, WHOLE))
        assert planned.cost.calls > 3
        assert not pipeline.at_risk([planned])
        slow = [replace(due, running_seconds=500 * due.running_seconds) for due in planned.partition_costs]
        at_risk = pipeline.at_risk([replace(planned, partition_costs=tuple(slow))])
        assert at_risk
        assert set(at_risk) < {partition for partition, _ in planned.backlog.missing}
