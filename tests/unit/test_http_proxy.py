"""The proxies and authorities of the environment, over real proxies on the loopback address."""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from test_http_client import PLAIN, Fixed, whole
from test_http_transport import Asked, Loopback, answer, ca, failure, loopback, reply

from hunting_pipeline.apis import APIS
from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.apis.connection import connection
from hunting_pipeline.auth.secret import ClientSecret
from hunting_pipeline.auth.tokens import tokens
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.http.client import Client
from hunting_pipeline.http.transport import judge_transport, open_client
from hunting_pipeline.http.verdict import Refuse, Retry

__all__ = ["ca"]

PASSWORD = "s3cr3t-never-shown"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith(("_proxy", "ca_bundle")) or name.startswith("SSL_CERT_"):
            monkeypatch.delenv(name)


@dataclass
class Proxy:
    """An HTTP or SOCKS5 proxy that connects every tunnel to the port that the request names."""

    port: int
    socks: bool = False
    context: ssl.SSLContext | None = None
    heads: list[bytes] = field(default_factory=list)

    def serve(self, raw: socket.socket) -> None:
        with contextlib.suppress(OSError):
            conn = self.context.wrap_socket(raw, server_side=True) if self.context else raw
            port = self._socks_port(conn) if self.socks else self._http_port(conn)
            with conn, socket.create_connection(("127.0.0.1", port)) as server:
                back = threading.Thread(target=pump, args=(server, conn), daemon=True)
                back.start()
                pump(conn, server)
                back.join()

    def _http_port(self, conn: socket.socket) -> int:
        self.heads.append(conn.recv(4096))
        conn.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        return int(self.heads[-1].split(b" ")[1].rpartition(b":")[2])

    def _socks_port(self, conn: socket.socket) -> int:
        conn.recv(4096)
        conn.sendall(b"\5\0")
        self.heads.append(conn.recv(4096))
        conn.sendall(b"\5\0\0\1\0\0\0\0\0\0")
        return int.from_bytes(self.heads[-1][-2:], "big")


def pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxy(*, socks: bool = False, context: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = Proxy(listener.getsockname()[1], socks, context)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=served.serve, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield served
        listener.shutdown(socket.SHUT_RDWR)


def ask_api(server: Loopback, bundle: Path | None) -> None:
    there = connection(APIS["graph"], Cloud.GLOBAL, api_url=server.url, ca_bundle=bundle)
    client = Client(there, Fixed(), request_seconds=10, max_body_bytes=10_000_000)
    with contextlib.closing(client):
        assert whole(client) == PLAIN


def ask_login(server: Loopback, bundle: Path | None) -> None:
    there = connection(APIS["graph"], Cloud.GLOBAL, login_url=server.url, ca_bundle=bundle)
    app = tokens(ClientSecret(client_secret=PASSWORD), tenant_id="t", client_id="c", connection=there)
    assert app.token() == "token"


Ask = Callable[[Loopback, Path | None], None]
each_host = pytest.mark.parametrize("ask", [ask_api, ask_login])


@contextlib.contextmanager
def service(ca: trustme.CA, folder: Path) -> Iterator[Loopback]:
    """Serve the API and the login host."""

    def script(conn: socket.socket, asked: Asked) -> bool:
        base = f"{server.url}/t/oauth2/v2.0/"
        said: dict[str, object] = {"access_token": "token", "expires_in": 3599}
        if asked.path.endswith("/openid-configuration"):
            said = {"authorization_endpoint": f"{base}authorize", "token_endpoint": f"{base}token"}
        body = PLAIN if "Hunting" in asked.path else json.dumps(said).encode()
        conn.sendall(reply(200, body, content_type="application/json"))
        return True

    with loopback(script, ca, folder) as server:
        yield server


@each_host
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_each_variable_names_the_proxy_of_the_api_and_the_login_host(
    name: str, ask: Ask, ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service(ca, tmp_path) as server, proxy() as through:
        monkeypatch.setenv(name, f"http://user:pa%23ss@127.0.0.1:{through.port}")
        ask(server, server.ca)
    assert through.heads[0].startswith(b"CONNECT localhost:")
    assert b"Proxy-Authorization: Basic dXNlcjpwYSNzcw==" in through.heads[0]


@each_host
@pytest.mark.parametrize(
    "no_proxy", ["localhost,::1,fd00::/8", "[::1], fe80::/10,LOCALHOST", "*", "x,*", "10.0.0.0/8 localhost"]
)
def test_no_proxy_is_read_by_the_api_and_the_login_host(
    no_proxy: str, ask: Ask, ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service(ca, tmp_path) as server:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("NO_PROXY", no_proxy)
        ask(server, server.ca)


def test_a_proxy_without_a_scheme_is_an_http_proxy(
    ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service(ca, tmp_path) as server, proxy() as through:
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{through.port}/")
        ask_api(server, server.ca)
    assert through.heads


def test_the_authorities_of_the_host_also_sign_for_an_https_proxy(
    ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    with service(ca, tmp_path) as server, proxy(context=context) as through:
        monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{through.port}")
        ask_api(server, server.ca)
    assert through.heads


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.0.0.0/8", "https://graph.microsoft.com/", False),
        ("10.1.2.3", "https://10.1.2.3:8443/", True),
        ("10.1.2.3/8", "https://10.9.9.9/", True),
        ("fd00::/8", "https://[fd12::1]/", True),
        ("[fd00::]/8", "https://[fd12::1]/", True),
        ("fd00::/8", "https://[fe80::1]/", False),
        ("fe80::/10", "https://[fe80::1]:8443/", True),
        ("::1", "https://[::1]:8443/", True),
        ("[::1]", "https://[::1]/", True),
        ("[::1]:8443", "https://[::1]:8443/", True),
        ("[::1]:8443", "https://[::1]:9/", False),
        ("0:0:0:0:0:0:0:1", "https://[::1]/", True),
        ("microsoft.com", "https://graph.microsoft.com/", True),
        (".microsoft.com", "https://graph.microsoft.com/", True),
        ("*.microsoft.com", "https://graph.microsoft.com/", True),
        ("Graph.Microsoft.com", "https://graph.microsoft.com/", True),
        ("graph.microsoft.com:443", "https://graph.microsoft.com/", True),
        ("graph.microsoft.com:8443", "https://graph.microsoft.com/", False),
        ("https://graph.microsoft.com", "https://graph.microsoft.com/", True),
        ("microsoft.com", "https://notmicrosoft.com/", False),
        ("10.0.0.0/99,[::1,:,//,%%", "https://10.1.2.3/", False),
        ("", "https://10.1.2.3/", False),
    ],
)
def test_an_entry_of_no_proxy_covers_hosts(
    no_proxy: str, url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host without a proxy fails at the lookup or at the connection, which the patched sockets refuse."""
    reached: list[str] = []

    def refuse(address: tuple[str, int], *_: object, **__: object) -> None:
        reached.append(address[0])
        raise OSError("this test has no network")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:8080")
    monkeypatch.setenv("no_proxy", no_proxy)
    verdict = judge_transport(failure(url))
    assert isinstance(verdict, Retry)
    assert (reached == ["proxy.example"]) is not direct
    assert ("through the proxy in HTTPS_PROXY" in verdict.reason) is not direct


UNUSABLE = [
    f"http://user:{PASSWORD}#ss@host:8080",
    f"http://user:80#{PASSWORD}@host:8080",
    f"http://user:80/{PASSWORD}@host:8080",
    f"http://user:{PASSWORD}/@host:8080",
    f"http://user:80?{PASSWORD}@host:8080",
    f"user:{PASSWORD}#@host:8080",
    f"http://user:{PASSWORD}@host:port",
    f"http://user:{PASSWORD}@host:99999",
    f"http://user:{PASSWORD}@:8080",
    f"http://user:{PASSWORD}@[::1",
    f"http://user:{PASSWORD}\x7f@host",
    f"socks4://user:{PASSWORD}@host:1080",
    f"ftp://user:{PASSWORD}@host",
    f'"http://user:{PASSWORD}@host:8080"',
    f"http//user:{PASSWORD}@host",
    "http://",
]


@pytest.mark.parametrize("value", UNUSABLE)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_an_unusable_proxy_is_named_without_its_password(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match=f"^{name} is not the URL of a proxy") as caught:
        open_client(None, read_seconds=5)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame for frame in shown.stack if frame.filename != __file__]
    assert not [frame.locals for frame in ours if PASSWORD[:6] in str(frame.locals)]
    assert PASSWORD[:6] not in str(caught.value)


def test_the_login_host_names_an_unusable_proxy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    app = tokens(
        ClientSecret(client_secret=PASSWORD),
        tenant_id="t",
        client_id="c",
        connection=connection(APIS["graph"], Cloud.GLOBAL),
    )
    monkeypatch.setenv("HTTPS_PROXY", UNUSABLE[0])
    with pytest.raises(Misconfigured, match="HTTPS_PROXY"):
        app.token()


def test_an_empty_variable_names_no_proxy(
    ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "")
    with service(ca, tmp_path) as server:
        ask_api(server, server.ca)


def test_a_socks_proxy_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks5://user:{PASSWORD}@127.0.0.1:1080")
    monkeypatch.setitem(sys.modules, "socksio", None)
    for module in [name for name in sys.modules if name.startswith("httpcore._sync.socks")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(Misconfigured, match=r"^ALL_PROXY .*hunting-pipeline\[socks\]") as caught:
        open_client(None, read_seconds=5)
    assert PASSWORD not in str(caught.value)


@each_host
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy_connects_the_api_and_the_login_host(
    scheme: str, ask: Ask, ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("socksio")
    with service(ca, tmp_path) as server, proxy(socks=True) as through:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{through.port}")
        ask(server, server.ca)
    assert b"localhost" in through.heads[0]


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", Retry),
        (b"\5\xff", Refuse),
        (b"", Retry),
    ],
)
def test_a_socks_proxy_that_fails_is_a_verdict(
    says: bytes, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("socksio")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_once() -> None:
            conn, _ = listener.accept()
            with conn:
                conn.recv(4096)
                conn.sendall(says)

        threading.Thread(target=answer_once, daemon=True).start()
        monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{listener.getsockname()[1]}")
        verdict = judge_transport(failure("https://graph.microsoft.com/"))
    assert isinstance(verdict, kind)


@each_host
@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_authorities_of_the_environment_are_trusted(
    name: str, ask: Ask, ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service(ca, tmp_path) as server:
        monkeypatch.setenv(name, str(server.ca))
        ask(server, None)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "SSL_CERT_DIR"])
def test_a_folder_of_authorities_is_trusted(
    name: str, ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    with service(ca, tmp_path) as server:
        (folder / f"{openssl_hash(server.ca)}.0").write_bytes(server.ca.read_bytes())
        monkeypatch.setenv(name, f"/nowhere{os.pathsep}{folder}")
        ask_api(server, None)


def openssl_hash(path: Path) -> str:
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_authorities_that_cannot_be_read_are_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    for value in ("/nowhere/ca.pem", str(empty)):
        monkeypatch.setenv(name, value)
        with pytest.raises(Misconfigured, match=f"^{name} {value} is not a readable PEM file"):
            open_client(None, read_seconds=5)


def test_the_setting_alone_is_trusted_if_it_is_set(
    ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    with loopback(answer(200), ca, tmp_path) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca))
        assert isinstance(judge_transport(failure(server.url, other)), Refuse)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
        with open_client(server.ca, read_seconds=5) as client:
            assert client.get(server.url).status_code == 200
