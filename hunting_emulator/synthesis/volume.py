# ruff: noqa: S608 - this module generates SQL; it defines all names, and one function quotes the literals
"""The number of rows of a table over time: a pure function of seed, table and time. Nothing is stored.

Time is split into bins. All bins of a table have the same width. A bin has a start, a number of rows and the
ids of these rows. The rows of a bin have pseudo-random times in the bin.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hunting_emulator import ticks
from hunting_emulator.kql.bounds import Spans, intersect, unite

MONTH = 30 * ticks.DAY
_MOST_ROWS_IN_A_BIN = 1 << 24
_WEEK_HOURS = 168


def _hour_weight(hour_of_week: int) -> float:
    """Return the weight of an hour: high from 7 to 19 (lower at noon), low at night and on weekends."""
    day, hour = divmod(hour_of_week, 24)
    work = math.exp(-(((hour - 10.5) / 2.2) ** 2)) + math.exp(-(((hour - 15.0) / 2.6) ** 2))
    return 0.25 + work * (1.0 if day < 5 else 0.15)


def _week() -> tuple[float, ...]:
    weights = [_hour_weight(hour) for hour in range(_WEEK_HOURS)]
    mean = sum(weights) / _WEEK_HOURS
    return tuple(round(weight / mean, 4) for weight in weights)


WEEK = _week()


@dataclass(frozen=True, slots=True)
class Burst:
    """Extra rows, spread over `width` ticks from `start`."""

    start: int
    width: int
    rows: int


@dataclass(frozen=True, slots=True)
class Volume:
    """The volume of one table: about `rows` in 30 days, starting at `origin`, and its bursts."""

    seed: int
    rows: int
    origin: int
    bursts: tuple[Burst, ...] = ()

    @property
    def width(self) -> int:
        """The width of a bin in ticks. Narrow bins let a query skip nearly all rows outside its bounds."""
        if self.rows > 2_000_000:
            return ticks.MINUTE
        return 10 * ticks.MINUTE if self.rows > 20_000 else ticks.HOUR

    def bins(self, spans: Spans, until: int) -> str:
        """Return SQL of (id, start, width, n) for every bin that touches the spans before `until`.

        One hour in 150 has four times the usual number of rows. One hour in 60 has no rows.
        """
        width = self.width
        allowed = intersect(spans, ((self.origin, max(until, self.origin + 1)),))
        whole = unite((low // width, -(-high // width)) for low, high in allowed)
        parts = [_burst_bin(at, burst) for at, burst in enumerate(self.bursts) if _touches(burst, allowed)]
        if whole:
            listed = ", ".join(f"({low}, {high})" for low, high in whole)
            hour = f"b * {width} // {ticks.HOUR}"
            luck = f"(hash({hour}, {self.seed}, 1) % 3000)"
            factor = (
                f"CASE WHEN {luck} < 20 THEN 4.0 WHEN {luck} < 70 THEN 0.0 ELSE 0.5 + {luck} / 3000.0 END"
            )
            mean = self.rows * width / MONTH
            dither = f"(hash(b, {self.seed}, 2) % 1024) / 1024.0"
            rows = f"floor({mean!r} * week_weight({hour}) * {factor} + {dither})::BIGINT"
            parts.append(
                f"SELECT b * {_MOST_ROWS_IN_A_BIN} AS id, b * {width} AS start, {width} AS width, {rows} AS n"
                f" FROM (SELECT unnest(range(low, high)) AS b FROM (VALUES {listed}) AS v(low, high))"
            )
        parts = parts or ["SELECT 0 AS id, 0 AS start, 1 AS width, 0 AS n"]
        return " UNION ALL ".join(parts)


def _burst_bin(at: int, burst: Burst) -> str:
    first = -(at + 1) * (1 << 40)
    return f"SELECT {first} AS id, {burst.start} AS start, {burst.width} AS width, {burst.rows} AS n"


def _touches(burst: Burst, spans: Spans) -> bool:
    return bool(intersect(((burst.start, burst.start + burst.width),), spans))


def macros() -> Sequence[str]:
    """Return the DuckDB macro that `bins` needs."""
    weights = ", ".join(f"{weight}::DOUBLE" for weight in WEEK)
    return (f"week_weight(hour) AS ([{weights}])[1 + (hour % {_WEEK_HOURS})]",)
