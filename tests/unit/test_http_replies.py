"""The client without a network: its request, the replies that it accepts, and the other verdicts."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import httpx
import pytest
from http_handler import TOKEN, FakeClock, Handler, Tokens, client_of, replies, reply, without_sockets

from hunting_pipeline.apis import APIS
from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.apis.connection import connection
from hunting_pipeline.errors import Refused
from hunting_pipeline.http.client import Client, NotAccepted
from hunting_pipeline.http.transport import open_client
from hunting_pipeline.http.verdict import NoAnswer, Refuse, Renew, Retry, Split, Verdict, Wait

__all__ = ["without_sockets"]

pytestmark = pytest.mark.usefixtures("without_sockets")

NINE_SECONDS = b'{"error":{"message":"in 9 seconds"}}'
PLAIN = json.dumps({"schema": [], "results": [{"A": n} for n in range(2000)]}).encode()


def whole(client: Client, query: str = "T") -> bytes:
    with client.ask(query) as segments:
        return b"".join(segments)


def verdict_on(handler: Handler, *, seconds: float = 10, ceiling: int = 10_000_000) -> Verdict:
    with client_of(handler, seconds=seconds, ceiling=ceiling) as client:
        return verdict_of(client)


def verdict_of(client: Client) -> Verdict:
    with pytest.raises(NotAccepted) as caught:
        whole(client)
    return caught.value.verdict


def test_sockets_are_blocked_here() -> None:
    with open_client(None, read_seconds=1) as client, pytest.raises(AssertionError, match="network"):
        client.get("https://localhost:1/")


def test_one_post_with_the_query_the_token_and_gzip_requested() -> None:
    query = 'T\n| where A == "ü\\n"'
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return reply(200, PLAIN)

    with client_of(handler) as client:
        assert whole(client, query) == PLAIN
    [request] = asked
    assert (request.method, request.url.path) == ("POST", "/v1.0/security/runHuntingQuery")
    assert json.loads(request.content) == {"Query": query}
    assert b"\n" not in request.content
    assert request.headers["authorization"] == f"Bearer {TOKEN}-0"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "gzip"
    assert request.headers["user-agent"] == "hunting-pipeline"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (PLAIN, "identity"),
        (gzip.compress(PLAIN), "gzip"),
        (gzip.compress(PLAIN[:99]) + gzip.compress(PLAIN[99:]), "x-gzip"),
        (zlib.compress(PLAIN), "Deflate"),
    ],
)
def test_bodies_are_inflated(body: bytes, encoding: str) -> None:
    with client_of(lambda _: reply(200, body[:50], body[50:], content_encoding=encoding)) as client:
        assert whole(client) == PLAIN


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip"])
def test_an_encoding_that_was_not_requested_is_refused(encoding: str) -> None:
    assert isinstance(verdict_on(lambda _: reply(200, b"x", content_encoding=encoding)), Refuse)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_costs_one_chunk_and_is_a_split(encoding: str) -> None:
    packer = zlib.compressobj(wbits=31 if encoding == "gzip" else 15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    with client_of(lambda _: reply(200, bomb, content_encoding=encoding), ceiling=50_000_000) as client:
        sizes: list[int] = []
        tracemalloc.start()
        with pytest.raises(NotAccepted) as caught, client.ask("T") as segments:
            sizes.extend(map(len, segments))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert isinstance(caught.value.verdict, Split)
    assert max(sizes) <= 1 << 18
    assert 49_000_000 < sum(sizes) <= 50_000_000
    assert peak < 8_000_000


@pytest.mark.parametrize(("pack", "encoding"), [(bytes, "identity"), (gzip.compress, "gzip")])
def test_a_body_over_the_ceiling_is_a_split(pack: Callable[[bytes], bytes], encoding: str) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        return reply(200, pack(PLAIN), content_encoding=encoding)

    with client_of(handler, ceiling=len(PLAIN)) as client:
        assert whole(client) == PLAIN
    assert isinstance(verdict_on(handler, ceiling=len(PLAIN) - 1), Split)


def dripping(clock: FakeClock, *, seconds: float) -> Handler:
    """Return a handler whose reply comes in ten chunks of a kilobyte, one each `seconds`."""

    def body() -> Iterator[bytes]:
        for _ in range(10):
            clock.sleep(seconds)
            yield bytes(1000)

    return lambda _: httpx.Response(200, content=body())


def test_the_waits_for_a_body_are_added_up_to_the_deadline() -> None:
    clock = FakeClock()
    with client_of(dripping(clock, seconds=2), seconds=10, monotonic=clock.now) as client:
        started = clock.now()
        verdict = verdict_of(client)
    assert verdict == NoAnswer("the reply took longer than 15 seconds")
    assert clock.now() - started == 16  # the eighth chunk crosses 1.5 times the limit


def test_the_wait_for_the_head_counts_towards_the_deadline() -> None:
    clock = FakeClock()

    def handler(request: httpx.Request) -> httpx.Response:
        clock.sleep(10)
        return dripping(clock, seconds=2)(request)

    with client_of(handler, seconds=10, monotonic=clock.now) as client:
        started = clock.now()
        assert isinstance(verdict_of(client), NoAnswer)
    assert clock.now() - started == 16


def test_the_time_of_a_slow_reader_does_not_count() -> None:
    clock = FakeClock()
    with (
        client_of(dripping(clock, seconds=1), seconds=10, monotonic=clock.now) as client,
        client.ask("T") as segments,
    ):
        total = 0
        for segment in segments:
            total += len(segment)
            clock.sleep(100)
    assert total == 10_000


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    verdict = verdict_on(replies(lambda: reply(status, location="https://elsewhere.example/x")))
    assert isinstance(verdict, Refuse)
    assert "elsewhere.example" in verdict.message


def test_plain_http_is_refused_over_any_transport() -> None:
    transport = httpx.MockTransport(replies())
    with (
        open_client(None, read_seconds=1, transport=transport) as client,
        pytest.raises(httpx.UnsupportedProtocol),
    ):
        client.get("http://localhost/")


def test_no_proxy_of_the_environment_gets_the_requests_of_a_given_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with client_of(replies(lambda: reply(200, PLAIN))) as client:
        assert whole(client) == PLAIN


def broken(error: Exception, *before: bytes, status: int = 200) -> Handler:
    """Return a handler whose body ends in `error` after the chunks `before`."""

    def body() -> Iterator[bytes]:
        yield from before
        raise error

    return lambda _: httpx.Response(status, content=body())


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (lambda _: reply(401, b'{"error":{"code":"Unauthorized","message":""}}'), Renew("401 Unauthorized")),
        (lambda _: reply(429, b"{}", retry_after="17"), Wait(17.0, "429")),
        (lambda _: reply(429, gzip.compress(NINE_SECONDS), content_encoding="gzip"),
         Wait(9.0, "429 in 9 seconds")),
        (lambda _: reply(504), NoAnswer("504")),
        (lambda _: reply(503, b"x" * 200_000), Retry(f"503 {'x' * 499}…")),
        (lambda _: reply(503, b"whatever", content_encoding="br"), Retry("503")),
        (broken(httpx.RemoteProtocolError("cut"), b'{"error": {"code": "In', status=500),
         Retry('500 {"error": {"code": "In')),
    ],
)  # fmt: skip
def test_errors_become_verdicts_before_any_body(handler: Handler, expected: Verdict) -> None:
    assert verdict_on(handler) == expected


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ReadTimeout("t"), NoAnswer),
        (httpx.ReadError("reset"), Retry),
        (httpx.ProxyError("407"), Refuse),
    ],
)
def test_a_failure_of_the_network_is_judged_before_and_within_the_body(error: Exception, kind: type) -> None:
    def unreached(_: httpx.Request) -> httpx.Response:
        raise error

    assert isinstance(verdict_on(unreached), kind)
    with client_of(broken(error, PLAIN)) as client, client.ask("T") as segments:
        assert next(segments) == PLAIN
        with pytest.raises(NotAccepted) as caught:
            next(segments)
    assert isinstance(caught.value.verdict, kind)


def test_a_missing_permission_is_named() -> None:
    verdict = verdict_on(lambda _: reply(403, b'{"error":{"code":"Forbidden","message":"no"}}'))
    assert "ThreatHunting.Read.All" in str(verdict)


def test_a_captive_portal_is_named() -> None:
    verdict = verdict_on(lambda _: reply(200, b"<html>Welcome to our network", content_type="text/html"))
    assert isinstance(verdict, Retry)
    assert verdict.reason.startswith("200 web page: Welcome to our network; ")


def test_a_failed_login_passes_through() -> None:
    class NoToken(Tokens):
        def token(self) -> str:
            raise Refused("no token for you")

    with (
        client_of(replies(), api="xdr", tokens=NoToken()) as client,
        pytest.raises(Refused, match="no token for you"),
        client.ask("T"),
    ):
        pass


def test_each_api_is_called_at_its_own_url() -> None:
    for api in APIS:
        asked: list[str] = []

        def handler(request: httpx.Request, asked: list[str] = asked) -> httpx.Response:
            asked.append(str(request.url))
            return reply(200, PLAIN)

        with client_of(handler, api=api) as client:
            whole(client)
        assert asked == [connection(APIS[api], Cloud.GLOBAL).url]
