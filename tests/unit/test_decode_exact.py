"""decode against a slow reference, over drawn and mutated bodies, cut into blocks of a few rows."""

from decode_compare import same
from decode_drawn import bodies, broken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

QUICK = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))


@QUICK
@given(
    body=bodies(),
    block=st.sampled_from([1, 60, 150, 400, 4 << 20]),
    step=st.sampled_from([1, 13, 100, 1 << 20]),
)
def test_equals_the_reference(body: bytes, block: int, step: int) -> None:
    same(body, block=block, step=step)


@QUICK
@given(body=broken(bodies()), block=st.sampled_from([1, 60, 150, 4 << 20]))
def test_equals_the_reference_on_mutated_bodies(body: bytes, block: int) -> None:
    same(body, block=block, step=50)
