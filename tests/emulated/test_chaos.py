"""Random faults of the service and random crashes: the lake still equals the tenant.

Each example draws a tenant, its faults and a crash, and runs a whole pull. `HUNTING_CHAOS_EXAMPLES` sets the
number of examples. A summary of faults and errors is printed at the end of the session.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from chaos_case import BURST, STORES, SYNTHETIC, TIMELESS, Case, Death, Rows, cases
from chaos_run import Chaos, Tale
from hypothesis import HealthCheck, Phase, example, given, seed, settings
from object_servers import Bucket, watch

from hunting_pipeline.limits import TEST
from support import emulated

LEFT_BEHIND = Case(
    table="DeviceProcessEvents",
    api="endpoint",
    groups=(Rows(TIMELESS, 130, 0),),
    seed=260642723,
    late=0.0,
    today=False,
    hourly=False,
    some_columns=False,
    cap=1_000,
    workers=1,
    faults={"queue": ["quota_after", "quota_after", "timeout"], "on": "rows"},
    manners={},
    drift={},
    turn=2,
    death=Death("store", 7),
)
"""A run that dies between the file of the null-time rows, fetched in four hash buckets, and its manifest. The
next run finds nothing missing there."""

UNREADABLE = replace(
    LEFT_BEHIND, table="AlertInfo", api="xdr", groups=(Rows(TIMELESS, 1, 2),), death=None, garbled=True
)
"""A run that cannot read a null-time row, and commits all other partitions. Nothing is missing for the next
pull, so only a reconcile finds the row."""

EXAMPLES = int(os.environ.get("HUNTING_CHAOS_EXAMPLES", "20"))

DRAWN = STORES if EXAMPLES > 500 else STORES[:1]
"""The stores of drawn examples. In object stores, they take much longer."""

PARTS = max(1, EXAMPLES // 500)
"""Number of parts, which several processes run side by side. Each part has its own seed."""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    home = tmp_path_factory.mktemp("chaos")
    limits = {"rows": TEST.rows, "bytes": TEST.reply_bytes}
    with emulated(home, rows=SYNTHETIC, burst=BURST, limits=limits) as tenant:
        yield Chaos(tenant, home)


@pytest.fixture
def chaos(
    emulator: Chaos, open_bucket: Callable[[str], Bucket], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Chaos]:
    buckets = [open_bucket(kind) for kind in STORES[1:]]
    for bucket in buckets:  # each bucket removed the credentials of the others
        for variable, value in bucket.env.items():
            monkeypatch.setenv(variable, value)
    with ExitStack() as stack:
        emulator.buckets = {bucket.kind: stack.enter_context(watch(bucket)) for bucket in buckets}
        yield emulator


@pytest.mark.parametrize("part", range(PARTS))
def test_the_lake_equals_the_tenant_for_all_faults_and_crashes(
    chaos: Chaos, part: int, record_property: Callable[[str, object], None]
) -> None:
    @seed(part)
    @settings(
        max_examples=EXAMPLES // PARTS,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(DRAWN))
    @example(case=LEFT_BEHIND)
    @example(case=UNREADABLE)
    @example(case=replace(LEFT_BEHIND, store="seaweedfs"))
    @example(case=replace(UNREADABLE, store="azurite"))
    def every(case: Case) -> None:
        chaos.play(case)

    chaos.tale = Tale()
    try:
        every()
    finally:
        record_property(f"report: chaos {part + 1} of {PARTS}", chaos.tale.figures())
