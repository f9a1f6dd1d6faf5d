"""Random faults of the service and random crashes: the lake still equals the tenant.

Each example draws a tenant, its faults and a crash, and runs a whole pull. `HUNTING_CHAOS_EXAMPLES` sets the
number of examples. A summary of faults and errors is printed at the end of the session.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from chaos_case import BURST, SYNTHETIC, TIMELESS, Case, Death, Rows, cases
from chaos_run import Chaos, Tale
from hypothesis import HealthCheck, Phase, example, given, seed, settings

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

EXAMPLES = int(os.environ.get("HUNTING_CHAOS_EXAMPLES", "120"))

PARTS = max(1, EXAMPLES // 500)
"""Number of parts, which several processes run side by side. Each part has its own seed."""


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    home = tmp_path_factory.mktemp("chaos")
    limits = {"rows": TEST.rows, "bytes": TEST.reply_bytes}
    with emulated(home, rows=SYNTHETIC, burst=BURST, limits=limits) as tenant:
        yield Chaos(tenant, home)


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
    @given(case=cases())
    @example(case=LEFT_BEHIND)
    @example(case=UNREADABLE)
    def every(case: Case) -> None:
        chaos.play(case)

    chaos.tale = Tale()
    try:
        every()
    finally:
        record_property(f"report: chaos {part + 1} of {PARTS}", chaos.tale.figures())
