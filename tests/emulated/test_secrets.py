"""A service and a login host that repeat the request: no byte that is printed or stored has a secret."""

import base64
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from hunting_emulator.process import Endpoint, running
from support import Emulated

DAYS = [time.strftime("%Y-%m-%d", time.gmtime(time.time() - back * 86400)) for back in range(10, 2, -1)]

DAGSTER = """
import sys
import dagster as dg
from hunting_pipeline.definitions import defs
from hunting_pipeline.orchestration import materialize_range
with dg.DagsterInstance.get() as instance:
    done = materialize_range(defs(), ["AlertInfo"], first=sys.argv[1], last=sys.argv[1], instance=instance)
sys.exit(0 if done.success else 1)
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with running(profile="test", rows={"AlertInfo": 3000}) as started:
        yield started


class Machine:
    """A folder in which commands run. It keeps everything that they print."""

    def __init__(self, emulated: Emulated) -> None:
        self.home = emulated.home
        (self.home / "dagster").mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HUNTING_")}
        self._variables = kept | emulated.one_by_one() | {"DAGSTER_HOME": str(self.home / "dagster")}

    def run(self, *words: str, expected: int) -> None:
        done = subprocess.run(
            [sys.executable, *words], env=self._variables, capture_output=True, timeout=200, check=False
        )
        with (self.home / "printed").open("ab") as printed:
            printed.write(done.stdout + done.stderr)
        assert done.returncode == expected, done.stderr.decode()[-3000:]

    def hunting(self, *words: str, expected: int = 0) -> None:
        self.run("-m", "hunting_pipeline.cli.main", *words, expected=expected)

    def everything(self) -> dict[str, bytes]:
        """Return the bytes of every file, and the rows of every SQLite file as text."""
        found = {}
        for path in self.home.rglob("*"):
            if path.is_file():
                found[str(path)] = path.read_bytes()
        for path in [*self.home.rglob("*.db"), *self.home.rglob("*.sqlite")]:
            with sqlite3.connect(path) as database:
                found[f"{path} dumped"] = "\n".join(database.iterdump()).encode()
        return found


def forms(secret: str) -> set[bytes]:
    """Return the beginning of a secret in each form. A secret that was cut in half begins in the same way."""
    found = {secret[:10], quote(secret, safe="")[:10], secret[-10:]}
    for before in ("", "x", "xx"):
        encoded = base64.b64encode((before + secret).encode()).decode()
        found |= {encoded[4:14], encoded.replace("+", "-").replace("/", "_")[4:14]}
    return {form.encode() for form in found}


@pytest.mark.slow
def test_no_secret_is_printed_or_stored(endpoint: Endpoint, tmp_path: Path) -> None:
    emulated = Emulated(endpoint, tenant=None, home=tmp_path)  # type: ignore[arg-type] # rows are not compared
    machine = Machine(emulated)

    def pull(number: int, expected: int, *faults: str, wait_seconds: int = 2) -> None:
        emulated.post(
            "config", faults={"clear": True, "queue": faults}, manners={"wait_seconds": wait_seconds}
        )
        machine.hunting(
            "pull", "AlertInfo", "--from", DAYS[number], "--to", DAYS[number + 1], expected=expected
        )

    pull(0, 0)
    machine.run("-c", DAGSTER, DAYS[1], expected=0)

    pull(2, 0, "echo_busy")
    pull(3, 4, "echo_busy", wait_seconds=1500)
    machine.hunting("quota")
    machine.hunting("quota", "--json")
    for file in tmp_path.glob("quota.sqlite*"):
        file.rename(tmp_path / f"old-{file.name}")  # the ledger is blocked

    pull(4, 3, "echo")
    emulated.post("config", faults={"queue": ["echo"]})
    machine.hunting("check", "AlertInfo", expected=3)
    emulated.post("config", faults={"queue": ["echo"] * 9})
    machine.run("-c", DAGSTER, DAYS[5], expected=1)

    emulated.post("config", echo_sign_in=True)
    machine.hunting("check", "AlertInfo", expected=3)
    pull(6, 3)
    machine.run("-c", DAGSTER, DAYS[6], expected=1)
    machine.hunting("status", "AlertInfo")
    emulated.post("config", echo_sign_in=False)

    stored = machine.everything()
    assert any("event" in name or "runs" in name for name in stored), sorted(stored)
    assert sum(text.count(b"[redacted]") for text in stored.values()) > 10
    found = {
        (name, form)
        for name, text in stored.items()
        for secret in (endpoint.client_secret, "eyJ0eXAiOiAiSldU", "eyJ0eXAiOiJKV1Qi")  # how a token begins
        for form in forms(secret)
        if form in text
    }
    assert not found
