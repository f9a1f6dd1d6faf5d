"""Decoding against a slow reference, for generated and mutated bodies, in blocks of a few rows."""

from pathlib import Path

import pytest
from decode_compare import same
from decode_drawn import bodies, broken
from decode_reference import KUSTO
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_decode import reply

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


EDGES = Path(__file__).with_name("decode_edges.txt").read_text("utf-8").split()
"""Values at the limits of the compiled reader. Some are no JSON, or end too early."""


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("wire", [*KUSTO, "Geography"])
def test_equals_the_reference_on_each_value_of_each_type(wire: str, graph: bool) -> None:
    accepted = 0
    for value in EDGES:
        rows = [f'{{"A":{value},"C@odata.type":"#{wire}","C":{value},"B":"b"}}'] * 4
        body = reply({"A": "String", "C": wire, "B": "String"}, *rows, graph=graph)
        accepted += same(body, block=4 << 20, step=1 << 20)
    assert accepted > 150


@pytest.mark.parametrize("wire", ["String", "Object"])
def test_a_control_character_anywhere_in_a_text_is_refused(wire: str) -> None:
    for code in range(32):
        for at in range(9):
            rows = [f'{{"C":"{"x" * at}{sign}{"x" * 8}"}}' for sign in ("x", chr(code), "x")]
            assert not same(reply({"C": wire}, *rows), block=4 << 20, step=1 << 20)
