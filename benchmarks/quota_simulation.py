"""Whole backfills under the quota, on a virtual clock. The simulated service has its own count.

    python -m benchmarks.quota_simulation [--all] [--share S] [--plot FOLDER] [--seed N ...] [--profile NAME]

A backfill has 60 tables over 30 days, by default with 100 million rows and 16 workers. The workers share one
ledger in memory. The simulated service refuses calls with 429 by its own count, and shares no code with the
rules. The bound is computed from the limits. No scheduler within the share is faster, even if the time of
each call is given beforehand and the longest calls are kept for the last hour. With `other`, another consumer
takes 30 % of the tenant's quota at random times.

The time of a call is unknown beforehand. Within the share, calls count with their expected time. A window
therefore ends a little above or below the share (`fullest window`). With `--share 1`, the share is the whole
rate. Room for one high estimate then stays empty at the end of every hour of running time. A call that misses
the renewal of an hour by a second waits for the next hour. The ratio of `original` is then 1.02 to 1.06.
"""

import argparse
import heapq
import math
import random
import sqlite3
import sys
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from hunting_pipeline.limits import ENDPOINT, GRAPH, ORIGINAL, PROFILES, XDR, Kind, Limits, Rate
from hunting_pipeline.quota import Ledger, Priority, Reservation, WaitUntil
from hunting_pipeline.quota.ledger import StoredLedger
from hunting_pipeline.quota.store import Run, create

START = 1_800_000_000.0
TABLES = 60
ROWS, ALL_ROWS = 100_000_000, 300_000_000
WORKERS = (1, 4, 16)
OTHER = 0.3


@dataclass(frozen=True)
class Job:
    """One call: seconds of the request's transit, of running at the service, and of the reply's transfer."""

    table: str
    transit: float
    seconds: float
    transfer: float


@dataclass
class Counter:
    """The service's own count of one rate, over `(now - period, now]`."""

    rate: Rate
    events: deque[tuple[float, float]] = field(default_factory=deque)
    spent: float = 0.0

    def full(self, now: float, room: float) -> bool:
        """Return whether the window has less than `room` left."""
        while self.events and self.events[0][0] <= now - self.rate.period:
            self.spent -= self.events.popleft()[1]
        return self.spent + room > self.rate.amount + 1e-6

    def add(self, now: float, amount: float) -> None:
        self.events.append((now, amount))
        self.spent += amount


class Service:
    """A service that counts a call when it arrives, and its running time when it ends."""

    def __init__(self, limits: Limits) -> None:
        self.counters = [Counter(rate) for rate in limits.rates]
        self.log: dict[Kind, list[tuple[float, float]]] = {kind: [] for kind in Kind}
        self.refused = 0

    def arrives(self, now: float) -> bool:
        """Accept a call, or refuse it with 429."""
        for counter in self.counters:
            if counter.full(now, 1.0 if counter.rate.kind is Kind.CALLS else 1e-3):
                self.refused += 1
                return False
        self._count(Kind.CALLS, now, 1.0)
        return True

    def ends(self, now: float, seconds: float) -> None:
        self._count(Kind.SECONDS, now, seconds)

    def other(self, now: float, kind: Kind, amount: float) -> None:
        """Record use by another consumer, if the tenant's quota allows it."""
        if all(not c.full(now, amount) for c in self.counters if c.rate.kind is kind):
            self._count(kind, now, amount)

    def worst(self, rate: Rate) -> float:
        """Return the fullest window of the whole run, as a part of the rate's amount."""
        log = sorted(self.log[rate.kind])
        times, sums = [t for t, _ in log], list(accumulate((a for _, a in log), initial=0.0))
        ends = range(len(times))
        most = max((sums[i + 1] - sums[bisect_right(times, times[i] - rate.period)] for i in ends), default=0)
        return most / rate.amount

    def _count(self, kind: Kind, now: float, amount: float) -> None:
        self.log[kind].append((now, amount))
        for counter in self.counters:
            if counter.rate.kind is kind:
                counter.add(now, amount)


def backfill(limits: Limits, random_: random.Random, *, rows: int) -> list[Job]:
    """Make the jobs of tables of very different sizes: a planning call each, then a job for each slice."""
    weights = [random_.lognormvariate(0, 2) for _ in range(TABLES)]
    jobs = []
    for number, weight in enumerate(weights):
        own = rows * weight / sum(weights)
        width = random_.uniform(600, 2500)
        target = 0.9 * min(limits.rows, (limits.reply_bytes or 10**12) / width)
        typical = random_.uniform(1.0, 6.0)
        for call in range(1 + math.ceil(own / target)):
            seconds = min(random_.lognormvariate(math.log(typical), 0.4), limits.request_seconds)
            size = own / max(1, math.ceil(own / target)) * width if call else 1e5
            jobs.append(Job(f"Table{number}", random_.uniform(0.02, 0.5), seconds, 0.1 + size / 25e6))
    random_.shuffle(jobs)  # at any time, workers pull different tables
    return jobs


def bound(limits: Limits, jobs: list[Job], workers: int, part: float) -> float:
    """Return the least seconds of any scheduler: when the limits have allowed all calls.

    By time t, a rate allows at most its amount for each period that has begun. In the last of these periods,
    it allows at most what the shorter periods and the workers allow. A worker does one job at a time.
    """
    longest_first = list(accumulate(sorted((job.seconds for job in jobs), reverse=True), initial=0.0))

    def allowed(kind: Kind, t: float) -> float:
        return min((so_far(rate, t) for rate in limits.rates if rate.kind is kind), default=math.inf)

    def so_far(rate: Rate, t: float) -> float:
        whole, rest = divmod(t, rate.period)
        shorter = [r for r in limits.rates if r.period < rate.period]
        last = min(r.amount * part * (rest // r.period + 1) for r in (*shorter, rate) if r.kind is rate.kind)
        if rate.kind is Kind.SECONDS:
            calls = [r.amount * part * (rest // r.period + 1) for r in shorter if r.kind is Kind.CALLS]
            last = min([last, workers * rest, *(longest_first[min(int(c), len(jobs))] for c in calls)])
        return rate.amount * part * whole + last

    required = {Kind.CALLS: float(len(jobs)), Kind.SECONDS: sum(job.seconds for job in jobs)}
    t = 0.0
    while any(allowed(kind, t) < amount - 1e-6 for kind, amount in required.items()):
        t += 60.0
    return max(t, sum(job.transit + job.seconds + job.transfer for job in jobs) / workers)


@dataclass(frozen=True)
class Result:
    case: "Case"
    calls: int
    refused: int
    worst: float
    took: float
    bound: float
    ledger_ms: float
    log: dict[Kind, list[tuple[float, float]]]

    @property
    def ratio(self) -> float:
        return self.took / self.bound


class MemoryStore:
    """A store in this process's memory. It needs no lock, because no other process uses it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        create(self.run)

    def run(self, statement: str, *values):
        return self.connection.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        yield self.run

    def reading(self, run: Run) -> tuple[float, float]:
        del run
        return self.clock(), self.clock()

    def close(self) -> None:
        self.connection.close()


@dataclass(frozen=True)
class Case:
    profile: str
    workers: int
    other: bool
    rows: int
    seed: int = 1
    share: float = 1.0


class Simulation:
    """Workers, a ledger and a service on one virtual clock."""

    def __init__(self, case: Case) -> None:
        self.random = random.Random(case.seed)
        self.now = START
        self.case, self.limits = case, PROFILES[case.profile]
        self.jobs = backfill(self.limits, self.random, rows=case.rows)
        self.todo = deque(self.jobs)
        self.service = Service(self.limits)
        self.share = min(case.share, 1 - OTHER) if case.other else case.share
        store = MemoryStore(lambda: self.now)
        self.ledger: Ledger = StoredLedger(
            store, tenant="t", limits=self.limits, share=self.share, clock=store.clock
        )
        self.events: list[tuple[float, int, object]] = []
        self.sequence = 0
        self.open = self.operations = 0
        self.in_ledger = 0.0

    def at(self, when: float, what: object) -> None:
        self.sequence += 1
        heapq.heappush(self.events, (when, self.sequence, what))

    def run(self) -> Result:
        for worker in range(self.case.workers):
            self.at(START, lambda worker=worker: self.next_job(worker))
        if self.case.other:
            self.at(START, self.other_consumer)
        finished = START
        while self.events and (self.todo or self.open):
            self.now, _, what = heapq.heappop(self.events)
            what()  # type: ignore[operator]
            finished = self.now
        self.ledger.close()
        return Result(
            case=self.case,
            calls=len(self.jobs),
            refused=self.service.refused,
            worst=max(self.service.worst(rate) for rate in self.limits.rates),
            took=finished - START,
            bound=bound(self.limits, self.jobs, self.case.workers, self.share),
            ledger_ms=1000 * self.in_ledger / self.operations,
            log=self.service.log,
        )

    def timed(self, operation, **arguments):
        self.operations, before = self.operations + 1, time.perf_counter()
        answer = operation(**arguments)
        self.in_ledger += time.perf_counter() - before
        return answer

    def next_job(self, worker: int) -> None:
        if self.todo:
            self.open += 1
            self.ask(worker, self.todo.popleft())

    def ask(self, worker: int, job: Job) -> None:
        answer = self.timed(
            self.ledger.reserve, table=job.table, priority=Priority.BACKFILL, owner=f"worker {worker}"
        )
        if isinstance(answer, WaitUntil):
            self.at(answer.at, lambda: self.ask(worker, job))
            return
        self.at(self.now + job.transit, lambda: self.arrive(worker, job, answer))

    def arrive(self, worker: int, job: Job, reservation: Reservation) -> None:
        if self.service.arrives(self.now):
            self.at(self.now + job.seconds, lambda: self.end(worker, job, reservation))
            return
        self.ledger.settle(reservation, seconds=0)
        self.ledger.block(until=self.now + 60, reason="429")
        self.at(self.now, lambda: self.ask(worker, job))

    def end(self, worker: int, job: Job, reservation: Reservation) -> None:
        self.service.ends(self.now, job.seconds)
        self.at(self.now + job.transfer, lambda: self.done(worker, job, reservation))

    def done(self, worker: int, job: Job, reservation: Reservation) -> None:
        self.timed(self.ledger.settle, reservation=reservation, seconds=job.seconds)
        self.open -= 1
        self.next_job(worker)

    def other_consumer(self) -> None:
        """Send calls at the full 30 % of every rate, with pauses of random length."""
        rates = [rate for rate in self.limits.rates if rate.kind is Kind.CALLS]
        pace = max(rate.period / math.floor(rate.amount * OTHER) for rate in rates)
        self.service.other(self.now, Kind.CALLS, 1.0)
        seconds = [rate for rate in self.limits.rates if rate.kind is Kind.SECONDS]
        if seconds:
            spent = pace * min(OTHER * rate.amount / rate.period for rate in seconds)
            self.service.other(self.now, Kind.SECONDS, spent)
        rest = self.random.uniform(0, 1800) if self.random.random() < pace / 3600 else 0.0
        self.at(self.now + pace + rest, self.other_consumer)


def simulate(case: Case) -> Result:
    return Simulation(case).run()


HEADER = (
    f"{'profile':<9}{'workers':>8}{'other':>7}{'calls':>8}{'429':>5}{'fullest window':>16}"
    f"{'took':>10}{'bound':>10}{'ratio':>8}{'ledger ms':>11}"
)


def line(result: Result) -> str:
    """Return a line of the table."""
    case, other = result.case, "30 %" if result.case.other else "-"
    return (
        f"{case.profile:<9}{case.workers:>8}{other:>7}{result.calls:>8}"
        f"{result.refused:>5}{result.worst:>16.2%}{result.took / 3600:>8.2f} h{result.bound / 3600:>8.2f} h"
        f"{result.ratio:>8.3f}{result.ledger_ms:>11.2f}"
    )


WIDTH, HEIGHT, MARGIN, POINTS = 900, 170, 40, 450


def panel(result: Result, rate: Rate, top: int) -> str:
    """Draw the sum of one rate's window over the whole run. The limit is red."""
    log = sorted(result.log[rate.kind])
    times, sums = [t for t, _ in log], list(accumulate((a for _, a in log), initial=0.0))
    xs = [START + result.took * i / POINTS for i in range(POINTS + 1)]
    window = [sums[bisect_right(times, x)] - sums[bisect_right(times, x - rate.period)] for x in xs]
    base, scale = top + HEIGHT - MARGIN, (HEIGHT - MARGIN - 30) / (1.1 * rate.amount)
    points = " ".join(
        f"{MARGIN + (WIDTH - 2 * MARGIN) * i / POINTS:.1f},{base - used * scale:.1f}"
        for i, used in enumerate(window)
    )
    limit = base - rate.amount * scale
    return (
        f'<text x="{MARGIN}" y="{top + 18}">{rate.kind} in {rate.period:g} s, limit {rate.amount:g}</text>'
        f'<polyline points="{points}" fill="none" stroke="#2563eb"/>'
        f'<path d="M{MARGIN} {limit:.1f}H{WIDTH - MARGIN}" stroke="#dc2626" stroke-dasharray="6 3"/>'
        f'<path d="M{MARGIN} {base}H{WIDTH - MARGIN}" stroke="#888"/>'
        f'<text x="{WIDTH - MARGIN}" y="{base + 16}" text-anchor="end">{result.took / 3600:.1f} h</text>'
    )


def plot(result: Result, folder: Path) -> None:
    """Write an SVG of one run: its use of each rate, and the limits."""
    rates = PROFILES[result.case.profile].rates
    panels = "".join(panel(result, rate, 30 + HEIGHT * number) for number, rate in enumerate(rates))
    title = f"{result.case.profile}: {result.calls} calls by {result.case.workers} workers" + (
        ", another consumer takes 30 %" if result.case.other else ""
    )
    folder.mkdir(parents=True, exist_ok=True)
    name = f"quota-{result.case.profile}-{result.case.workers}{'-other' if result.case.other else ''}.svg"
    (folder / name).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {40 + HEIGHT * len(rates)}"'
        f' font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{MARGIN}" y="22" font-weight="bold">{title}</text>{panels}</svg>\n'
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Backfills under the quota, on a virtual clock.")
    parser.add_argument("--plot", type=Path, help="folder for an SVG of every run with 16 workers")
    parser.add_argument("--profile", choices=sorted(PROFILES), help="only this profile")
    parser.add_argument("--all", action="store_true", help="more rows and profiles, and also 1 and 4 workers")
    parser.add_argument("--share", type=float, default=0.8, help="part of the tenant's quota to use")
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    rows = ALL_ROWS if arguments.all else ROWS
    numbers = WORKERS if arguments.all else WORKERS[-1:]
    profiles = (ORIGINAL, XDR, GRAPH, ENDPOINT) if arguments.all else (ORIGINAL, XDR, ENDPOINT)
    cases = [
        Case(profile, workers, other, rows, seed, arguments.share)
        for profile in ([arguments.profile] if arguments.profile else [each.name for each in profiles])
        for seed in arguments.seed
        for workers, other in [*((workers, False) for workers in numbers), (max(WORKERS), True)]
    ]
    started, results = time.perf_counter(), []
    print(f"{TABLES} tables, 30 days, {rows:,} rows, share {arguments.share:g}\n\n{HEADER}")
    with ProcessPoolExecutor() as pool:
        for result in pool.map(simulate, cases):
            print(
                line(result)
                + ("   <-- above" if result.ratio > (1.10 if result.case.other else 1.03) else ""),
                flush=True,
            )
            results.append(result)
            if arguments.plot and result.case.workers == max(WORKERS):
                plot(result, arguments.plot)
    days = sum(result.took for result in results) / 86400
    print(f"\nsimulated {days:.1f} days in {time.perf_counter() - started:.0f} s")
    return 1 if any(result.refused for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
