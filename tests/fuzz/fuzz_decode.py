"""Coverage-guided fuzzing of decoding against its slow reference: `make fuzz`.

An input has a header of three bytes (block size, chunk size, form) and a payload. The payload is a body, or a
body that is compressed, cut or not, and sent through `http.body`, or choices from which hypothesis makes a
reply as in the tests. Both decoders must agree, or both must refuse with a documented error. libFuzzer's own
options limit the time and memory of each input.

Coverage is measured in the interpreter (`NUMBA_DISABLE_JIT=1`). Afterwards the machine code reads the whole
corpus again.
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
"""Bodies that both decoders can read within their recursion limits."""


@settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=st.one_of(bodies(), broken(bodies())), block=st.sampled_from(BLOCKS), step=st.sampled_from(STEPS))
def drawn(body: bytes, block: int, step: int) -> None:
    """Generate a reply with the tests' own strategies, perhaps mutated."""
    same(body, block=block, step=step)


def written(body: bytes, block: int, step: int) -> None:
    """Use the body of the fuzzer unchanged."""
    if SHALLOW.fullmatch(body):
        same(body, block=block, step=step)
        return
    with contextlib.suppress(ReplyUnreadable):
        decoded(body, block=block, step=step)


def compressed(body: bytes, block: int, step: int, cut: int) -> None:
    """Compress the body. If it is cut by `cut` bytes, it must never be read as complete."""
    wire = gzip.compress(body, mtime=0)
    wire = wire[: len(wire) - cut]
    chunks = (wire[i : i + step] for i in range(0, len(wire), step))
    try:
        plain = b"".join(inflate(chunks, "gzip", ceiling=LIMIT))
    except NotAccepted:
        assert cut, "a whole body was not accepted"
        return
    assert not cut, "a cut body was accepted"
    assert plain == body
    written(plain, block, step)


def target(data: bytes) -> None:
    """Test one input."""
    if len(data) < 3:
        return
    block, step, way, rest = BLOCKS[data[0] % 5], STEPS[data[1] % 5], data[2], data[3:]
    if way % 4 < 2:
        written(rest, block, step)
    elif way % 4 == 2:
        compressed(rest, block, step, way // 64)
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
"""Parts of a body that a mutation may replace: values, pairs of key and value, any token."""


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """Replace a part of the body by another part or by a spare one, or let libFuzzer mutate it."""
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
