"""The origin of a query's time, and the places for bounds in the query's text."""

from dataclasses import dataclass, replace

from hunting_pipeline.hunt import Bound
from hunting_pipeline.kql.reading import Operator, Unsliceable

__all__ = ["Edit", "Trace"]


@dataclass(frozen=True, slots=True)
class Edit:
    """A place for a bound in the query's text.

    Attributes:
        after: the index of the token after which the bound is inserted.
        bound: the column and its rounding.
        bracketed: whether the token is a bare name that needs brackets: `(A | where …)`.
    """

    after: int
    bound: Bound
    bracketed: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """The origin of a time.

    Attributes:
        edits: the places for bounds.
        step: the ticks to which the time is rounded down.
        read_whole: the parts of the query that no bound limits, one sentence each.
        stopped: the operator that computes the time or hides its origin; None if the trace reached a table.
        lag: the reason why a row may come much later than its time; None if the time is that of an event.
    """

    edits: tuple[Edit, ...]
    step: int = 1
    read_whole: tuple[str, ...] = ()
    stopped: Operator | None = None
    lag: Unsliceable | None = None

    def rounded(self, step: int, line: int) -> "Trace":
        """Return the trace of the same time after one more rounding.

        Raises:
            Unsliceable: neither length divides the other.
        """
        coarse, fine = max(self.step, step), min(self.step, step)
        if coarse % fine:
            raise Unsliceable(
                line,
                "the time is rounded twice, and neither length divides the other: round only once, or round"
                " to a multiple",
            )
        edits = tuple(
            replace(edit, bound=replace(edit.bound, step=max(edit.bound.step, step))) for edit in self.edits
        )
        return replace(self, edits=edits, step=coarse)

    def beside(self, part: str) -> "Trace":
        """Return the same trace with one more part that no bound limits."""
        return replace(self, read_whole=(*self.read_whole, part))
