"""Measurements in new processes, in turn, round after round, and their medians."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Contestant:
    """A script of `benchmarks/peers` and its environment; None means the project's own environment."""

    name: str
    script: str
    environment: str | None

    def command(self, *arguments: object) -> list[str]:
        """Build the command of one run. Exits if the environment is missing."""
        python = Path(sys.executable)
        if self.environment:
            python = ROOT / f".venv-bench/{self.environment}/bin/python"
        if not python.exists():
            sys.exit(f"{self.name} has no environment: `make .venv-bench/{self.environment}/.ready`")
        return [str(python), str(ROOT / f"benchmarks/peers/{self.script}.py"), *map(str, arguments)]


@dataclass(frozen=True)
class Spent:
    """One measurement: rows, CPU and wall seconds from the start to each named step, peak memory (bytes)."""

    rows: int
    cpu: dict[str, float]
    wall: dict[str, float]
    peak: int


def once(command: Sequence[str], scratch: Path) -> Spent:
    """Run a contestant in its own process and delete its output files."""
    quiet = {"RUNTIME__DLTHUB_TELEMETRY": "false", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True, check=False)
    for left in scratch.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    result = json.loads(done.stdout.splitlines()[-1])
    laps = result["laps"]
    return Spent(
        result["rows"],
        {name: cpu for name, (cpu, _) in laps.items()},
        {name: wall for name, (_, wall) in laps.items()},
        result["peak"],
    )


def alternated(commands: dict[str, list[str]], scratch: Path, rounds: int) -> dict[str, Spent]:
    """Run all commands in turn, every second round in reverse order. Return the medians."""
    found: dict[str, list[Spent]] = {name: [] for name in commands}
    for number in range(rounds):
        for name in _in_order(list(commands), number):
            found[name].append(once(commands[name], scratch))
    return {name: _median(each) for name, each in found.items()}


def _in_order(names: list[str], number: int) -> Iterator[str]:
    return iter(names if number % 2 == 0 else names[::-1])


def _median(found: list[Spent]) -> Spent:
    laps = found[0].cpu
    return Spent(
        found[0].rows,
        {lap: statistics.median(each.cpu[lap] for each in found) for lap in laps},
        {lap: statistics.median(each.wall[lap] for each in found) for lap in laps},
        int(statistics.median(each.peak for each in found)),
    )
