"""The cost of the ledger: 8 processes reserve and settle at once, on SQLite and on Postgres.

    python -m benchmarks.quota_ledger [--seconds 10] [--processes 8] [--postgres URL]

The limit is high, so no reservation waits. Its period is short, so the ledger reads about as much history as
in a real hour. The SQLite file is in a temporary folder on disk. Postgres is measured only if `--postgres`
gives the URL of a server.
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
from hunting_pipeline.quota import Priority, WaitUntil, open_ledger

WIDE = replace(TEST, rates=(Rate(Kind.CALLS, 100_000, 1),))
PAUSE = 1.0
"""Seconds of a call in the case with pauses: a fifth of `CALL_SECONDS`."""
CALL_SECONDS = 5.0
"""Seconds of a typical call. The ledger's time is printed as a percentage of them."""


def work(url: str, tenant: str, seconds: float, number: int, pause: float, ready, results) -> None:
    """Reserve, sleep for `pause` seconds, settle. Put the ledger's time of each pair into `results`."""
    ledger = open_ledger(url, tenant=tenant, limits=WIDE)
    pairs = []
    ready.wait()
    time.sleep(pause * number / ready.parties)  # the processes do not start at the same moment
    until = time.time() + seconds
    while (start := time.perf_counter()) and time.time() < until:
        answer = ledger.reserve(table="T", priority=Priority.FRESH, owner=f"worker {number}")
        assert not isinstance(answer, WaitUntil), answer.reason
        reserved = time.perf_counter()
        time.sleep(pause)
        called = time.perf_counter()
        ledger.settle(answer, seconds=0.01)
        pairs.append(time.perf_counter() - called + reserved - start)
    results.put(pairs)


def measure(name: str, url: str, *, processes: int, seconds: float, pause: float = 0.0) -> None:
    """Run the processes and print a line of results."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    tenant, ready = uuid.uuid4().hex, context.Barrier(processes)
    workers = [
        context.Process(target=work, args=(url, tenant, seconds, number, pause, ready, results))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    times = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    pairs = sorted(pair for own in times for pair in own)
    median = statistics.median(pairs)
    print(
        f"{name:<9}{processes:>3} processes, calls of {pause:g} s"
        f"{2 * len(pairs) / seconds:>6.0f} operations/s"
        f"   a pair: median {median * 1000:.1f} ms, p99 {pairs[int(len(pairs) * 0.99)] * 1000:.0f} ms,"
        f" worst {pairs[-1] * 1000:.0f} ms; {median / CALL_SECONDS:.2%} of a call of {CALL_SECONDS:g} s;"
        f" pairs by process: {min(map(len, times))} … {max(map(len, times))}"
    )


def main() -> None:
    """Print a line for each database and number of processes."""
    parser = argparse.ArgumentParser(description="The cost of the ledger.")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--postgres", help="URL of a server")
    arguments = parser.parse_args()
    for processes, pause in ((1, 0.0), (arguments.processes, 0.0), (arguments.processes, PAUSE)):
        given = {"processes": processes, "seconds": arguments.seconds, "pause": pause}
        with tempfile.TemporaryDirectory() as folder:
            measure("SQLite", str(Path(folder) / "ledger.db"), **given)
        if arguments.postgres:
            measure("Postgres", arguments.postgres, **given)


if __name__ == "__main__":
    main()
