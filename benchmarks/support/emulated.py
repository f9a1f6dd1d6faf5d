"""Pulls in new processes, from an emulator in its own process."""

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
class Request:
    """The request of a pull: whole days; `end` is exclusive."""

    table: str
    grain: str
    start: date
    end: date


def pull(
    endpoint: Endpoint, home: Path, request: Request, *arguments: str, **settings: str
) -> dict[str, Any]:
    """Return the output of `benchmarks.support.pulled`. Lake and ledger are new, in `home`."""
    home.mkdir()
    own = {
        "HUNTING_LAKE": str(home / "lake"),
        "HUNTING_LEDGER": str(home / "quota.sqlite"),
        "HUNTING_CONFIG": os.devnull,
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # as commands and the code location set it
    }
    given = [request.table, request.grain, request.start.isoformat(), request.end.isoformat(), *arguments]
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
    """Return the CPU seconds of a process so far, its ended children included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
