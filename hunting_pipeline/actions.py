"""The values of the state machine in `split`: the reasons, the evidence and the actions for a slice."""

from dataclasses import dataclass, replace
from enum import StrEnum

from hunting_pipeline import plan
from hunting_pipeline.model import Proof, Slice, Window

__all__ = [
    "Accept",
    "Action",
    "Blame",
    "ByHash",
    "ByTime",
    "Distinct",
    "Evidence",
    "Fetch",
    "GiveUp",
    "Isolate",
    "Probe",
    "Query",
    "Reason",
    "Recount",
    "Remainder",
    "Replace",
]


class Reason(StrEnum):
    """The reason for the next decision."""

    NEW = "the slice has not been requested"
    ANSWERED = "a reply brought rows"
    RECOUNTED = "the service has counted the slice again"
    TRUNCATED = "the reply held as many rows as a reply can, so rows are missing"
    REFUSED = "the service answered that the slice is too big"
    UNANSWERED = "the service did not answer"
    UNREADABLE = "the reply was unreadable"
    PROBED = "the service sent one row of the table"
    NOT_DISTINCT = "the distinct rows could not be fetched, or do not add up to the count"
    BINS = "the rows of the slice were counted by time"
    BUCKETS = "the rows of the slice were counted by hash"


class Blame(StrEnum):
    """The cause of a slice that is given up."""

    DENSE = "the slice cannot be cut further"
    UNREADABLE = "the replies are unreadable or contradict the counts"
    FAILED = "every reply of the table is unreadable"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The facts about a slice so far.

    Attributes:
        width: the width of a row, measured in every reply of the table.
        edge: the retention edge (ticks): the service may have deleted rows before this instant.
        rounds: number of replies with rows.
        failed: the reason if the last query for rows brought no usable rows; None otherwise.
        recounts: number of recounts.
        steady: number of recounts in a row that found the count unchanged.
        served: whether the service sent other rows of the table while the last query of the slice ran.
        unreadable: number of unreadable replies in a row, over all slices of the table.
        received: row count and checksum of the last reply; None before the first reply.
        buckets: number of buckets in the last count by hash; 0 before the first such count.
        bucket_rounds: number of counts by hash.
        parts: the smaller slices that result from the last count by time or by hash.
        refusal: the cause of the last query without usable rows.
    """

    width: plan.Width
    edge: int
    rounds: int = 0
    failed: Reason | None = None
    recounts: int = 0
    steady: int = 0
    served: bool = False
    unreadable: int = 0
    received: Proof | None = None
    buckets: int = 0
    bucket_rounds: int = 0
    parts: tuple[Slice, ...] = ()
    refusal: str = ""

    def after_reply(self, received: Proof) -> "Evidence":
        """Add the row count and checksum of one more reply."""
        return replace(self, received=received, rounds=self.rounds + 1, failed=None)

    def after_recount(self, *, same: bool) -> "Evidence":
        """Add one more recount, with the same count as before or another count."""
        return replace(self, recounts=self.recounts + 1, steady=self.steady + 1 if same else 0)

    def after_failure(self, failed: Reason, refusal: str, *, served: bool, unreadable: int) -> "Evidence":
        """Add a query without usable rows."""
        return replace(self, failed=failed, refusal=refusal, served=served, unreadable=unreadable)

    def after_buckets(self, of: int, parts: tuple[Slice, ...]) -> "Evidence":
        """Add one more count by hash."""
        return replace(self, buckets=of, parts=parts, bucket_rounds=self.bucket_rounds + 1)


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch the rows. With `persist`, send the query again after a refusal: the slice cannot be smaller."""

    persist: bool


@dataclass(frozen=True, slots=True)
class Recount:
    """Count the slice again. The next reason is `RECOUNTED`."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Fetch one row of the table. The next reason is `PROBED`."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Accept the last reply: it holds exactly the rows of the slice."""


@dataclass(frozen=True, slots=True)
class ByTime:
    """Count `window` in bins of `step` ticks, and pack the bins to `target` rows.

    The next reason is `BINS`.
    """

    window: Window
    step: int
    target: int


@dataclass(frozen=True, slots=True)
class ByHash:
    """Count the slice in `of` hash buckets. The next reason is `BUCKETS`."""

    of: int


@dataclass(frozen=True, slots=True)
class Distinct:
    """Fetch each distinct row once, with the number of its occurrences.

    The next reason is `ANSWERED` if the rows equal the count, else `NOT_DISTINCT`.
    """


@dataclass(frozen=True, slots=True)
class Isolate:
    """Fetch `parts` instead of the slice: first the partition of the dense tick, then the rest."""

    parts: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Replace:
    """Fetch `parts` instead of the slice. Together they hold all rows of it that the service still holds."""

    parts: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Remainder:
    """Count `window` as in `ByTime`, and fetch its parts instead of the slice.

    `window` is the part of the slice that the service still holds.
    """

    window: Window
    step: int
    target: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Raise the error for `blame`."""

    message: str
    blame: Blame


Query = Fetch | Recount | Probe | Distinct | ByTime | ByHash
"""An action that sends a query. `next_action` needs the result."""

Action = Query | Accept | Isolate | Replace | Remainder | GiveUp
