"""One quiet tenant in a process for the whole folder."""

from collections.abc import Iterator
from dataclasses import asdict

import pytest
from emulator_client import NOW, Client, client_of

from hunting_emulator.faults import Manners
from hunting_emulator.process import Endpoint, running


@pytest.fixture(scope="session")
def endpoint() -> Iterator[Endpoint]:
    with running(
        profile="test",
        now=NOW,
        rows={"DeviceNetworkEvents": 300_000},
        burst={"DeviceNetworkEvents": "2026-11-18T10:00:00Z/1h/120000"},
        unlicensed=["IdentityInfo"],
    ) as found:
        yield found


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[Client]:
    found = client_of(endpoint)
    found.session.post(f"{endpoint.url}/_emulator/reset", timeout=10)
    before = found.stats()["limits"]
    yield found
    found.configure(limits=before, manners=asdict(Manners()), drift={})
