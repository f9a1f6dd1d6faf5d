"""A process that queries an emulated tenant without pause, one of many that share a ledger.

    python quota_hammer.py JSON

Prints `ready`, waits for a line, sends queries for the given seconds, and prints the result.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from started import go

from hunting_pipeline.errors import QuotaExhausted
from hunting_pipeline.limits import TEST, Kind, Limits, Rate
from hunting_pipeline.pipeline import open_pipeline
from hunting_pipeline.pipeline.calls import Calls
from hunting_pipeline.pipeline.clock import SystemClock
from hunting_pipeline.quota import Ledger, Priority, open_ledger
from hunting_pipeline.settings import Settings
from support import Shifted


@dataclass(frozen=True)
class Hammer:
    """The work of such a process.

    Attributes:
        settings: the settings of the pipeline, with the ledger.
        rates: kind, amount and period of each rate.
        query: the query of `table` that is sent repeatedly.
        seconds: the longest duration.
        pause: seconds between two calls.
        request_seconds: the longest running time of a call.
        calls: the most calls.
        max_wait: the longest wait for quota; None for the time that is left.
    """

    settings: Mapping[str, Any]
    rates: Sequence[tuple[str, float, float]]
    table: str
    query: str
    seconds: float
    pause: float = 0.0
    priority: str = Priority.FRESH
    request_seconds: float = TEST.request_seconds
    calls: int | None = None
    max_wait: float | None = None

    @property
    def limits(self) -> Limits:
        rates = tuple(Rate(Kind(kind), amount, period) for kind, amount, period in self.rates)
        return replace(TEST, name="tight", rates=rates, request_seconds=self.request_seconds)

    def ledger(self) -> Ledger:
        """Open the ledger that all processes share."""
        return open_ledger(
            self.settings["ledger"], tenant=self.settings["tenant_id"], limits=self.limits, share=1
        )


@contextmanager
def running_together(hammers: Sequence[Hammer]) -> Iterator[list[subprocess.Popen[str]]]:
    """Start a process for each job. All begin when the last is ready, and all are killed at the end."""
    command = [sys.executable, str(Path(__file__))]
    started = [
        subprocess.Popen(
            [*command, json.dumps(asdict(hammer))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
        )
        for hammer in hammers
    ]
    try:
        go(started)
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def result_of(process: subprocess.Popen[str]) -> dict[str, float]:
    """Wait for the process to end without an error and return its result."""
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return dict(json.loads(said))


def main() -> None:
    hammer = Hammer(**json.loads(sys.argv[1]))
    ledger = hammer.ledger()
    with open_pipeline(Settings(**hammer.settings), max_wait=0, clock=Shifted()) as pipeline:
        calls = Calls(
            client=pipeline.client,
            tokens=pipeline.tokens,
            ledger=ledger,
            limits=hammer.limits,
            clock=SystemClock(),
            table=hammer.table,
            priority=Priority(hammer.priority),
            owner="hammer",
            max_wait=hammer.seconds,
            on_wait=lambda message: None,
            accepted=lambda: None,
        )
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        until = time.monotonic() + hammer.seconds
        gave_up = False
        while (left := until - time.monotonic()) > 0 and calls.spent.calls != hammer.calls:
            max_wait = left if hammer.max_wait is None else hammer.max_wait
            try:
                replace(calls, max_wait=max_wait).fetch(hammer.query)
            except QuotaExhausted:
                gave_up = True
                break
            time.sleep(hammer.pause)
    ledger.close()
    spent = calls.spent
    result = {"calls": spent.calls, "running_seconds": spent.running_seconds, "gave_up": gave_up}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
