"""An emulated tenant in its own process, and the settings that connect to it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hunting_pipeline.cli.processes import exiting_on_signals, process_group
from hunting_pipeline.errors import Misconfigured

__all__ = ["emulated_tenant", "storage_in", "without_settings"]

_STARTUP_SECONDS = 60
"""Longest time, on a busy machine, to import DuckDB, create a certificate and bind a port."""


@contextmanager
def emulated_tenant(options: Sequence[str]) -> Iterator[dict[str, str]]:
    """Start `python -m hunting_emulator` with `options`, and yield the `HUNTING_*` variables to reach it.

    The process ends at the end of the `with` block, also if SIGTERM ends this program.

    Raises:
        Misconfigured: the emulator did not start. The message holds the emulator's output.
    """
    with TemporaryDirectory(prefix="hunting-emulator-") as folder:
        ready = Path(folder) / "ready.json"
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "hunting_emulator", "--ready-file", str(ready), *options]
        with (
            exiting_on_signals(),
            log.open("w") as output,
            process_group(command, stdout=output, stderr=output) as process,
        ):
            yield _variables(json.loads(_wait_until_ready(process, ready, log)))


def _wait_until_ready(process: "subprocess.Popen[bytes]", ready: Path, log: Path) -> str:
    deadline = time.monotonic() + _STARTUP_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            output = log.read_text(errors="replace").strip()[-2000:]
            missing = "No module named" in output
            hint = "install it with: pip install 'hunting-pipeline[emulator]'" if missing else output
            raise Misconfigured(f"the emulator did not start: {hint}")
        time.sleep(0.05)
    return ready.read_text()


def _variables(tenant: dict[str, str]) -> dict[str, str]:
    """Return the variables to connect to the emulator."""
    return {
        "HUNTING_TENANT_ID": tenant["tenant_id"],
        "HUNTING_CLIENT_ID": tenant["client_id"],
        "HUNTING_CLIENT_SECRET": tenant["client_secret"],
        "HUNTING_LOGIN_URL": tenant["login_url"],
        "HUNTING_API_URL": tenant["url"],
        "HUNTING_CA_BUNDLE": tenant["ca_bundle"],
    }


def storage_in(home: Path) -> dict[str, str]:
    """Return the variables for the lake and the ledger of an emulated tenant, both in `home`."""
    folder = home.absolute()
    return {"HUNTING_LAKE": str(folder / "lake"), "HUNTING_LEDGER": str(folder / "quota.sqlite")}


def without_settings() -> dict[str, str]:
    """Return this process's environment without `HUNTING_*` variables and without `hunting.toml`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUNTING_")}
    return kept | {"HUNTING_CONFIG": os.devnull}
