"""The client over real sockets and TLS: failures of the network, pooling, and secrecy of the token."""

import contextlib
import gzip
import json
import logging
import socket
import struct
import threading
import time
import traceback
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
from hunting_pipeline.http.client import Client, NotAccepted
from hunting_pipeline.http.verdict import NoAnswer, Retry, Verdict

__all__ = ["ca"]

TOKEN = "t0ken-never-shown"
PLAIN = json.dumps({"schema": [], "results": [{"A": n} for n in range(2000)]}).encode()


class Fixed:
    """A source of one fixed token."""

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
    """Return a script that sends the bytes and closes the connection, optionally with a reset."""

    def script(conn: socket.socket, _: Asked) -> None:
        conn.sendall(data)
        if reset:
            time.sleep(0.05)
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return script


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
def test_a_chunked_reply_that_is_cut_anywhere_is_never_accepted(
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


def test_a_cut_is_raised_by_the_iterator_after_the_received_bytes(ca: trustme.CA, tmp_path: Path) -> None:
    with (
        asking(sends(reply(200, PLAIN)[:-50]), ca, tmp_path) as (client, _),
        client.ask("T") as segments,
    ):
        came = [next(segments)]
        with pytest.raises(NotAccepted):
            came.extend(segments)
        assert b"".join(came) == PLAIN[:-50]


def test_a_silent_service_is_a_split(ca: trustme.CA, tmp_path: Path) -> None:
    for head in (b"", reply(200, PLAIN)[:-50]):
        silent = threading.Event()

        def script(
            conn: socket.socket, _: Asked, head: bytes = head, silent: threading.Event = silent
        ) -> None:
            conn.sendall(head)
            silent.wait(5)

        with asking(script, ca, tmp_path, seconds=0.3) as (client, _):
            assert isinstance(verdict_of(client), NoAnswer)
        silent.set()


def test_a_slow_body_that_never_times_out_ends_at_the_total_deadline(ca: trustme.CA, tmp_path: Path) -> None:
    def script(conn: socket.socket, _: Asked) -> None:
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _byte in range(100):
            conn.sendall(b"x")
            time.sleep(0.05)

    with asking(script, ca, tmp_path, seconds=0.4) as (client, _):
        started = time.monotonic()
        verdict = verdict_of(client)
        took = time.monotonic() - started
    assert isinstance(verdict, NoAnswer)
    assert "took longer" in verdict.reason
    assert took < 3


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
