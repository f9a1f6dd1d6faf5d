"""Random faults of the service and random crashes: the lake still equals the tenant.

Each example draws a tenant, its faults and a crash, and runs a whole pull. `HUNTING_CHAOS_EXAMPLES` sets the
number of examples. A summary of faults and errors is printed at the end of the session.
"""

import os
from collections.abc import Callable, Iterator

import pytest
from chaos_case import BURST, SYNTHETIC, Case, cases
from chaos_run import Chaos
from hypothesis import HealthCheck, Phase, given, settings

from hunting_pipeline.limits import TEST
from support import emulated

EXAMPLES = int(os.environ.get("HUNTING_CHAOS_EXAMPLES", "120"))


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    home = tmp_path_factory.mktemp("chaos")
    limits = {"rows": TEST.rows, "bytes": TEST.reply_bytes}
    with emulated(home, rows=SYNTHETIC, burst=BURST, limits=limits) as tenant:
        yield Chaos(tenant, home)


def test_the_lake_equals_the_tenant_for_all_faults_and_crashes(
    chaos: Chaos, record_property: Callable[[str, object], None]
) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases())
    def every(case: Case) -> None:
        chaos.play(case)

    try:
        every()
    finally:
        record_property("report: chaos", chaos.tale.figures())
