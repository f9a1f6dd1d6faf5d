"""The client over real sockets and TLS: what it sends, what it accepts, and how every failure ends."""

import contextlib
import gzip
import json
import logging
import socket
import struct
import threading
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from test_http_transport import Asked, Loopback, Script, answer, ca, loopback, reply

from hunting_pipeline.apis import APIS
from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.apis.connection import connection
from hunting_pipeline.errors import Refused
from hunting_pipeline.http.client import Client, NotAccepted
from hunting_pipeline.http.verdict import Refuse, Renew, Retry, Split, Verdict, Wait

__all__ = ["ca"]

TOKEN = "t0ken-never-shown"
PLAIN = json.dumps({"schema": [], "results": [{"A": n} for n in range(2000)]}).encode()


class Fixed:
    """Tokens that are always at hand."""

    def token(self) -> str:
        return TOKEN

    def renew(self) -> None:
        pass


@contextlib.contextmanager
def asking(
    script: Script, ca: trustme.CA, folder: Path, *, seconds: float = 10, ceiling: int = 10_000_000
) -> Iterator[tuple[Client, Loopback]]:
    with loopback(script, ca, folder) as server:
        there = connection(APIS["graph"], Cloud.GLOBAL, api_url=server.url, ca_bundle=server.ca)
        client = Client(there, Fixed(), request_seconds=seconds, max_body_bytes=ceiling)
        with contextlib.closing(client):
            yield client, server


def whole(client: Client, query: str = "T") -> bytes:
    with client.ask(query) as segments:
        return b"".join(segments)


def verdict_of(client: Client) -> Verdict:
    with pytest.raises(NotAccepted) as caught:
        whole(client)
    return caught.value.verdict


def chunked(*segments: bytes, end: bool = True, encoding: str = "identity") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: {encoding}\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(segment), segment) for segment in segments)
    return head.encode() + body + (b"0\r\n\r\n" if end else b"")


def sends(data: bytes, *, reset: bool = False) -> Script:
    """Send the bytes and hang up, politely or with a reset."""

    def script(conn: socket.socket, _: Asked) -> None:
        conn.sendall(data)
        if reset:
            time.sleep(0.05)
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return script


def test_one_post_with_the_query_the_token_and_gzip_asked_for(ca: trustme.CA, tmp_path: Path) -> None:
    query = 'T\n| where A == "ü\\n"'
    with asking(answer(200, PLAIN), ca, tmp_path) as (client, server):
        assert whole(client, query) == PLAIN
    [asked] = server.asked
    assert (asked.method, asked.path) == ("POST", "/v1.0/security/runHuntingQuery")
    assert json.loads(asked.body) == {"Query": query}
    assert b"\n" not in asked.body
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (PLAIN, "identity"),
        (gzip.compress(PLAIN), "gzip"),
        (gzip.compress(PLAIN[:99]) + gzip.compress(PLAIN[99:]), "x-gzip"),
        (zlib.compress(PLAIN), "Deflate"),
    ],
)
def test_bodies_are_inflated(body: bytes, encoding: str, ca: trustme.CA, tmp_path: Path) -> None:
    with asking(answer(200, body, content_encoding=encoding), ca, tmp_path) as (client, _):
        assert whole(client) == PLAIN


def test_chunked_and_unbounded_bodies_are_read(ca: trustme.CA, tmp_path: Path) -> None:
    with asking(sends(chunked(PLAIN[:100], PLAIN[100:])), ca, tmp_path) as (client, _):
        assert whole(client) == PLAIN
    with asking(sends(b"HTTP/1.1 200 OK\r\n\r\n" + PLAIN), ca, tmp_path) as (client, _):
        assert whole(client) == PLAIN


@pytest.mark.parametrize(
    ("data", "reset"),
    [
        (b"", False),
        (b"HTTP/1.1 200 OK\r\nContent-Le", False),
        (b"nonsense\r\n\r\n", False),
        (reply(200, PLAIN)[:-50], False),
        (reply(200, PLAIN)[:-50], True),
        (chunked(PLAIN, end=False), False),
        (chunked(PLAIN)[:-20], True),
        (reply(200, gzip.compress(PLAIN)[:-20], content_encoding="gzip"), False),
        (reply(200, gzip.compress(PLAIN)[:-1], content_encoding="gzip"), False),
        (reply(200, b"", content_encoding="gzip"), False),
        (reply(200, gzip.compress(PLAIN) + b"tail", content_encoding="gzip"), False),
        (reply(200, PLAIN, content_encoding="gzip"), False),
        (reply(200, gzip.compress(PLAIN)[:-8] + b"\0" * 8, content_encoding="gzip"), False),
    ],
)
def test_a_cut_or_damaged_reply_is_retried(data: bytes, reset: bool, ca: trustme.CA, tmp_path: Path) -> None:
    with asking(sends(data, reset=reset), ca, tmp_path) as (client, _):
        assert isinstance(verdict_of(client), Retry)


@pytest.mark.parametrize(
    ("pack", "encoding"), [(bytes, "identity"), (gzip.compress, "gzip"), (zlib.compress, "deflate")]
)
def test_a_chunked_reply_cut_anywhere_is_never_taken_for_whole(
    pack: Callable[[bytes], bytes], encoding: str, ca: trustme.CA, tmp_path: Path
) -> None:
    body = pack(PLAIN[:300])
    data = chunked(body[:40], body[40:], encoding=encoding)
    cuts = [*range(0, len(data), 11), *range(len(data) - 12, len(data))]
    left = iter(cuts)

    def script(conn: socket.socket, _: Asked) -> None:
        conn.sendall(data[: next(left)])

    with asking(script, ca, tmp_path) as (client, _):
        assert all(isinstance(verdict_of(client), Retry) for _ in cuts)
    with asking(sends(data), ca, tmp_path) as (client, _):
        assert whole(client) == PLAIN[:300]


def test_a_cut_is_told_out_of_the_iterator_after_what_came(ca: trustme.CA, tmp_path: Path) -> None:
    with (
        asking(sends(reply(200, PLAIN)[:-50]), ca, tmp_path) as (client, _),
        client.ask("T") as segments,
    ):
        came = [next(segments)]
        with pytest.raises(NotAccepted):
            came.extend(segments)
        assert b"".join(came) == PLAIN[:-50]


def test_an_encoding_that_was_not_asked_for_is_refused(ca: trustme.CA, tmp_path: Path) -> None:
    for encoding in ("br", "zstd", "gzip, gzip"):
        with asking(answer(200, b"x", content_encoding=encoding), ca, tmp_path) as (client, _):
            assert isinstance(verdict_of(client), Refuse)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_costs_a_chunk_and_ends_in_a_split(encoding: str, ca: trustme.CA, tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    script = answer(200, bomb, content_encoding=encoding)
    with asking(script, ca, tmp_path, ceiling=50_000_000) as (client, _):
        sizes: list[int] = []
        tracemalloc.start()
        with pytest.raises(NotAccepted) as caught, client.ask("T") as segments:
            sizes.extend(map(len, segments))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert isinstance(caught.value.verdict, Split)
    assert max(sizes) <= 1 << 20
    assert 49_000_000 < sum(sizes) <= 50_000_000
    assert peak < 8_000_000


def test_a_body_over_the_ceiling_is_a_split(ca: trustme.CA, tmp_path: Path) -> None:
    for script in (answer(200, PLAIN), answer(200, gzip.compress(PLAIN), content_encoding="gzip")):
        with asking(script, ca, tmp_path, ceiling=len(PLAIN)) as (client, _):
            assert whole(client) == PLAIN
        with asking(script, ca, tmp_path, ceiling=len(PLAIN) - 1) as (client, _):
            assert isinstance(verdict_of(client), Split)


def test_silence_is_a_split(ca: trustme.CA, tmp_path: Path) -> None:
    for head in (b"", reply(200, PLAIN)[:-50]):
        silent = threading.Event()

        def script(
            conn: socket.socket, _: Asked, head: bytes = head, silent: threading.Event = silent
        ) -> None:
            conn.sendall(head)
            silent.wait(5)

        with asking(script, ca, tmp_path, seconds=0.3) as (client, _):
            assert isinstance(verdict_of(client), Split)
        silent.set()


def test_a_drip_that_never_times_out_ends_at_the_total_deadline(ca: trustme.CA, tmp_path: Path) -> None:
    def script(conn: socket.socket, _: Asked) -> None:
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _byte in range(100):
            conn.sendall(b"x")
            time.sleep(0.05)

    with asking(script, ca, tmp_path, seconds=0.4) as (client, _):
        started = time.monotonic()
        verdict = verdict_of(client)
        took = time.monotonic() - started
    assert isinstance(verdict, Split)
    assert "took longer" in verdict.reason
    assert took < 3


def test_a_slow_reader_is_not_held_against_the_service(ca: trustme.CA, tmp_path: Path) -> None:
    with (
        asking(sends(chunked(*[b"x" * 1000] * 5)), ca, tmp_path, seconds=0.4) as (client, _),
        client.ask("T") as segments,
    ):
        first = next(segments)
        time.sleep(0.8)
        assert len(first + b"".join(segments)) == 5000


def test_a_redirect_is_not_followed(ca: trustme.CA, tmp_path: Path) -> None:
    for status in (301, 302, 303, 307, 308):
        with asking(answer(status, location="https://elsewhere.example/x"), ca, tmp_path) as (client, server):
            verdict = verdict_of(client)
        assert isinstance(verdict, Refuse)
        assert "elsewhere.example" in verdict.message
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (answer(401, b'{"error":{"code":"Unauthorized","message":""}}'), Renew("401 Unauthorized")),
        (answer(429, b"{}", retry_after="17"), Wait(17.0, "429")),
        (answer(429, gzip.compress(b'{"error":{"message":"in 9 seconds"}}'), content_encoding="gzip"),
         Wait(9.0, "429 in 9 seconds")),
        (answer(504), Split("504")),
        (answer(503, b"x" * 200_000), Retry(f"503 {'x' * 499}…")),
        (answer(503, b"whatever", content_encoding="br"), Retry("503")),
        (sends(reply(500, b'{"error": {"code": "In')[:-2]), Retry('500 {"error": {"code": "')),
    ],
)  # fmt: skip
def test_errors_become_verdicts_before_any_body(
    script: Script, expected: Verdict, ca: trustme.CA, tmp_path: Path
) -> None:
    with asking(script, ca, tmp_path) as (client, _):
        assert verdict_of(client) == expected


def test_a_missing_permission_is_named(ca: trustme.CA, tmp_path: Path) -> None:
    with asking(answer(403, b'{"error":{"code":"Forbidden","message":"no"}}'), ca, tmp_path) as (client, _):
        assert "ThreatHunting.Read.All" in str(verdict_of(client))


def test_threads_share_the_pool(ca: trustme.CA, tmp_path: Path) -> None:
    with asking(answer(200, PLAIN), ca, tmp_path) as (client, server):
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lambda n: whole(client, f"T{n}"), range(40))) == {PLAIN}
        assert {json.loads(asked.body)["Query"] for asked in server.asked} == {f"T{n}" for n in range(40)}
        assert server.connections <= 4


def test_leaving_early_drops_the_reply_and_leaves_the_client_usable(ca: trustme.CA, tmp_path: Path) -> None:
    with asking(answer(200, PLAIN * 200), ca, tmp_path) as (client, _):
        with client.ask("T") as segments:
            next(segments)
        assert len(whole(client)) == 200 * len(PLAIN)


def test_a_failed_login_passes_through(ca: trustme.CA, tmp_path: Path) -> None:
    class Nobody(Fixed):
        def token(self) -> str:
            raise Refused("no token for you")

    with loopback(answer(200), ca, tmp_path) as server:
        there = connection(APIS["xdr"], Cloud.GLOBAL, api_url=server.url, ca_bundle=server.ca)
        client = Client(there, Nobody(), request_seconds=1, max_body_bytes=1)
        with pytest.raises(Refused), client.ask("T"):
            pass
        client.close()
    assert not server.asked


def test_the_token_is_in_no_log_and_no_traceback(
    ca: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for script in (answer(200, PLAIN), answer(403), sends(b""), sends(reply(200, PLAIN)[:-50], reset=True)):
        with asking(script, ca, tmp_path) as (client, _):
            try:
                whole(client)
            except NotAccepted as error:
                shown = traceback.TracebackException.from_exception(error, capture_locals=True)
                assert shown.__suppress_context__ or shown.__context__ is None
                ours = [frame for frame in shown.stack if frame.filename != __file__]
                assert ours
                assert not [frame.locals for frame in ours if TOKEN in str(frame.locals)]
    assert caplog.text
    assert TOKEN not in caplog.text
