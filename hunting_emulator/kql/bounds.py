"""The spans of time that a predicate allows. A source generates no rows outside these spans.

Spans are half-open pairs of ticks, sorted and disjoint. They never exclude a row that the predicate keeps.
"""

from collections.abc import Callable, Iterable

from hunting_emulator.kql import syntax as s

Spans = tuple[tuple[int, int], ...]
FOREVER = 1 << 62
ALWAYS: Spans = ((0, FOREVER),)
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}


def spans(  # noqa: PLR0911 - one answer per shape of predicate
    predicate: s.Expr, column: str, instant: Callable[[s.Expr], int | None]
) -> Spans:
    """Return the spans of `column` that the predicate allows.

    `instant` returns the ticks of a constant, and None for any other expression.
    """
    match predicate:
        case s.Binary("and", left, right):
            return intersect(spans(left, column, instant), spans(right, column, instant))
        case s.Binary("or", left, right):
            return unite([*spans(left, column, instant), *spans(right, column, instant)])
        case s.Binary(op, s.Name(name), right) if name == column and op in _FLIPPED:
            return _compared(op, instant(right))
        case s.Binary(op, left, s.Name(name)) if name == column and op in _FLIPPED:
            return _compared(_FLIPPED[op], instant(left))
        case s.Between(s.Name(name), low, high, False) if name == column:
            return intersect(_compared(">=", instant(low)), _compared("<=", instant(high)))
        case s.Call("isnull", (s.Name(name),)) if name == column:
            return ()
        case _:
            return ALWAYS


def exact(predicate: s.Expr, column: str, instant: Callable[[s.Expr], int | None]) -> bool:
    """Return whether the spans are equivalent to the predicate."""
    match predicate:
        case s.Binary("and" | "or", left, right):
            return exact(left, column, instant) and exact(right, column, instant)
        case s.Binary(op, s.Name(name), right) if name == column and op in _FLIPPED:
            return instant(right) is not None
        case _:
            return False


def sql(ref: str, allowed: Spans) -> str:
    """Return a test that `ref` is in the spans. A binary search keeps hundreds of spans fast."""
    if not allowed:
        return "false"
    if len(allowed) == 1:
        low, high = allowed[0]
        return f"({ref} >= {low} AND {ref} < {high})"
    middle = len(allowed) // 2
    left, right = sql(ref, allowed[:middle]), sql(ref, allowed[middle:])
    return f"CASE WHEN {ref} < {allowed[middle][0]} THEN {left} ELSE {right} END"


def _compared(op: str, at: int | None) -> Spans:
    if at is None:
        return ALWAYS
    low, high = {
        "<": (0, at),
        "<=": (0, at + 1),
        ">": (at + 1, FOREVER),
        ">=": (at, FOREVER),
        "==": (at, at + 1),
    }[op]
    return ((low, high),) if low < high else ()


def intersect(left: Spans, right: Spans) -> Spans:
    """Return the intersection."""
    found = []
    mine, theirs = 0, 0
    while mine < len(left) and theirs < len(right):
        low = max(left[mine][0], right[theirs][0])
        high = min(left[mine][1], right[theirs][1])
        if low < high:
            found.append((low, high))
        if left[mine][1] < right[theirs][1]:
            mine += 1
        else:
            theirs += 1
    return tuple(found)


def unite(parts: Iterable[tuple[int, int]]) -> Spans:
    """Return the union. Adjacent spans become one."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(parts):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)
