"""Every door for foreign text removes secrets: API, login host, proxy, headers, replies and Postgres."""

import base64
import contextlib
import json
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote_plus

import httpx
import pytest
import trustme
from http_handler import client_of, reply
from test_auth import SECRET, signing_in, tenant
from test_http_transport import ca

from hunting_pipeline.auth.certificate import Certificate
from hunting_pipeline.auth.federated import FederatedToken
from hunting_pipeline.decode import decode
from hunting_pipeline.errors import HuntingError, ReplyUnreadable, ServiceFailed
from hunting_pipeline.http.client import NotAccepted
from hunting_pipeline.http.transport import transport_errors
from hunting_pipeline.http.verdict import printable
from hunting_pipeline.limits import TEST
from hunting_pipeline.quota.ledger import open_ledger
from hunting_pipeline.redaction import MASK, hold

__all__ = ["ca"]

HELD = "opaque~token.123/45=="
FORMS = [
    HELD,
    quote_plus(HELD),
    base64.b64encode(f"x:{HELD}".encode()).decode(),
    json.dumps(HELD).replace("/", "\\/")[1:-1],
]


def said(error: BaseException) -> str:
    """Return everything that Dagster stores of an error: its message, its causes and their messages."""
    return "".join(traceback.format_exception(error))


def hides(error: BaseException, *secrets: str) -> None:
    lines = [line for line in said(error).splitlines() if not line.startswith("    ")]
    assert any(MASK[:6] in line for line in lines), lines  # the mask may be cut
    assert not [line for line in lines for secret in (*secrets, *FORMS) if secret in line]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 413, 418, 429, 500, 502, 503, 504])
@pytest.mark.parametrize(
    "body",
    [
        lambda form: json.dumps({"error": {"code": "Bad", "message": f"Bearer {form}"}}).encode(),
        lambda form: json.dumps({"error": {"code": form, "message": "x"}}).encode(),
        lambda form: json.dumps({"error": form}).encode(),
        lambda form: json.dumps([form]).encode(),
        lambda form: f"<html><pre>Authorization: Bearer {form}</pre></html>".encode(),
        lambda form: ("." * 490 + form).encode(),
    ],
)
def test_an_error_of_the_api_is_shown_without_the_token(
    form: str, status: int, body: Callable[[str], bytes]
) -> None:
    hold(HELD)
    handler = lambda _: reply(status, body(form), location=f"https://h/?t={form}")  # noqa: E731
    with client_of(handler) as client, pytest.raises(NotAccepted) as caught, client.ask("T"):
        pass
    hides(caught.value)


def test_a_header_is_shown_without_the_token() -> None:
    hold(HELD)
    handler = lambda _: reply(200, b"x", content_encoding=HELD)  # noqa: E731
    with client_of(handler) as client, pytest.raises(NotAccepted) as caught, client.ask("T") as body:
        list(body)
    hides(caught.value)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [httpx.ProxyError, httpx.ConnectError, httpx.RemoteProtocolError])
def test_an_error_of_the_transport_is_shown_without_the_secret(
    kind: type[httpx.TransportError], form: str
) -> None:
    hold(HELD)
    with pytest.raises(NotAccepted) as caught, transport_errors():
        raise kind(f"407 Proxy Authentication Required: {form}")
    hides(caught.value)


@pytest.mark.parametrize(
    "body", [f"Bearer {HELD}", f'{{"{HELD}": 1}}', f'{{"Schema": [], "{HELD}": 1, "{HELD}": 2}}']
)
def test_an_unreadable_reply_is_quoted_without_the_token(body: str) -> None:
    hold(HELD)
    with pytest.raises(ReplyUnreadable) as caught:
        decode([body.encode()], max_bytes=10_000)
    assert HELD[:6] not in str(caught.value)


def echoing(form: Callable[[str], str], *, html: bool = False) -> Callable[[socket.socket, object], object]:
    """Return a login host that refuses, and quotes the body of the request."""

    def answer(conn: socket.socket, asked: object) -> object:
        text = form(asked.body.decode())  # type: ignore[attr-defined]
        body = (
            f"<html>{text}</html>"
            if html
            else json.dumps({"error": "invalid_client", "error_description": text})
        )
        head = f"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        conn.sendall((head + body).encode())
        return True

    return answer


@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        lambda body: f"AADSTS7000215: wrong: {body}",
        lambda body: f"AADSTS9999: {body.split('client_secret=')[1].split('&')[0]}",
        lambda body: base64.b64encode(body.encode()).decode(),
        lambda body: f"request {SECRET}",
    ],
)
def test_an_error_of_the_login_host_is_shown_without_the_secret(
    ca: trustme.CA, tmp_path: Path, form: Callable[[str], str], html: bool
) -> None:
    hold(SECRET)
    with tenant(ca, tmp_path) as (entra, server):
        entra.says = echoing(form, html=html)
        with pytest.raises(HuntingError) as caught:
            signing_in(server).token()
    text = said(caught.value)
    assert SECRET not in text
    assert SECRET[:8] not in text
    assert base64.b64encode(SECRET.encode()).decode()[:8] not in text


def test_tokens_and_assertions_are_held_once_they_are_used(ca: trustme.CA, tmp_path: Path) -> None:
    (tmp_path / "federated").write_text("assertion-of-the-workload\n")
    with tenant(ca, tmp_path) as (_, server):
        token = signing_in(server, FederatedToken(federated_token=tmp_path / "federated")).token() + "x"
    assert token[:-1] not in printable(f"a {token[:-1]}") or len(token) <= 8
    assert printable("assertion-of-the-workload") == MASK


def test_the_lines_of_a_private_key_are_held(tmp_path: Path) -> None:
    from test_auth import CERTIFICATE_PEM, RSA, key_pem

    (tmp_path / "both.pem").write_bytes(key_pem(RSA) + CERTIFICATE_PEM)
    Certificate(certificate=tmp_path / "both.pem").msal_form()
    for line in key_pem(RSA).decode().splitlines()[1:-2]:
        assert printable(f"near {line}") == f"near {MASK}"
    assert printable(CERTIFICATE_PEM.decode().splitlines()[3]) != MASK


@contextlib.contextmanager
def postgres_that_says(message: str) -> Iterator[int]:
    """Serve one port that answers every connection like a Postgres server that refuses."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    conn, _ = server.accept()
                    with conn:
                        asked = conn.recv(8)
                        if asked[4:] == b"\x04\xd2\x16\x2f":  # SSLRequest
                            conn.sendall(b"N")
                        elif len(asked) == 8:
                            conn.recv(1000)
                        fields = b"SFATAL\0C28P01\0M" + message.encode() + b"\0\0"
                        conn.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)

        threading.Thread(target=serve, daemon=True).start()
        yield int(server.getsockname()[1])


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX socket")
def test_an_error_of_postgres_is_shown_without_the_password() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with postgres_that_says("password hush-hush is wrong; aHVzaC1odXNo") as port:
        url = f"postgresql://ada:hush-hush@127.0.0.1:{port}/db?sslmode=disable&gssencmode=disable"
        with pytest.raises(ServiceFailed, match="ledger db on") as caught:
            open_ledger(url, tenant="t", limits=TEST)
    assert MASK in str(caught.value)
    hides(caught.value, "hush-hush", "aHVzaC1odXNo")
