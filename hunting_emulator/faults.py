"""Deviations from a normal reply: faults of single calls, and manners (the form of all replies)."""

import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

# error replies instead of an answer: status, code, message; {wait} is in seconds, {authorization} is a header
REFUSALS: dict[str, tuple[int, str, str]] = {
    "too_big": (400, "BadRequest", "Query result set has exceeded the allowed result size of 50 MB."),
    "preempted": (
        400,
        "BadRequest",
        "Query execution has exceeded the allowed limits. The query execution was preempted.",
    ),
    "timeout": (504, "UnknownError", ""),
    "error": (500, "InternalServerError", "An error has occurred."),
    "unknown_error": (500, "UnknownError", ""),
    "unavailable": (503, "ServiceUnavailable", "The service is temporarily unavailable."),
    "token": (401, "Unauthorized", "Lifetime validation failed, the token is expired."),
    "quota": (429, "429", "API calls quota exceeded! maximum allowed 45 per {clock}"),
    "quota_after": (429, "TooManyRequests", "Too many requests."),
    "cpu": (
        429,
        "CpuQuotaExceeded",
        "You have exceeded your CPU quota. You can run queries again in {wait} seconds",
    ),
    "echo": (400, "BadRequest", "The request is not valid. Authorization: {authorization}"),
    "echo_busy": (429, "TooManyRequests", "Retry in {wait} seconds. Authorization: {authorization}"),
    "teapot": (418, "Unexpected", "A status that no document knows."),
}
# replies that are not JSON, or that fail in transport
WRECKS = ("gateway", "reset", "hang", "cut", "half", "slow")
# complete replies with a false content: the last row is missing, the first count is negative, or the Schema
# says that the first column of integers is text
LIES = ("short", "miscount", "retyped")
KINDS = (*REFUSALS, *WRECKS, *LIES)


@dataclass(frozen=True, slots=True)
class Manners:
    """Options for the form of all replies, and durations of faults.

    Attributes:
        null: the text of a null value; None means the text of the API.
        sidecars: the keys `…@odata.type` that are written: all, some or none.
        schema_last: whether Schema comes after Results.
        swap_case: whether the first letters of the envelope's keys change between upper and lower case.
        plain_bool: whether bool columns have the type Boolean, with the values true and false.
        garbled: a text that is replaced by invalid UTF-8 in every reply; None for no text.
        withheld: a text whose rows are missing in every reply, but not in the counts; None for no text.
        hang_seconds: duration of the fault `hang`.
        slow_seconds: duration of the fault `slow`.
        wait_seconds: seconds to wait in the message of a 429 fault.
        date_skew: seconds from the tenant's clock to the `Date` of every reply; None for no `Date`.
    """

    null: str | None = None
    sidecars: str | None = None
    schema_last: bool = False
    swap_case: bool = False
    plain_bool: bool = False
    garbled: str | None = None
    withheld: str | None = None
    hang_seconds: float = 900.0
    slow_seconds: float = 10.0
    wait_seconds: int = 2
    date_skew: float | None = 0.0

    def changed(self, changes: dict[str, object]) -> "Manners":
        """Return the manners with some changed. Raise ValueError for an unknown name."""
        unknown = set(changes) - {field.name for field in fields(self)}
        if unknown:
            raise ValueError(f"unknown manners: {min(unknown)!r}")
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass
class Chaos:
    """The choice of a fault for each call: queued faults first, then random faults for `share` of calls."""

    seed: int = 0
    share: float = 0.0
    kinds: Sequence[str] = KINDS
    on: str = "any"

    def __post_init__(self) -> None:
        self._queue: deque[str] = deque()
        self._lock = threading.Lock()
        self._random = random.Random(self.seed)  # noqa: S311 - repeatable, not secret

    def configure(self, changes: dict[str, object]) -> None:
        """Configure the faults. `clear` empties the queue and `queue` adds faults.

        `share`, `kinds`, `seed` and `on` (any, or a kind of query) control the random faults.
        """
        handlers: dict[str, Callable[[object], None]] = {
            "clear": lambda value: self._queue.clear() if value else None,
            "queue": lambda value: self._queue.extend(_known(value)),
            "kinds": lambda value: setattr(self, "kinds", _known(value)),
            "share": lambda value: setattr(self, "share", float(str(value))),
            "on": lambda value: setattr(self, "on", str(value)),
            "seed": lambda value: self._random.seed(int(str(value))),
        }
        with self._lock:
            for key, value in changes.items():
                if key not in handlers:
                    raise ValueError(f"unknown setting of faults: {key!r}")
                handlers[key](value)

    def draw(self, kind: str) -> str | None:
        """Return the fault for a query of this kind, or None."""
        with self._lock:
            if self.on not in ("any", kind):
                return None
            if self._queue:
                return self._queue.popleft()
            if self.share and self._random.random() < self.share:
                return self._random.choice(list(self.kinds))
            return None


def _known(names: object) -> list[str]:
    listed = [str(name) for name in names] if isinstance(names, list | tuple) else [str(names)]
    for name in listed:
        if name not in KINDS:
            raise ValueError(f"unknown fault {name!r}; known faults are {', '.join(KINDS)}")
    return listed
