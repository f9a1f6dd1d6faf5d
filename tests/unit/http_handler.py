"""Support for tests without a network: functions answer the requests, and opening a socket fails."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from hunting_pipeline.apis import APIS
from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.apis.connection import connection
from hunting_pipeline.http.client import Client

__all__ = ["TOKEN", "FakeClock", "Handler", "Tokens", "client_of", "replies", "reply", "without_sockets"]

TOKEN = "t0ken-never-shown"

Handler = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def without_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that opens a socket or looks up a host."""

    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError(f"this test must not use the network: {arguments} {named}")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


class FakeClock:
    """A clock that moves only when a caller sleeps."""

    def __init__(self, start: float = 1_795_000_000.0) -> None:
        self.seconds = start
        self.sleeps: list[float] = []

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.seconds += seconds


class Tokens:
    """A source of tokens without a login host. It counts its renewals."""

    def __init__(self) -> None:
        self.renewals = 0

    def token(self) -> str:
        return f"{TOKEN}-{self.renewals}"

    def renew(self) -> None:
        self.renewals += 1


def reply(status: int = 200, *chunks: bytes, **headers: str) -> httpx.Response:
    """Return a reply whose body arrives in `chunks`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, content=iter(chunks))


def replies(*each: Callable[[], httpx.Response]) -> Handler:
    """Return a handler that gives one reply after another. It fails on a request too many."""
    rest = iter(each)

    def handler(request: httpx.Request) -> httpx.Response:
        made = next(rest, None)
        assert made is not None, f"a request too many: {request.content!r}"
        return made()

    return handler


@contextlib.contextmanager
def client_of(
    handler: Handler,
    *,
    api: str = "graph",
    tokens: Tokens | None = None,
    seconds: float = 10,
    ceiling: int = 10_000_000,
    machine_clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] | None = None,
) -> Iterator[Client]:
    """Open a client whose requests go to `handler`."""
    client = Client(
        connection(APIS[api], Cloud.GLOBAL),
        tokens or Tokens(),
        request_seconds=seconds,
        max_body_bytes=ceiling,
        transport=httpx.MockTransport(handler),
        machine_clock=machine_clock,
        **({} if monotonic is None else {"monotonic": monotonic}),
    )
    with contextlib.closing(client):
        yield client
