"""Many processes on one ledger with a simulated clock: no process gives up while there is room."""

import heapq
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hunting_pipeline.limits import ORIGINAL, PROFILES, Kind, Limits, Rate
from hunting_pipeline.quota import Priority, Reservation, WaitUntil
from hunting_pipeline.quota.ledger import StoredLedger
from hunting_pipeline.quota.records import Estimate, learned
from hunting_pipeline.quota.rules import SHORT_WAIT_SECONDS
from hunting_pipeline.quota.store import Run, create

T0 = 1_800_000_000.0
TRANSIT = 0.05


@dataclass(frozen=True)
class Process:
    """A process of the tenant: it sends its calls one after another, all about one table.

    Attributes:
        start: seconds after the start of the first process.
        seconds: the running time of each call.
        dies: whether the process is killed before its last call reaches the service.
    """

    start: float
    table: str
    priority: Priority
    seconds: tuple[float, ...]
    dies: bool


@dataclass(frozen=True)
class Call:
    """A call that was sent.

    Attributes:
        at: when it was sent.
        seconds: its running time.
        ended: when the ledger counts it as ended.
        counted: the most running seconds that the ledger counts from then on.
    """

    at: float
    seconds: float
    ended: float
    counted: float


@dataclass
class Simulation:
    """The processes, their ledger in memory, and the service's own list of calls."""

    limits: Limits
    share: float
    processes: list[Process]
    now: float = T0
    sent: list[Call] = field(default_factory=list)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    gave_up: int = 0

    def __post_init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        create(self.execute)

    def execute(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        return self.connection.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        yield self.execute

    def reading(self, run: Run) -> tuple[float, float]:
        del run
        return self.now, self.now

    def close(self) -> None:
        self.connection.close()

    def ledger(self) -> StoredLedger:
        return StoredLedger(self, tenant="t", limits=self.limits, share=self.share, clock=lambda: self.now)

    def run(self) -> None:
        """Run all processes to their end. A process that gives up is started again at the given time."""
        ledgers = [self.ledger() for _ in self.processes]
        left = [list(process.seconds) for process in self.processes]
        open_calls: dict[int, tuple[Reservation, float]] = {}
        events = [(T0 + process.start, number) for number, process in enumerate(self.processes)]
        heapq.heapify(events)
        steps = 0
        while events:
            self.now, number = heapq.heappop(events)
            steps += 1
            assert steps < 100_000, "asks without end"
            process = self.processes[number]
            if number in open_calls:
                self.settle(ledgers[number], *open_calls.pop(number))
            if not left[number]:
                continue
            answer = ledgers[number].reserve(
                table=process.table, priority=process.priority, owner=f"{number}"
            )
            if isinstance(answer, WaitUntil):
                assert answer.at > self.now
                if answer.at > self.now + SHORT_WAIT_SECONDS:
                    self.gave_up += 1
                    assert not self.room(process.table, at=self.now), answer
                heapq.heappush(events, (answer.at, number))
                continue
            seconds = min(left[number].pop(0), answer.seconds)
            settled = self.now + 2 * TRANSIT + seconds
            if left[number] or not process.dies:
                self.sent.append(Call(self.now, seconds, settled, seconds))
                open_calls[number] = answer, seconds
                heapq.heappush(events, (settled, number))
            else:
                self.sent.append(Call(self.now, 0.0, answer.expires, answer.seconds))

    def settle(self, ledger: StoredLedger, call: Reservation, seconds: float) -> None:
        ledger.settle(call, seconds=seconds)
        self.estimates[call.table] = learned(self.estimates.get(call.table), seconds)

    def room(self, table: str, *, at: float) -> bool:
        """Return whether the calls that have ended leave room for one more call in every window."""
        cap = self.limits.request_seconds
        highest = max(self.estimates.values(), key=lambda one: one.upper, default=Estimate(0.0, cap / 4))
        estimate = self.estimates.get(table, highest)
        upper = min(cap, estimate.upper)
        demands = [(1.0, 1.0, upper), (self.share, 0.5, min(estimate.mean, upper))]
        return all(
            self.ended(rate, at, transit=transit) + min(amount, 1.0 if rate.kind is Kind.CALLS else demand)
            <= amount + 1e-6
            for rate in self.limits.rates
            for part, transit, demand in demands
            for amount in [self.amount(rate, part)]
        )

    def amount(self, rate: Rate, part: float) -> float:
        return rate.amount * part if rate.kind is Kind.SECONDS else max(1.0, int(rate.amount * part + 1e-6))

    def ended(self, rate: Rate, at: float, *, transit: float) -> float:
        if rate.kind is Kind.CALLS:
            return sum(call.at > at - rate.period - transit for call in self.sent)
        return sum(call.counted for call in self.sent if at - rate.period < call.ended <= at)

    def fullest(self, rate: Rate) -> float:
        """Return the fullest window of the service's own count."""
        if rate.kind is Kind.CALLS:
            booked = sorted((call.at + TRANSIT, 1.0) for call in self.sent)
        else:
            booked = sorted((call.at + TRANSIT + call.seconds, call.seconds) for call in self.sent)
        return max(sum(cost for at, cost in booked if end - rate.period < at <= end) for end, _ in booked)


SECONDS = st.one_of(st.floats(0.05, 2), st.floats(0.05, 30), st.floats(1, 180))
CROWDS = st.lists(
    st.builds(
        Process,
        start=st.one_of(st.just(0.0), st.floats(0, 3)),
        table=st.sampled_from(["A", "B", "C"]),
        priority=st.sampled_from(Priority),
        seconds=st.lists(SECONDS, min_size=1, max_size=12).map(tuple),
        dies=st.booleans(),
    ),
    min_size=1,
    max_size=16,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(PROFILES.values())), st.floats(0.1, 1) | st.just(1.0), CROWDS)
def test_no_process_gives_up_while_the_ended_calls_leave_room_and_none_exceeds_the_quota(
    limits, share, processes
):
    simulation = Simulation(limits, share, processes)
    simulation.run()
    assert len(simulation.sent) == sum(len(process.seconds) for process in processes)
    for rate in limits.rates:
        assert simulation.fullest(rate) <= rate.amount + 1e-3


def test_two_processes_that_start_together_with_the_whole_quota_of_the_original_document_both_end():
    for offset in (0.0, 0.1, 0.45, 0.9):
        crowd = [
            Process(start, table, priority, (0.5,) * 20, dies=False)
            for start, table, priority in (
                (0.0, "A", Priority.BACKFILL),
                (offset, "B", Priority.FRESH),
            )
        ]
        simulation = Simulation(ORIGINAL, 1.0, crowd)
        simulation.run()
        assert simulation.gave_up == 0
        assert simulation.now - T0 < 5 * 60
