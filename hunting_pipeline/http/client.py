"""The one door: a query goes in, the bytes of an accepted reply come out, anything else is a verdict."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Protocol

import httpx

from hunting_pipeline.apis.connection import Connection
from hunting_pipeline.http.body import inflate
from hunting_pipeline.http.transport import judge_transport, open_client
from hunting_pipeline.http.verdict import NotAccepted, Split, judge

__all__ = ["Client", "NotAccepted"]

SILENCE = 1.1
"""Times the service's own limit that a silence may last: its 504 must win over our timeout."""
MAX_WAIT = 1.5
"""Times the service's own limit that a whole call may keep us waiting, its body included."""
ERROR_BYTES = 64 * 1024
"""Bytes of an error's body that are read."""


class TokenSource(Protocol):
    """Gives out bearer tokens; safe to share between threads."""

    def token(self) -> str:
        """Return a bearer token that is valid now."""


class Client:
    """Asks one service; safe to share between threads, which then share its connections.

    `request_seconds` is how long the service lets a request run. `max_body_bytes` bounds a reply, on the wire
    and inflated. Nothing is retried, and no header, token or query is logged.
    """

    def __init__(
        self, connection: Connection, tokens: TokenSource, *, request_seconds: float, max_body_bytes: int
    ) -> None:
        self.connection = connection
        self._tokens = tokens
        self._max_wait = MAX_WAIT * request_seconds
        self._max_body_bytes = max_body_bytes
        self._http = open_client(connection.ca_bundle, read_seconds=SILENCE * request_seconds)

    def close(self) -> None:
        """Close the pooled connections; calls still running fail."""
        self._http.close()

    @contextmanager
    def ask(self, query: str) -> Iterator[Iterator[bytes]]:
        """Send `query` once and yield the reply's plain bytes, in pieces of at most 1 MiB, as they arrive.

        Leaving the context early drops the connection. Time the caller takes between pieces is not held
        against the service. A reply's head that drips in is bounded by the silence between its bytes only.

        Raises:
            NotAccepted: on entry, the service did not accept; out of the iterator, the body failed half-way
                and what was read of it must be thrown away. The verdict says what to do.
            Misconfigured, Refused, ServiceFailed: no token could be had.
        """
        request = self._signed(query)
        started = time.monotonic()
        try:
            response = self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise NotAccepted(judge_transport(error)) from None  # deeper frames hold the token
        waited = time.monotonic() - started
        with closing(response):
            if response.status_code != 200:
                self._reject(response, waited)
            yield self._body(response, waited)

    def _signed(self, query: str) -> httpx.Request:
        """The request. The token lives in this frame and the request's headers, which httpx never prints."""
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
        with suppress(NotAccepted):  # a cut error page is still an error: the status says most of it
            for piece in self._body(response, waited):
                body += piece[: ERROR_BYTES - len(body)]
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
        """The body as it comes. A drip resets every read timeout, so the waits are added up."""
        pieces = response.iter_raw()
        while True:
            asked = time.monotonic()
            try:
                piece = next(pieces, None)
            except httpx.HTTPError as error:
                raise NotAccepted(judge_transport(error)) from None  # deeper frames hold the token
            if piece is None:
                return
            waited += time.monotonic() - asked
            if waited > self._max_wait:
                raise NotAccepted(Split(f"the reply took longer than {self._max_wait:g} seconds"))
            yield piece
