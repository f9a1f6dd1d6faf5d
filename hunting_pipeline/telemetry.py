"""Metrics and traces for OpenTelemetry. Without its API (extra `otel`) or an SDK, nothing is measured.

This package only uses the API. An operator chooses the SDK and the exporter by the standard variables
`OTEL_*`, for example with `opentelemetry-instrument`, whose child processes measure as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

__all__ = ["Call", "committed", "measured_call", "parent", "traced_pull", "waited"]

_NAME = "hunting_pipeline"


@dataclass
class Call:
    """The outcome of one call to the service. The caller sets the fields before the block ends.

    Attributes:
        outcome: `ok`, or the kind of the verdict, such as `throttled`.
        rows: rows of the reply.
        bytes: length of the decompressed reply.
        seconds: running time that the quota is charged.
    """

    outcome: str = "ok"
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Instruments:
    tracer: Any
    trace: Any
    calls: Any
    running: Any
    rows: Any
    bytes: Any
    waits: Any
    partitions: Any
    lag: Any


@cache
def _instruments() -> _Instruments | None:
    try:
        from opentelemetry import metrics, trace  # noqa: PLC0415 # an optional dependency
    except ImportError:
        return None
    meter = metrics.get_meter(_NAME)
    return _Instruments(
        tracer=trace.get_tracer(_NAME),
        trace=trace,
        calls=meter.create_counter("hunting.calls", "{call}", "Calls to the hunting API, by outcome"),
        running=meter.create_counter("hunting.running_time", "s", "Running time charged to the quota"),
        rows=meter.create_counter("hunting.rows", "{row}", "Rows received"),
        bytes=meter.create_counter("hunting.reply.size", "By", "Decompressed JSON received"),
        waits=meter.create_counter("hunting.wait_time", "s", "Time spent waiting for quota"),
        partitions=meter.create_counter("hunting.partitions", "{partition}", "Partitions committed"),
        lag=meter.create_gauge("hunting.lag", "s", "Age of the newest archived instant at a commit"),
    )


@contextmanager
def traced_pull(table: str) -> Iterator[None]:
    """Trace a pull of a table as one span. Its calls are children of the span, in every thread."""
    found = _instruments()
    if found is None:
        yield
        return
    with found.tracer.start_as_current_span("hunting pull", attributes={"hunting.table": table}):
        yield


def parent() -> Any:
    """Return the present span for `measured_call` in another thread; None without OpenTelemetry."""
    found = _instruments()
    return found and found.trace.get_current_span()


@contextmanager
def measured_call(table: str, *, parent: Any) -> Iterator[Call]:
    """Measure one call about a table, as a child of the span `parent`."""
    found, call = _instruments(), Call()
    if found is None:
        yield call
        return
    attributes = {"hunting.table": table}
    context = found.trace.set_span_in_context(parent) if parent is not None else None
    with found.tracer.start_as_current_span("hunting call", context, attributes=attributes) as span:
        try:
            yield call
        finally:
            attributes["hunting.outcome"] = call.outcome
            span.set_attributes(attributes | {"hunting.rows": call.rows, "hunting.bytes": call.bytes})
            found.calls.add(1, attributes)
            found.running.add(call.seconds, {"hunting.table": table})
            found.rows.add(call.rows, {"hunting.table": table})
            found.bytes.add(call.bytes, {"hunting.table": table})


def waited(table: str, seconds: float) -> None:
    """Measure a wait for quota."""
    if (found := _instruments()) is not None:
        found.waits.add(seconds, {"hunting.table": table})


def committed(table: str, *, lag: float) -> None:
    """Measure the commit of a partition. `lag` is the age of the newest archived instant in seconds."""
    if (found := _instruments()) is not None:
        found.partitions.add(1, {"hunting.table": table})
        found.lag.set(lag, {"hunting.table": table})
