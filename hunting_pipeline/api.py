"""The project from Python: `connect` returns a `Hunting`, which queries, pulls and reads one tenant's tables.

A query or a pull shows a progress bar in a terminal or a notebook, and nothing elsewhere.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from rich.console import Console

from hunting_pipeline import window
from hunting_pipeline.catalog import catalog, spec
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.hunt import SUFFIX
from hunting_pipeline.hunt_files import QueryText, hunt_file, query_file
from hunting_pipeline.lake import read
from hunting_pipeline.lake.stores import Store
from hunting_pipeline.lake.table_schema import load_schema
from hunting_pipeline.model import SECOND, Report, TableSpec, Window, datetime_of, ticks_of
from hunting_pipeline.moments import Moment, ticks_at
from hunting_pipeline.pipeline import (
    Clock,
    Coverage,
    Pipeline,
    Result,
    ask,
    coverage,
    open_lake,
    open_pipeline,
)
from hunting_pipeline.progress import bars
from hunting_pipeline.settings import Settings, load_settings, naming

__all__ = ["MAX_WAIT", "Hunting", "Moment", "connect", "selected_tables"]

MAX_WAIT = 900.0
"""Longest wait for quota or a lock, in seconds: CPU quota is renewed every 15 minutes."""


def connect(tenant: str = "", **settings: Any) -> "Hunting":
    """Return a connection to one tenant and its lake.

    Nothing is sent before the first query or pull. Close the connection by `close`, or use it as a context
    manager.

    Args:
        tenant: name of one of several tenants in `hunting.toml`.
        settings: settings that override the variables and the file, such as `lake="archive"`.

    Raises:
        Misconfigured: a setting is wrong or unknown.
    """
    return Hunting(load_settings(tenant, **settings))


class Hunting:
    """A connection to one tenant and its lake, see `connect`.

    Args:
        settings: the settings.
        clock: the clock of queries and pulls; the system's clock if None.
        max_wait: seconds that a query or a pull waits for quota before it ends with `QuotaExhausted`.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None, max_wait: float = MAX_WAIT) -> None:
        self._settings = settings
        self._clock = clock
        self._max_wait = max_wait
        self._opened = ExitStack()
        self._open_pipeline: Pipeline | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. A later query opens them again."""
        self._open_pipeline = None
        self._opened.close()

    def query(self, kql: str | Path, *, allow_truncated: bool = False) -> Result:
        """Ask a query, and return all rows of its result.

        The query is sent as it is. If one reply does not hold the result, the query is cut into slices of
        time, if this is exact, see docs/python.md.

        Args:
            kql: the text of the query, or the path of a file. The header of a file may have `// time:`.
            allow_truncated: return an incomplete result if the query cannot be cut; see `Result.truncated`.

        Raises:
            ResultTooLarge: one reply does not hold the result, and the query cannot be cut by time.
            Refused: the service refuses the query. The message quotes the service.
            HuntingError: as in a pull. Nothing was returned.
        """
        query = query_file(kql) if isinstance(kql, Path) else QueryText(kql)
        with self._pipeline() as pipeline, bars(Console(stderr=True)) as observe:
            return ask(pipeline, query.text, query.sliced, allow_truncated=allow_truncated, observe=observe)

    def pull(self, table: str, start: Moment | None = None, end: Moment | None = None) -> Report:
        """Fetch the missing partitions of a table into the lake.

        Args:
            table: the name of a table, or the path of a hunt file.
            start: start of the range, included, see `moments.FORMS`; None for the start of the retention.
            end: end of the range, excluded; None for now.

        Raises:
            Misconfigured: there is no such table, or the range is empty.
            HuntingError: see the errors of the package. Committed partitions stay.
        """
        with self._pipeline() as pipeline, bars(Console(stderr=True)) as observe:
            (spec,) = selected_tables([table], self._settings, pipeline.store)
            available = window.available(pipeline.now(), pipeline.limits.retention_days)
            asked = _range(start, end, available, pipeline.now())
            partitions = window.selected_partitions(spec, asked, now=pipeline.now(), open_end=end is None)
            with pipeline.pull(spec, partitions, observe=observe) as pulling:
                for _ in pulling:
                    pass
                return pulling.report

    def read(self, table: str, start: Moment | None = None, end: Moment | None = None) -> ds.Dataset:
        """Open the archived rows of a table with a time in `[start, end)`, without reading them.

        Call `to_table`, `to_batches` or `scanner` of the dataset to read rows. Without `start` and `end`, the
        dataset has all archived rows, also those whose time is null.

        Raises:
            Misconfigured: none of the partitions is archived, or the range is empty.
        """
        with naming(self._settings):
            store = open_lake(self._settings)
            (spec,) = selected_tables([table], self._settings, store)
            if start is None and end is None:
                return read.dataset(store, spec.name)
            asked = _range(start, end, _ALL, self._now())
            bounded = start is not None and end is not None
            partitions = window.partitions_in(spec, asked) if bounded else None
            found = read.dataset(store, spec.name, partitions)
            return found.filter(_within(found.schema, spec, asked))

    def status(self, *tables: str) -> dict[str, Coverage]:
        """Return the archived and missing partitions in the retention, by table. Sends no request.

        Without `tables`, these are the tables of the setting `tables`, or all tables.
        """
        with naming(self._settings):
            store, days = open_lake(self._settings), self._settings.limits_profile.retention_days
            now = self._now()
            found = {}
            for spec in selected_tables(tables, self._settings, store):
                asked = window.selected_partitions(spec, window.available(now, days), now=now, open_end=True)
                found[spec.name] = coverage(store, spec, asked, now=now, retention_days=days)
            return found

    def _now(self) -> int:
        """Return the current time in ticks, by the machine's clock."""
        return round((self._clock.now() if self._clock else time.time()) * SECOND)

    @contextmanager
    def _pipeline(self) -> Iterator[Pipeline]:
        """Open the pipeline at its first use. Errors name the variables of the settings."""
        with naming(self._settings):
            if self._open_pipeline is None:
                opening = open_pipeline(self._settings, max_wait=self._max_wait, clock=self._clock)
                self._open_pipeline = self._opened.enter_context(opening)
            yield self._open_pipeline


def selected_tables(names: Sequence[str], settings: Settings, store: Store) -> list[TableSpec]:
    """Return the named tables, else those of the setting `tables`, else all tables that are not deprecated.

    A name that ends in `.kql` is the path of a hunt file. The grain of a table is the grain of its archive.
    The grain of a hunt comes from its file. The settings complete both.

    Raises:
        Misconfigured: a name is not a hunting table, or a hunt file is wrong.
    """
    chosen = names or settings.tables or [entry.name for entry in catalog().values() if not entry.deprecated]
    return [
        settings.completed(
            hunt_file(Path(name)).spec if name.endswith(SUFFIX) else _as_archived(spec(name), store)
        )
        for name in dict.fromkeys(chosen)
    ]


def _as_archived(spec: TableSpec, store: Store) -> TableSpec:
    schema = load_schema(store, spec.name)
    return replace(spec, grain=schema.grain) if schema else spec


_ALL = Window(ticks_of(datetime(1900, 1, 1, tzinfo=UTC)), ticks_of(datetime(2200, 1, 1, tzinfo=UTC)))
"""All times that the nanoseconds of a lake are likely to hold."""


def _range(start: Moment | None, end: Moment | None, default: Window, now: int) -> Window:
    first = default.start if start is None else ticks_at(start, now)
    last = default.end if end is None else ticks_at(end, now)
    if first >= last:
        raise Misconfigured(f"the range is empty: {datetime_of(first)} is not before {datetime_of(last)}")
    return Window(first, last)


def _within(schema: pa.Schema, spec: TableSpec, asked: Window) -> pc.Expression:
    """Return the condition for rows in a window. A snapshot has no time, so its day decides."""
    column = spec.time_column or "date"
    start, end = (
        pa.scalar(datetime_of(edge), pa.timestamp("us", "UTC")).cast(schema.field(column).type)
        for edge in (asked.start, asked.end)
    )
    return (pc.field(column) >= start) & (pc.field(column) < end)
