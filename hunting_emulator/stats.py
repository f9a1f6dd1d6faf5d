"""Statistics of a running emulator: counters and a log of calls."""

import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass

_LOG_LENGTH = 10_000


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its time (ticks of the tenant's clock), its API and its outcome.

    `kind` is histogram, schema, count or rows. `outcome` is ok or the code of the error.
    """

    at: str
    api: str
    kind: str
    tables: tuple[str, ...]
    query: str
    status: int
    outcome: str
    rows: int
    bytes: int
    seconds: float


class Record:
    """Counters by outcome, table and kind, and the last calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._log: deque[Call] = deque(maxlen=_LOG_LENGTH)
        self._totals: Counter[str] = Counter()
        self._by: dict[str, Counter[str]] = {"table": Counter(), "kind": Counter(), "outcome": Counter()}

    def add(self, call: Call) -> None:
        """Count a call."""
        with self._lock:
            self._log.append(call)
            self._totals["calls"] += 1
            self._totals["rows"] += call.rows
            self._totals["bytes"] += call.bytes
            self._totals["over_quota"] += call.status == 429
            self._totals["too_big"] += call.outcome == "ResultTooBig"
            self._by["kind"][call.kind] += 1
            self._by["outcome"][call.outcome] += 1
            for table in set(call.tables):
                self._by["table"][table] += 1

    def add_sign_in(self) -> None:
        """Count a request for a token."""
        with self._lock:
            self._totals["sign_ins"] += 1

    def clear(self) -> None:
        """Reset every counter."""
        with self._lock:
            self._log.clear()
            self._totals.clear()
            for counter in self._by.values():
                counter.clear()

    def report(self) -> dict[str, object]:
        """Return all counters and calls as JSON values."""
        with self._lock:
            kinds = ("calls", "sign_ins", "over_quota", "too_big", "rows", "bytes")
            totals = {kind: self._totals[kind] for kind in kinds}
            counters = {f"by_{name}": dict(counter) for name, counter in self._by.items()}
            return {**totals, **counters, "log": [asdict(call) for call in self._log]}


def kind_of(query: str) -> str:
    """Return the kind of a query, derived from its text."""
    words = query.replace("|", " | ").split()
    if "summarize" in words:
        return "histogram" if "by" in words[words.index("summarize") :] else "count"
    if words[-2:] == ["|", "count"]:
        return "count"
    return "schema" if "getschema" in words or words[-2:] == ["take", "0"] else "rows"
