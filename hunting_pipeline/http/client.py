"""The client of the hunting API. It sends one query and returns the reply's bytes, or raises a verdict."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Protocol

import httpx

from hunting_pipeline.apis.connection import Connection
from hunting_pipeline.http.body import inflate
from hunting_pipeline.http.transport import open_client, transport_errors
from hunting_pipeline.http.verdict import NoAnswer, NotAccepted, accepted, judge

__all__ = ["Client", "NotAccepted"]

SILENCE = 1.1
"""Read timeout, as a multiple of the service's limit. The service's 504 must arrive before this timeout."""
MAX_WAIT = 1.5
"""Longest wait for a whole reply, as a multiple of the service's limit. The wait includes the body."""
ERROR_BYTES = 64 * 1024
"""Number of bytes read from the body of an error reply."""


class TokenSource(Protocol):
    """A thread-safe source of bearer tokens."""

    def token(self) -> str:
        """Return a bearer token that is valid now."""


class Client:
    """A client of one hunting API. Threads may share a client and its connections.

    The client does not retry, and does not log headers, tokens or queries.

    Args:
        connection: the API's URL, permissions and trusted authorities.
        tokens: source of the bearer tokens.
        request_seconds: the service's limit on the running time of a request.
        max_body_bytes: largest accepted reply, both compressed and decompressed.
        transport: a replacement for the network, see `open_client`.
        monotonic: clock that measures the wait for a reply, in seconds.
    """

    def __init__(
        self,
        connection: Connection,
        tokens: TokenSource,
        *,
        request_seconds: float,
        max_body_bytes: int,
        transport: httpx.BaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = connection
        self._tokens = tokens
        self._max_wait = MAX_WAIT * request_seconds
        self._max_body_bytes = max_body_bytes
        self._monotonic = monotonic
        self._http = open_client(
            connection.ca_bundle, read_seconds=SILENCE * request_seconds, transport=transport
        )

    def close(self) -> None:
        """Close the pooled connections. Running calls fail."""
        self._http.close()

    @contextmanager
    def ask(self, query: str) -> Iterator[Iterator[bytes]]:
        """Send `query` once and yield the reply's decompressed bytes, in chunks of at most 256 KiB.

        Leaving the `with` block early drops the connection. The time that the caller spends between chunks
        does not count as waiting. For the headers, only the read timeout applies.

        Raises:
            NotAccepted: if raised on entry, the service did not accept the request. If raised by the
                iterator, the body failed, and the caller must discard all bytes of the body. The verdict
                is the next step for the caller.
            Misconfigured, Refused, ServiceFailed: no token is available.
        """
        request = self._signed(query)
        started = self._monotonic()
        with transport_errors():
            response = self._http.send(request, stream=True)
        waited = self._monotonic() - started
        with closing(response):
            if not accepted(response.status_code, response.headers):
                self._reject(response, waited)
            yield self._body(response, waited)

    def _signed(self, query: str) -> httpx.Request:
        """Build the request. Only this frame and the headers have the token, and httpx prints no headers."""
        return self._http.build_request(
            "POST",
            self.connection.url,
            content=self.connection.api.body(query),
            headers={
                "Authorization": f"Bearer {self._tokens.token()}",
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Accept-Encoding": "gzip",
            },
        )

    def _reject(self, response: httpx.Response, waited: float) -> None:
        body = bytearray()
        with suppress(NotAccepted):  # the status is enough, even if the error page is truncated
            for chunk in self._body(response, waited):
                body += chunk[: ERROR_BYTES - len(body)]
                if len(body) == ERROR_BYTES:
                    break
        verdict = judge(
            response.status_code,
            response.headers,
            bytes(body),
            permission=self.connection.api.permission,
            now=datetime.now(UTC),
        )
        if verdict is not None:
            raise NotAccepted(verdict)

    def _body(self, response: httpx.Response, waited: float) -> Iterator[bytes]:
        encoding = response.headers.get("Content-Encoding", "")
        return inflate(self._raw(response, waited), encoding, ceiling=self._max_body_bytes)

    def _raw(self, response: httpx.Response, waited: float) -> Iterator[bytes]:
        """Yield the body as it arrives. Bound the sum of the waits: each byte restarts the read timeout."""
        chunks = response.iter_raw()
        while True:
            asked = self._monotonic()
            with transport_errors():
                chunk = next(chunks, None)
            if chunk is None:
                return
            waited += self._monotonic() - asked
            if waited > self._max_wait:
                raise NotAccepted(NoAnswer(f"the reply took longer than {self._max_wait:g} seconds"))
            yield chunk
