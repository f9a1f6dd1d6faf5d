"""Pulls in fresh processes from an emulator in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from hunting_emulator.process import Endpoint


@dataclass(frozen=True)
class Asked:
    """What a pull asks for: whole days, `end` not among them."""

    table: str
    grain: str
    start: date
    end: date


def pull(endpoint: Endpoint, home: Path, asked: Asked, *arguments: str, **settings: str) -> dict[str, Any]:
    """What `benchmarks.support.pulled` prints; lake and ledger are new ones in `home`."""
    home.mkdir()
    own = {
        "HUNTING_LAKE": str(home / "lake"),
        "HUNTING_LEDGER": str(home / "quota.sqlite"),
        "HUNTING_CONFIG": os.devnull,
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # as commands and the code location set it
    }
    given = [asked.table, asked.grain, asked.start.isoformat(), asked.end.isoformat(), *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.support.pulled", *given],
        env=os.environ | endpoint.settings() | own | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return dict(json.loads(done.stdout))


def cpu_seconds(pid: int) -> float:
    """What a process has spent so far, its ended children included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
