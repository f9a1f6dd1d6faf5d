"""The loopback server of the HTTP tests, and the verdicts on httpx's errors."""

import contextlib
import inspect
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import trustme

from hunting_pipeline.http.transport import JUDGEMENTS, judge_transport, open_client
from hunting_pipeline.http.verdict import NoAnswer, Refuse, Retry


@dataclass
class Asked:
    """A request as received over the socket."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[socket.socket, Asked], object]


@dataclass
class Loopback:
    """A TLS server of raw sockets: `script` writes the reply; a true result keeps the connection."""

    script: Script
    url: str
    ca: Path
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return a whole HTTP reply with its length."""
    headers = {"content_length": str(len(body))} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode() + body


def answer(status: int, body: bytes = b"", **headers: str) -> Script:
    """Return a script that sends one reply and keeps the connection."""

    def script(conn: socket.socket, _: Asked) -> bool:
        conn.sendall(reply(status, body, **headers))
        return True

    return script


def read_request(conn: socket.socket) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = conn.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += conn.recv(65536)
    method, path, _ = first.split(" ")
    return Asked(method, path, headers, body)


def serve_connection(server: Loopback, raw: socket.socket, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as conn:
        while (asked := read_request(conn)) is not None:
            server.asked.append(asked)
            if not server.script(conn, asked):
                return


@contextlib.contextmanager
def loopback(script: Script, ca: trustme.CA, folder: Path) -> Iterator[Loopback]:
    """Serve `script` on a free port until the context ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    listener = socket.create_server(("127.0.0.1", 0))
    server = Loopback(script, f"https://localhost:{listener.getsockname()[1]}", folder / "ca.pem")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = listener.accept()
                server.connections += 1
                threading.Thread(target=serve_connection, args=(server, raw, context), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


def httpx_errors() -> list[type[Exception]]:
    return [
        member
        for _, member in inspect.getmembers(httpx, inspect.isclass)
        if issubclass(member, Exception) and member.__module__ == "httpx"
    ]


def test_every_transport_error_of_httpx_has_a_judgement() -> None:
    raised = {error for error in httpx_errors() if issubclass(error, httpx.HTTPError)}
    families = {error for error in raised if error.__subclasses__()}
    assert set(JUDGEMENTS) == raised - families
    outside = {error for error in httpx_errors() if not issubclass(error, httpx.HTTPError)}
    assert outside == {  # wrong use of httpx, not a failed call: these may reach the caller unchanged
        httpx.CookieConflict,
        httpx.InvalidURL,
        httpx.StreamError,
        httpx.StreamConsumed,
        httpx.StreamClosed,
        httpx.ResponseNotRead,
        httpx.RequestNotRead,
    }


@pytest.mark.parametrize("error", [e for e in httpx_errors() if issubclass(e, httpx.TransportError)])
def test_each_judgement_is_a_verdict(error: type[httpx.TransportError]) -> None:
    verdict = judge_transport(error("what happened"))
    expected = {httpx.ReadTimeout: NoAnswer, httpx.UnsupportedProtocol: Refuse, httpx.ProxyError: Refuse}
    if error not in JUDGEMENTS or error is httpx.LocalProtocolError:
        assert verdict == Refuse(f"the request could not be sent ({error.__name__})")
    else:
        assert isinstance(verdict, expected.get(error, Retry))


def test_a_header_quoted_by_h11_does_not_reach_the_message() -> None:
    verdict = judge_transport(httpx.LocalProtocolError("Illegal header value b'Bearer s3cr3t\\n'"))
    assert "s3cr3t" not in str(verdict)


@pytest.mark.parametrize(
    ("text", "kind"), [("503 Service Unavailable", Retry), ("407 Proxy Authentication Required", Refuse)]
)
def test_a_proxy_that_is_down_is_not_a_proxy_that_refuses(text: str, kind: type) -> None:
    assert isinstance(judge_transport(httpx.ProxyError(text)), kind)


def failure(url: str, ca_bundle: Path | None = None) -> httpx.HTTPError:
    client = open_client(ca_bundle, read_seconds=5)
    with client, pytest.raises(httpx.HTTPError) as caught:
        client.get(url)
    return caught.value


def test_an_unknown_authority_is_refused_with_the_setting(ca: trustme.CA, tmp_path: Path) -> None:
    with loopback(answer(200), ca, tmp_path) as server:
        verdict = judge_transport(failure(server.url))
    assert isinstance(verdict, Refuse)
    assert "ca_bundle" in verdict.message


def test_a_certificate_for_another_host_is_refused(ca: trustme.CA, tmp_path: Path) -> None:
    with loopback(answer(200), ca, tmp_path) as server:
        verdict = judge_transport(failure(server.url.replace("localhost", "127.0.0.1"), server.ca))
    assert isinstance(verdict, Refuse)
    assert "mismatch" in verdict.message


def test_a_host_that_speaks_plain_http_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def plain() -> None:
            conn, _ = listener.accept()
            with conn:
                conn.recv(4096)
                conn.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=plain, daemon=True).start()
        verdict = judge_transport(failure(f"https://127.0.0.1:{listener.getsockname()[1]}"))
    assert isinstance(verdict, Refuse)
    assert "supports https" in verdict.message


def test_an_aborted_handshake_and_a_closed_port_are_retried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def hang_up() -> None:
            listener.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        assert isinstance(judge_transport(failure(f"https://127.0.0.1:{port}")), Retry)
    refused = judge_transport(failure(f"https://127.0.0.1:{port}"))
    assert isinstance(refused, Retry)
    assert refused.reason == "no connection to 127.0.0.1: [Errno 111] Connection refused"


def test_plain_http_is_refused() -> None:
    assert isinstance(failure("http://127.0.0.1:9/"), httpx.UnsupportedProtocol)


def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def proxy() -> None:
            conn, _ = listener.accept()
            with conn:
                heard.append(conn.recv(4096))
                conn.sendall(b"HTTP/1.1 403 Not here\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=proxy, daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("https_proxy", raising=False)
        error = failure("https://graph.microsoft.com/")
    assert heard[0].startswith(b"CONNECT graph.microsoft.com:443")
    assert isinstance(error, httpx.ProxyError)
