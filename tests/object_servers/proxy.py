"""A proxy in front of a test server. It counts requests and breaks those that a rule matches.

    with watch(s3) as (bucket, proxy):
        proxy.rules.append(Rule(lambda request: request.kind == "PUT", Break.ANSWER))
        ...  # a lake with bucket.settings: the first PUT succeeds, and its answer is lost
        assert proxy.count("LIST") == 1

Each request keeps its `Host` header, which the signatures of S3 cover.
"""

import contextlib
import http.client
import io
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any
from urllib.parse import parse_qs, unquote, urlsplit

from object_servers.buckets import SCHEMES, Bucket

CHUNK = 1 << 18
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "proxy-connection", "expect"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        kind: `LIST`, `DELETE` (also many keys at once), or else the method.
        path: path of the URL without query, decoded: `/bucket/lake/key`.
        sent: size of the request's body in bytes.
        status: status of the answer. It is 0 if no answer was awaited.
        received: size of the answer's body in bytes, as the server announced it.
    """

    kind: str
    path: str
    headers: dict[str, str]
    sent: int
    status: int = 0
    received: int = 0


class Break(Enum):
    """Ways to break a connection."""

    REQUEST = "the server gets half of the body, then both connections are reset"
    ANSWER = "the server gets the whole request, and its answer is dropped"
    UNSURE = "the server gets the whole request, and the client gets 503 instead of its answer"
    BODY = "the client gets half of the answer's body, then its connection is reset"
    HELD_REQUEST = "the server gets half of the body, and no more until the client is killed"
    HELD_ANSWER = "the server gets the whole request, and its answer waits until the client is killed"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the proxy itself. The server is not asked."""

    status: int
    code: str

    def body(self) -> bytes:
        return f'<?xml version="1.0"?><Error><Code>{self.code}</Code></Error>'.encode()


_ANSWERS = {
    "busy": {"s3": Answer(503, "SlowDown"), "az": Answer(503, "ServerBusy"), "gs": Answer(503, "SlowDown")},
    "expired": {
        "s3": Answer(400, "ExpiredToken"),
        "az": Answer(403, "AuthenticationFailed"),
        "gs": Answer(401, "AuthenticationRequired"),
    },
    "skewed": {
        "s3": Answer(403, "RequestTimeTooSkewed"),
        "az": Answer(403, "AuthenticationFailed"),
        "gs": Answer(403, "RequestTimeTooSkewed"),
    },
    "forbidden": {
        "s3": Answer(403, "AccessDenied"),
        "az": Answer(403, "AuthorizationPermissionMismatch"),
        "gs": Answer(403, "AccessDenied"),
    },
}
"""Answers by fault and URL scheme: a busy store, expired credentials, a wrong clock, a missing right."""


def answer(bucket: Bucket, fault: str) -> Answer:
    """Return the answer of this bucket's kind of store to a fault: a key of `_ANSWERS`."""
    return _ANSWERS[fault][SCHEMES.get(bucket.kind, "s3")]


@dataclass(slots=True)
class Rule:
    """Breaks requests.

    Attributes:
        matches: whether the rule concerns a request.
        fault: what happens to the request.
        times: how many requests the rule still breaks.
    """

    matches: Callable[[Request], bool]
    fault: Answer | Break
    times: int = 1


@dataclass
class Proxy:
    """The requests that a proxy saw, and its rules. The first rule that matches applies."""

    server: str
    rules: list[Rule] = field(default_factory=list)
    seen: list[Request] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def counts(self) -> Counter[str]:
        """Count the requests by kind."""
        with self._lock:
            return Counter(request.kind for request in self.seen)

    def count(self, *kinds: str) -> int:
        """Count the requests of these kinds, or all requests."""
        counts = self.counts()
        return sum(counts[kind] for kind in kinds or counts)

    def clear(self) -> None:
        """Forget the requests seen so far."""
        with self._lock:
            self.seen.clear()

    def note(self, request: Request) -> None:
        with self._lock:
            self.seen.append(request)

    def fault_for(self, request: Request) -> Answer | Break | None:
        """Return what happens to a request, and use up one time of its rule."""
        with self._lock:
            for rule in self.rules:
                if rule.times > 0 and rule.matches(request):
                    rule.times -= 1
                    return rule.fault
        return None


@contextmanager
def watch(bucket: Bucket) -> Iterator[tuple[Bucket, Proxy]]:
    """Put a proxy in front of a bucket. Yields the bucket at the proxy's address, and the proxy."""
    proxy = Proxy(bucket.server)
    server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"proxy": proxy}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}{urlsplit(bucket.server).path}"
        yield replace(bucket, endpoint=address), proxy
    finally:
        server.shutdown()
        server.server_close()


def _kind(method: str, query: dict[str, list[str]]) -> str:
    if method == "GET" and ("list-type" in query or query.get("comp") == ["list"]):
        return "LIST"
    if method == "POST" and ("delete" in query or query.get("comp") == ["batch"]):
        return "DELETE"
    return method


class _Server(ThreadingHTTPServer):
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback if a client breaks its connection."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: Proxy

    def _forward(self) -> None:
        request = self._read_head()
        self._left = request.sent
        fault = self.proxy.fault_for(request)
        try:
            if isinstance(fault, Answer):
                self._drain()
                self.proxy.note(replace(request, status=fault.status))
                self._answer(fault)
            else:
                self._exchange(request, fault)
        except (OSError, http.client.HTTPException):
            self._reset()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward  # noqa: N815 # names of http.server

    def _read_head(self) -> Request:
        path, _, query = self.path.partition("?")
        return Request(
            kind=_kind(self.command, parse_qs(query, keep_blank_values=True)),
            path=unquote(path),
            headers={name.lower(): value for name, value in self.headers.items()},
            sent=int(self.headers.get("Content-Length", 0)),
        )

    def _exchange(self, request: Request, fault: Break | None) -> None:
        """Send the request to the server and its answer to the client, as far as the fault lets them."""
        parts = urlsplit(self.proxy.server)
        with contextlib.closing(http.client.HTTPConnection(str(parts.hostname), parts.port)) as upstream:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    upstream.putheader(name, value)
            upstream.endheaders()
            if fault in {Break.REQUEST, Break.HELD_REQUEST}:
                self._copy_body(upstream, request.sent // 2)
                self.proxy.note(request)
                if fault is Break.HELD_REQUEST:
                    self._await_end()
                _reset(upstream.sock)
                self._reset()
                return
            self._copy_body(upstream, request.sent)
            reply = upstream.getresponse()
            self._drain()
            self._relay(request, reply, fault)

    def _copy_body(self, upstream: http.client.HTTPConnection, size: int) -> None:
        """Send this many bytes of the body. A server that answers early may close its side."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while size > 0:
                data = self._take(min(size, CHUNK))
                size -= len(data)
                upstream.send(data)

    def _relay(self, request: Request, reply: http.client.HTTPResponse, fault: Break | None) -> None:
        size = reply.getheader("Content-Length")
        headers = [(n, v) for n, v in reply.getheaders() if n.lower() not in HOP_BY_HOP]
        source: IO[bytes] = reply
        if size is None and self.command != "HEAD" and reply.status not in {204, 304}:
            body = reply.read()  # its size is not known before
            source, size = io.BytesIO(body), str(len(body))
            headers.append(("Content-Length", size))
        length = 0 if self.command == "HEAD" else int(size or 0)
        self.proxy.note(replace(request, status=reply.status, received=length))
        if fault in {Break.ANSWER, Break.UNSURE}:
            reply.read()  # the server has finished
            self._reset() if fault is Break.ANSWER else self._answer(Answer(503, "ServiceUnavailable"))
            return
        if fault is Break.HELD_ANSWER:
            reply.read()
            self._await_end()
            return
        self._send_head(reply.status, headers)
        left = length // 2 if fault is Break.BODY else length
        while left > 0 and (data := source.read(min(left, CHUNK))):
            self.wfile.write(data)
            left -= len(data)
        if fault is Break.BODY:
            self._reset()

    def _answer(self, answer: Answer) -> None:
        body = answer.body()
        self._send_head(
            answer.status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
        )
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_head(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def _take(self, most: int) -> bytes:
        data = self.rfile.read(most)
        if not data:
            raise ConnectionAbortedError("the client closed its connection")
        self._left -= len(data)
        return data

    def _drain(self) -> None:
        while self._left > 0:
            self._take(min(self._left, CHUNK))

    def _await_end(self) -> None:
        """Wait until the client has closed its connection, as the system does for a killed process."""
        with contextlib.suppress(ConnectionResetError):
            while self.rfile.read(CHUNK):
                pass

    def _reset(self) -> None:
        self.close_connection = True
        _reset(self.connection)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


def _reset(connection: socket.socket) -> None:
    """Close a connection with a reset, and not in order."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
