"""Decompression with a bound: every truncated body is detected, for every chunking of the body."""

import gzip
import itertools
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunting_pipeline.http.body import CHUNK, inflate
from hunting_pipeline.http.verdict import NotAccepted, Refuse, Retry, Split

PACK: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}
BODIES = st.one_of(
    st.binary(max_size=2000),
    st.builds(lambda unit, times: unit * times, st.binary(min_size=1, max_size=9), st.integers(0, 600_000)),
)


def chunks_of(body: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    return [body[a:b] for a, b in itertools.pairwise(edges)]


@given(
    encoding=st.sampled_from(sorted(PACK)), bodies=st.lists(BODIES, min_size=1, max_size=3), cuts=st.data()
)
def test_any_body_in_any_chunks_is_inflated(encoding: str, bodies: list[bytes], cuts: st.DataObject) -> None:
    if encoding == "gzip":  # only gzip allows several streams in a row
        packed, plain = b"".join(gzip.compress(body) for body in bodies), b"".join(bodies)
    else:
        packed, plain = PACK[encoding](bodies[0]), bodies[0]
    raw = chunks_of(packed, cuts.draw(st.lists(st.integers(0, 1 << 20), max_size=6)))
    ceiling = max(len(packed), len(plain))
    found = list(inflate(iter(raw), encoding, ceiling=ceiling))
    assert b"".join(found) == plain
    assert all(0 < len(segment) <= CHUNK for segment in found)
    if ceiling:
        with pytest.raises(NotAccepted) as caught:
            list(inflate(iter(raw), encoding, ceiling=ceiling - 1))
        assert isinstance(caught.value.verdict, Split)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_cut_at_any_byte_is_detected(encoding: str) -> None:
    packed = PACK[encoding](b'{"results": [' + b'{"A": 1},' * 50)
    for length in range(len(packed)):
        with pytest.raises(NotAccepted) as caught:
            list(inflate(iter([packed[:length]]), encoding, ceiling=10_000))
        assert isinstance(caught.value.verdict, Retry)


@given(place=st.integers(0, 1 << 20), flip=st.integers(1, 255))
def test_a_flipped_bit_never_gives_another_body(place: int, flip: int) -> None:
    plain = bytes(range(256)) * 4
    packed = bytearray(gzip.compress(plain))
    packed[place % len(packed)] ^= flip
    try:
        found = b"".join(inflate(iter([bytes(packed)]), "gzip", ceiling=10_000))
    except NotAccepted:
        return
    assert found == plain  # the bit was in the time or the name of the header


def test_an_unknown_encoding_is_refused_before_a_byte_is_read() -> None:
    with pytest.raises(NotAccepted) as caught:
        inflate(iter([]), "br", ceiling=1)
    assert isinstance(caught.value.verdict, Refuse)
