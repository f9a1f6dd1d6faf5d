"""Ledgers for tests: a new SQLite file, or one Postgres server for all tests of a file."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from quota_postgres import serving


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new/folder/ledger.db"
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> str:
    """Return a separate tenant for each test, because one database holds many."""
    return str(request.node.name)
