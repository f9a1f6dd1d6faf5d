"""A hunt: your own query, archived like a table. `kql.hunts` creates it from the text of a file."""

from dataclasses import dataclass

__all__ = ["SUFFIX", "Bound", "Hunt"]

SUFFIX = ".kql"
"""The end of the names of hunt files."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A place in a hunt's text for a filter on the window of a slice.

    Attributes:
        column: the time column at this place.
        step: ticks. The time in the result is the time in `column`, rounded down to a multiple of `step`.
    """

    column: str
    step: int = 1


@dataclass(frozen=True, slots=True)
class Hunt:
    """A query that can be limited to a window of time.

    Attributes:
        text: the query without comments, blank lines and the last semicolon.
        parts: the same text, cut at `bounds`. There is one part more than bounds. Parts may add brackets.
        bounds: the places where a filter on a window keeps exactly the rows of the window.
        step: ticks. Times in the result are multiples of `step`. Each row summarizes a span of that length.
        late_rows_rewrite: whether late rows can change values of other rows. A recount does not detect such a
            change.
        read_whole: the parts of the query that no bound limits, one sentence each. For these parts, every
            call reads the whole retention.
        settle: the settling delay in ticks. Younger spans are not pulled yet. None means the delay of tables.
        api: the only API that accepts the hunt; None for any API.
    """

    text: str
    parts: tuple[str, ...]
    bounds: tuple[Bound, ...] = ()
    step: int = 1
    late_rows_rewrite: bool = False
    read_whole: tuple[str, ...] = ()
    settle: int | None = None
    api: str | None = None
