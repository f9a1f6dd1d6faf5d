"""Coverage-guided fuzzing of decode against its slow reference: `make fuzz`.

An input is a header of three bytes (block size, chunk size, way) and what follows: the body itself, the body
to be packed by gzip, cut or not, and sent through `fetch.body`, or choices from which hypothesis draws a
reply as the tests do. Both readings must agree, or both refuse with an error of the design; libFuzzer's own
options bound the time and memory of each input.

Coverage guides it where the compiled reading is left to the interpreter (`NUMBA_DISABLE_JIT=1`). What was
found so is then read again by the machine code.
"""

import contextlib
import gzip
import random
import re
import sys

import atheris
import numba
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seeds import VALUES

from hunting_pipeline.errors import ReplyUnreadable
from hunting_pipeline.http.verdict import NotAccepted

ROOMS = ["hunting_pipeline.decode", "hunting_pipeline.http.body"]
with atheris.instrument_imports(include=ROOMS) if numba.config.DISABLE_JIT else contextlib.nullcontext():
    from decode_compare import LIMIT, decoded, same
    from decode_drawn import bodies, broken

    from hunting_pipeline.http.body import inflate

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


SCALAR = rb'(?:"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|[a-z]+|\{\}|\[\])'
VALUES_TOO = [
    b"{}",
    b"[]",
    b"2",
    b"-0",
    b"Inf",
    b"nan",
    b"12.0",
    b"1e400",
    b"NaN",
    b'"\\ud800"',
    b'"9999-12-31T00:00:00Z"',
]
SPARE = [*(value.encode() for values in VALUES.values() for value in values), *VALUES_TOO]
PAIRS = [
    *(b"", b'"A":null,', b'"B":1,', b'"A@odata.type":"#x",', b'"A@odata.type":null,', b'"B@odata.type":{},'),
    *(b'"X@odata.type":"x",', b'"@odata.type":null,', rb'"A\u0040odata.type":null,', b'{"A":1,"B":1},'),
]
SWAPS = [
    (re.compile(b'(?<=":)' + SCALAR + b"(?=[,}])"), SPARE),
    (re.compile(b'"[^"]*":' + SCALAR + b","), PAIRS),
    (re.compile(SCALAR + b"|[]{}[,:]"), [*SPARE, b'"A"', b'"B"', b" ", *b"{ } [ ] , :".split()]),
]
"""What may give way in a body, and to what: values, pairs of key and value, any token."""


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """A place of the body gives way to another or to something spare, or libFuzzer does as it likes."""
    chance = random.Random(seed)
    pattern, spare = chance.choice(SWAPS)
    places = list(pattern.finditer(data, 3))
    if not places or data[2] % 4 == 3 or chance.random() < 0.2:
        return bytes(atheris.Mutate(data, max_size))
    place, other = chance.choice(places), chance.choice(places)
    rest = data[place.start() if pattern is SWAPS[1][0] and chance.random() < 0.5 else place.end() :]
    return (data[: place.start()] + chance.choice([*spare, other[0]]) + rest)[:max_size]


if __name__ == "__main__":
    atheris.Setup(sys.argv, target, custom_mutator=mutated)
    atheris.Fuzz()
