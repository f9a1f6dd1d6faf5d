"""What the ledger costs: reserve and settle, by 8 processes at once, on SQLite and on Postgres.

    python benchmarks/quota_ledger.py [--seconds 10] [--processes 8] [--postgres URL]

The limit is wide, so every reservation is let through, and its period so short that the ledger looks at about
as much history as in a real hour. The SQLite file lies in a temporary folder on disk. For Postgres give the
URL of a server; without one only SQLite is measured.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path

from hunting_pipeline.limits import TEST, Kind, Rate
from hunting_pipeline.quota import Lane, WaitUntil, open_ledger

WIDE = replace(TEST, rates=(Rate(Kind.CALLS, 100_000, 1),))
CALL_SECONDS = 5.0
"""What a typical call takes: the ledger's time is told as a part of it."""


def work(url: str, tenant: str, until: float, number: int, results) -> None:
    """Reserve and settle without rest; tells how long each pair took."""
    ledger = open_ledger(url, tenant=tenant, limits=WIDE)
    pairs = []
    while (start := time.perf_counter()) and time.time() < until:
        answer = ledger.reserve(table="T", lane=Lane.FRESH, owner=f"worker {number}")
        assert not isinstance(answer, WaitUntil), answer.reason
        ledger.settle(answer, seconds=0.01)
        pairs.append(time.perf_counter() - start)
    results.put(pairs)


def measure(name: str, url: str, *, processes: int, seconds: float) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    tenant, until = uuid.uuid4().hex, time.time() + 2 + seconds
    workers = [context.Process(target=work, args=(url, tenant, until, n, results)) for n in range(processes)]
    for worker in workers:
        worker.start()
    times = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    pairs = sorted(pair for own in times for pair in own)
    median = statistics.median(pairs)
    print(
        f"{name:<10}{processes:>3} processes {2 * len(pairs) / seconds:>8.0f} operations/s"
        f"   a pair: median {median * 1000:.1f} ms, p99 {pairs[int(len(pairs) * 0.99)] * 1000:.0f} ms,"
        f" worst {pairs[-1] * 1000:.0f} ms; {median / CALL_SECONDS:.2%} of a call of {CALL_SECONDS:g} s;"
        f" pairs by process: {min(map(len, times))} … {max(map(len, times))}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What the ledger costs.")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--postgres", help="URL of a server")
    arguments = parser.parse_args()
    for processes in (1, arguments.processes):
        with tempfile.TemporaryDirectory() as folder:
            url = str(Path(folder) / "ledger.db")
            measure("SQLite", url, processes=processes, seconds=arguments.seconds)
        if arguments.postgres:
            measure("Postgres", arguments.postgres, processes=processes, seconds=arguments.seconds)


if __name__ == "__main__":
    main()
