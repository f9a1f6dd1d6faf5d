"""A person's own query in the place of a table: what was read of it, once, when the code location loaded."""

from dataclasses import dataclass

__all__ = ["Bound", "Hunt"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A place in a hunt's text where the bounds of a slice may stand, and on what.

    Attributes:
        column: what holds the time there.
        step: ticks; the time of the result is this column's, rounded down to a multiple of it.
    """

    column: str
    step: int = 1


@dataclass(frozen=True, slots=True)
class Hunt:
    """A query that can be asked for a span of time.

    Attributes:
        text: the query alone: no comments, no blank lines, no closing semicolon.
        parts: the same, cut at `bounds`: one part more than there are bounds. They may add brackets.
        bounds: where its sources can be held to a span without changing what the span's rows are.
        step: ticks; its times are multiples of this, and each row stands for a span as long.
        unseen: whether late rows can change its rows without changing how many there are, or when.
        whole: what is read over all that the service holds, whatever the span: a line for a person each.
        settle: ticks by which the young end is held back; None for as long as tables are.
        api: the only one it may be asked of; None for any.
    """

    text: str
    parts: tuple[str, ...]
    bounds: tuple[Bound, ...] = ()
    step: int = 1
    unseen: bool = False
    whole: tuple[str, ...] = ()
    settle: int | None = None
    api: str | None = None
