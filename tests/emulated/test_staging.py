"""What a run stages never blocks a later run, and is never read if a byte of it has changed."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hunting_pipeline.catalog import spec
from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.model import Progress, Step, TableSpec, Window
from hunting_pipeline.pipeline import Pipeline
from hunting_pipeline.window import partitions_in
from places import Place
from support import Emulated, days, differences, emulated, window_of_tenant

pytestmark = pytest.mark.stores
TABLE = "DeviceNetworkInfo"
ARCHIVED, NEXT = days("2026-11-08", "2026-11-09"), days("2026-11-09", "2026-11-13")
SETTINGS: dict[str, Any] = {"api": "xdr", "limits": "test", "workers": 1}
ODD = {"retype": {"ReportId": "string"}}
"""A change of the schema whose rows do not fit the archive."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    with emulated(tmp_path_factory.mktemp("staging"), rows={TABLE: 30_000}) as tenant:
        yield tenant


@pytest.fixture
def tenant(running: Emulated, tmp_path: Path, place: Place) -> Iterator[Emulated]:
    """Return the same tenant with a separate lake and ledger for each test."""
    running.post("reset")
    yield Emulated(running.endpoint, running.tenant, tmp_path, place)
    running.post("config", drift={})


def staged(tenant: Emulated) -> list[str]:
    return [key for key in tenant.lake.objects("_hunting/staging") if key.endswith(".arrow")]


def drifting(tenant: Emulated, drift: dict[str, Any], *, replies: int | None) -> Any:
    """Return an observer that changes the schema after two replies, for a number of replies."""
    seen = 0

    def observe(progress: Progress) -> None:
        nonlocal seen
        seen += progress.step is Step.FETCHED
        wrong = seen >= 2 and (replies is None or seen < 2 + replies)
        tenant.post("config", drift={TABLE: drift} if wrong else {})

    return observe


def pulled(tenant: Emulated, table: TableSpec, asked: Window, observe: Any = None, **options: Any) -> None:
    with tenant.open(**SETTINGS) as pipeline, pipeline.pull(
        table, partitions_in(table, asked), observe=observe, **options
    ) as pulling:  # fmt: skip
        list(pulling)


def assert_exact(tenant: Emulated, asked: Window) -> None:
    rows = tenant.landed(TABLE)
    assert differences(rows, window_of_tenant(tenant, TABLE, asked)) == (0, 0)
    assert staged(tenant) == []


WHOLE = Window(ARCHIVED.start, NEXT.end)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_reply_with_another_schema_is_thrown_away_and_asked_for_once_more(
    tenant: Emulated, frozen: bool
) -> None:
    table = replace(spec(TABLE), evolve=not frozen)
    pulled(tenant, table, ARCHIVED)
    drift = {"add": {"Novelty": "string"}} if frozen else ODD
    pulled(tenant, table, NEXT, drifting(tenant, drift, replies=1))
    assert_exact(tenant, WHOLE)


@pytest.mark.parametrize("options", [{}, {"force": True, "renew": True}])
def test_a_service_that_keeps_to_another_schema_is_an_error_that_leaves_nothing_behind(
    tenant: Emulated, options: dict[str, bool]
) -> None:
    table = spec(TABLE)
    pulled(tenant, table, ARCHIVED)
    tenant.post("reset")
    with pytest.raises(CommitRefused, match="column ReportId changed its type"):
        pulled(tenant, table, NEXT, drifting(tenant, ODD, replies=None), **options)
    fetched = sum(call["rows"] for call in tenant.stats()["log"] if call["kind"] == "rows")
    tenant.post("config", drift={})
    pulled(tenant, table, NEXT, **options)  # the service is healthy again
    assert_exact(tenant, WHOLE)
    assert fetched <= 2 * window_of_tenant(tenant, TABLE, NEXT).num_rows


def test_segments_that_an_earlier_run_staged_with_another_schema_are_fetched_again(tenant: Emulated) -> None:
    table = spec(TABLE)
    pulled(tenant, table, ARCHIVED)
    tenant.post("config", drift={TABLE: ODD})
    with tenant.open(**SETTINGS) as pipeline:
        leave_staged(pipeline, table)
    assert staged(tenant)
    tenant.post("config", drift={})
    pulled(tenant, table, NEXT)
    assert_exact(tenant, WHOLE)


def leave_staged(pipeline: Pipeline, table: TableSpec) -> None:
    """Pull until the second reply is staged, and die there."""

    def die(progress: Progress) -> None:
        if progress.step is Step.FETCHED and progress.slices == 2:
            raise InterruptedError

    with (
        pytest.raises(InterruptedError),
        pipeline.pull(table, partitions_in(table, NEXT), observe=die) as pulling,
    ):
        list(pulling)


def flipped(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    **{f"bit {n}": partial(flipped, position=n) for n in random.Random(7).sample(range(8 * 9_000), 2)},
    "missing bytes": lambda content: content[:-1],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["between two runs", "before the commit"])
def test_a_damaged_segment_is_fetched_again_in_the_same_run(tenant: Emulated, moment: str) -> None:
    """Arrow itself reads many of these files without an error, or ends the process."""
    table = spec(TABLE)
    for damage in [*DAMAGES.values()][:: 1 if moment == "between two runs" else 2]:

        def spoil(progress: Progress | None = None, damage: Callable[[bytes], bytes] = damage) -> None:
            if progress is None or (progress.step is Step.FETCHED and progress.slices == 2):
                first, *_ = staged(tenant)
                tenant.lake.write(first, damage(tenant.lake.read(first)))

        if moment == "between two runs":
            with tenant.open(**SETTINGS) as pipeline:
                leave_staged(pipeline, table)
            spoil()
            pulled(tenant, table, NEXT)
        else:
            pulled(tenant, table, NEXT, spoil)
        assert_exact(tenant, NEXT)
        for key in tenant.lake.objects():
            tenant.lake.remove(key)


def test_a_folder_in_place_of_a_segment_is_removed(running: Emulated, tmp_path: Path) -> None:
    tenant, table = Emulated(running.endpoint, running.tenant, tmp_path), spec(TABLE)
    with tenant.open(**SETTINGS) as pipeline:
        leave_staged(pipeline, table)
    first, *_ = staged(tenant)
    (tmp_path / "lake" / first).unlink()
    (tmp_path / "lake" / first).mkdir()
    pulled(tenant, table, NEXT)
    assert differences(tenant.landed(TABLE), window_of_tenant(tenant, TABLE, NEXT)) == (0, 0)
