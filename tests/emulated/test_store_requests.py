"""The requests of commands to an object store: what they cost, and when none is sent."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from object_servers import Bucket, Proxy, watch
from test_cli import hunting

from hunting_pipeline.catalog import spec
from support import Emulated, days, emulated

TABLE = "AlertInfo"
PARTITIONS = 4
ASKED = days("2026-11-10", "2026-11-14")


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with emulated(tmp_path_factory.mktemp("requests"), rows={TABLE: 3_000}) as tenant:
        yield tenant


@pytest.mark.parametrize("command", ["check", "pull"])
def test_a_store_without_conditions_is_refused_by_name_before_anything_is_written(
    rclone: Bucket, tenant: Emulated, command: str
) -> None:
    """`check` goes no further. `pull` counts no row, and stages none."""
    settings = {f"HUNTING_{name.upper()}": str(value) for name, value in rclone.settings.items()}
    before = tenant.stats()["calls"]
    dates = ["--from", "2026-11-10", "--to", "2026-11-12"] if command == "pull" else []
    done = hunting(tenant.one_by_one() | dict(rclone.env) | settings, command, TABLE, *dates, "--json")
    said = json.dumps(json.loads(done.stdout)) if command == "check" else done.stderr
    assert f"the object store at {rclone.url} ignores the conditions If-Match" in said
    assert "Set HUNTING_LAKE to a store with conditional writes" in said
    assert done.returncode == 3
    assert rclone.objects() == []
    assert tenant.stats()["calls"] == before


def requests_of(proxy: Proxy, work: Callable[[], object]) -> list[str]:
    """Return method and key of each request during a piece of work, in order."""
    proxy.clear()
    work()
    return [f"{request.kind} {request.path.partition('/lake/')[2] or '…'}" for request in proxy.seen]


@pytest.mark.parametrize("bucket", ["seaweedfs", "azurite"], indirect=True)
def test_a_pull_sends_few_requests_for_a_partition_and_for_nothing(
    bucket: Bucket, tenant: Emulated, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    changes = {"ledger": str(tmp_path / "ledger"), "workers": 1}
    with watch(bucket) as (near, proxy):

        def pull() -> None:
            tenant.pull(spec(TABLE), ASKED, **changes, **near.settings)

        first, again = requests_of(proxy, pull), requests_of(proxy, pull)
    (tmp_path / "first").write_text("\n".join(first))
    (tmp_path / "again").write_text("\n".join(again))
    found = {
        f"{name} of {PARTITIONS} partitions": dict(Counter(one.split()[0] for one in sent))
        for name, sent in (("pull", first), ("pull again", again))
    }
    record_property(f"report: requests to {bucket.kind}", found)
    assert sum(one.startswith("PUT TABLE/date=".replace("TABLE", TABLE)) for one in first) == PARTITIONS
    assert not any(one.startswith(("PUT", "DELETE")) for one in again)
