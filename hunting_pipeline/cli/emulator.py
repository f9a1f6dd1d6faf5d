"""The emulated tenant as a process of its own, and the settings that point at it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hunting_pipeline.errors import Misconfigured

__all__ = ["emulated_tenant", "homed", "without_settings"]

_STARTUP_SECONDS = 60
"""To import DuckDB, make a certificate and bind a port on a busy machine."""


@contextmanager
def emulated_tenant(options: Sequence[str]) -> Iterator[dict[str, str]]:
    """Start `python -m hunting_emulator` with `options`; yields the `HUNTING_*` variables that reach it.

    The process ends with the context.

    Raises:
        Misconfigured: it did not come up; the message holds what it said.
    """
    with TemporaryDirectory(prefix="hunting-emulator-") as folder:
        ready = Path(folder) / "ready.json"
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "hunting_emulator", "--ready-file", str(ready), *options]
        with log.open("w") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            yield _variables(json.loads(_when_ready(process, ready, log)))
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _when_ready(process: "subprocess.Popen[bytes]", ready: Path, log: Path) -> str:
    deadline = time.monotonic() + _STARTUP_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip()[-2000:]
            missing = "No module named" in said
            hint = "install it with: pip install 'hunting-pipeline[emulator]'" if missing else said
            raise Misconfigured(f"the emulator did not start: {hint}")
        time.sleep(0.05)
    return ready.read_text()


def _variables(tenant: dict[str, str]) -> dict[str, str]:
    """Settings that reach the emulator and none that were meant for a real tenant."""
    return {
        "HUNTING_TENANT_ID": tenant["tenant_id"],
        "HUNTING_CLIENT_ID": tenant["client_id"],
        "HUNTING_CLIENT_SECRET": tenant["client_secret"],
        "HUNTING_LOGIN_URL": tenant["login_url"],
        "HUNTING_API_URL": tenant["url"],
        "HUNTING_CA_BUNDLE": tenant["ca_bundle"],
    }


def homed(home: Path) -> dict[str, str]:
    """Settings that keep an emulated tenant's lake and ledger in a folder of their own."""
    folder = home.absolute()
    return {"HUNTING_LAKE": str(folder / "lake"), "HUNTING_LEDGER": str(folder / "quota.sqlite")}


def without_settings() -> dict[str, str]:
    """This process's environment less every `HUNTING_*` variable and any `hunting.toml`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUNTING_")}
    return kept | {"HUNTING_CONFIG": os.devnull}
