"""A hunt: a person's own query in the place of a table. `kql.hunts` reads it when its file is loaded."""

from dataclasses import dataclass

__all__ = ["Bound", "Hunt"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A place in a hunt's text for a filter on the window of a slice.

    Attributes:
        column: the column that holds the time at this place.
        step: ticks. The time of the result is the time of this column, rounded down to a multiple of `step`.
    """

    column: str
    step: int = 1


@dataclass(frozen=True, slots=True)
class Hunt:
    """A query that can be asked for a window of time.

    Attributes:
        text: the query without comments, blank lines and the last semicolon.
        parts: the same text, cut at `bounds`: one part more than there are bounds. Parts may add brackets.
        bounds: the places where a filter on a window keeps exactly the rows of the window.
        step: ticks. Times of the result are multiples of it, and each row stands for a span of that length.
        late_rows_rewrite: whether late rows can change values of other rows. A count of rows and times does
            not show such a change.
        read_whole: the parts of the query that no bound limits, one sentence each. Every call reads them over
            the whole retention.
        settle: ticks. Spans that are younger are not pulled yet. None for the delay of tables.
        api: the only API that the hunt may be asked of; None for any.
    """

    text: str
    parts: tuple[str, ...]
    bounds: tuple[Bound, ...] = ()
    step: int = 1
    late_rows_rewrite: bool = False
    read_whole: tuple[str, ...] = ()
    settle: int | None = None
    api: str | None = None
