"""Metrics and traces of a pull, as a real collector receives them by OTLP over HTTP."""

import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from hunting_emulator.process import running
from support import Emulated

PULL = "AlertInfo"


@dataclass
class Collector:
    """An OTLP collector on loopback: the metrics and the spans that it received."""

    url: str = ""
    metrics: list[Any] = field(default_factory=list)
    spans: list[Any] = field(default_factory=list)

    def receive(self, path: str, body: bytes) -> None:
        if path == "/v1/metrics":
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics += [one for scope in resource.scope_metrics for one in scope.metrics]
        else:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [one for scope in resource.scope_spans for one in scope.spans]

    def points(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Return the attributes and the value of each point of a metric, as last received."""
        last = [one for one in self.metrics if one.name == name][-1]
        points = last.gauge.data_points or last.sum.data_points
        found = []
        for point in points:
            attributes = {pair.key: pair.value.string_value for pair in point.attributes}
            found.append((attributes, point.as_double or point.as_int))
        return found

    def total(self, name: str) -> float:
        return sum(value for _, value in self.points(name))


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            found.receive(self.path, body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    yield found
    server.shutdown()


@pytest.mark.slow
def test_a_collector_receives_calls_waits_rows_lag_and_the_trace_of_a_pull(
    collector: Collector, tmp_path: Path
) -> None:
    with running(profile="test", rows={PULL: 2_000}) as endpoint:
        tenant = Emulated(endpoint, tenant=None, home=tmp_path)  # type: ignore[arg-type] # rows are not compared
        tenant.post("config", faults={"on": "rows", "queue": ["quota"]})
        bin_folder = Path(sys.executable).parent
        done = subprocess.run(
            [bin_folder / "opentelemetry-instrument", bin_folder / "hunting", "pull", PULL],
            env={
                **os.environ,
                **tenant.one_by_one(),
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
                "OTEL_LOGS_EXPORTER": "none",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        stats = tenant.stats()
    assert collector.total("hunting.calls") == stats["calls"]
    outcomes = {attributes["hunting.outcome"] for attributes, _ in collector.points("hunting.calls")}
    assert outcomes == {"ok", "throttled"}
    assert collector.total("hunting.wait_time") > 0
    assert collector.total("hunting.rows") >= 2_000
    assert collector.total("hunting.reply.size") == pytest.approx(stats["bytes"], rel=0.02)
    assert collector.total("hunting.partitions") >= 29
    assert 0 < collector.total("hunting.lag") < 86_400
    (pull,) = [one for one in collector.spans if one.name == "hunting pull"]
    calls = [one for one in collector.spans if one.name == "hunting call"]
    assert len(calls) == stats["calls"]
    assert {call.parent_span_id for call in calls} == {pull.span_id}
