"""Coverage-guided fuzzing of decode against its slow reference: `make fuzz`.

An input is a header of three bytes (block size, chunk size, way) and what follows: the body itself, the body
to be packed by gzip, cut or not, and sent through `fetch.body`, or choices from which hypothesis draws a
reply as the tests do. Both readings must agree, or both refuse with an error of the design; libFuzzer's own
options bound the time and memory of each input.
"""

import contextlib
import gzip
import random
import re
import sys

import atheris
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seeds import VALUES

from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.fetch.verdict import NotAccepted

with atheris.instrument_imports(include=["hunting_pipeline.decode", "hunting_pipeline.fetch.body"]):
    from decode_compare import LIMIT, decoded, same
    from decode_drawn import bodies, broken

    from hunting_pipeline.fetch.body import inflate

BLOCKS = (4 << 20, 1, 60, 150, 400)
STEPS = (1 << 20, 1, 7, 50, 300)
SHALLOW = re.compile(rb"(?:[^\[{]*[\[{]){0,400}[^\[{]*")
"""Bodies that neither reading gives up for its own depth."""


@settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.one_of(bodies(), broken(bodies())), block=st.sampled_from(BLOCKS), step=st.sampled_from(STEPS))
def drawn(body: bytes, block: int, step: int) -> None:
    """A reply drawn by the tests' own strategies, perhaps mutated."""
    same(body, block=block, step=step)


def written(body: bytes, block: int, step: int) -> None:
    """A body as the fuzzer wrote it."""
    if SHALLOW.fullmatch(body):
        same(body, block=block, step=step)
        return
    with contextlib.suppress(ReplyUnreadable):
        decoded(body, block=block, step=step)


def packed(body: bytes, block: int, step: int, cut: int) -> None:
    """The body through gzip; cut short by `cut` bytes it must never be taken for whole."""
    wire = gzip.compress(body, mtime=0)
    wire = wire[: len(wire) - cut]
    pieces = (wire[i : i + step] for i in range(0, len(wire), step))
    try:
        plain = b"".join(inflate(pieces, "gzip", ceiling=LIMIT))
    except NotAccepted:
        assert cut, "a whole body was not accepted"
        return
    assert not cut, "a cut body was accepted"
    assert plain == body
    written(plain, block, step)


def target(data: bytes) -> None:
    """One input."""
    if len(data) < 3:
        return
    block, step, way, rest = BLOCKS[data[0] % 5], STEPS[data[1] % 5], data[2], data[3:]
    if way % 4 < 2:
        written(rest, block, step)
    elif way % 4 == 2:
        packed(rest, block, step, way // 64)
    else:
        drawn.hypothesis.fuzz_one_input(rest)


TOKENS = re.compile(rb'("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|[a-z]+|[]{}[,:])')
SPARE = [
    *(value.encode() for values in VALUES.values() for value in values),
    *(b"{}", b"[]", b"2", b"-0", b"1e400", b"NaN", b'"A"', b'"B"', b'"A@odata.type"', b'"X@odata.type"'),
    *(rb'"A\u0040odata.type"', b'"@odata.type"', b'"A":null,', b'"A":1,"A":1', b'{"A":1,"B":1},', b" "),
]


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """Every other time one of the body's tokens gives way to another, else libFuzzer does as it likes."""
    chance = random.Random(seed)
    if len(data) < 4 or data[2] % 4 == 3 or chance.random() < 0.5:
        return bytes(atheris.Mutate(data, max_size))
    tokens = TOKENS.split(data[3:])
    at = chance.randrange(len(tokens))
    tokens[at : at + chance.choice((0, 1, 1, 1, 2, 3))] = [chance.choice((*SPARE, chance.choice(tokens)))]
    return (data[:3] + b"".join(tokens))[:max_size]


if __name__ == "__main__":
    atheris.Setup(sys.argv, target, custom_mutator=mutated)
    atheris.Fuzz()
