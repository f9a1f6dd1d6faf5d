"""The three surfaces as data: routes, permissions, envelopes and error bodies."""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from hunting_emulator.encoding import ODATA, PLAIN, Dialect, schema_pairs
from hunting_emulator.engine import Answer

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Surface:
    """One way to ask. `role` is the application permission it needs; `device_only` limits it to Device tables."""

    name: str
    path: str
    role: str
    dialect: Dialect
    odata: bool
    device_only: bool = False

    def opening(self, answer: Answer, base: str) -> str:
        """The text of a reply up to its first row."""
        pairs = schema_pairs(answer.columns)
        if self.odata:
            schema = json.dumps([{"name": name, "type": kind} for name, kind in pairs], ensure_ascii=False)
            context = f"{base}/v1.0/$metadata#microsoft.graph.security.huntingQueryResults"
            return f'{{"@odata.context":{json.dumps(context)},"schema":{schema},"results":['
        schema = json.dumps([{"Name": name, "Type": kind} for name, kind in pairs], ensure_ascii=False)
        stats = {
            "ExecutionTime": round(answer.seconds, 7),
            "resource_usage": {"cpu": {"total cpu": _clock(answer.seconds)}},
            "dataset_statistics": [{"table_row_count": answer.rows}],
        }
        return f'{{"Stats":{json.dumps(stats)},"Schema":{schema},"Results":['

    def error(self, code: str, message: str) -> bytes:
        """The body of a refusal."""
        request = str(uuid.uuid4())
        if self.odata:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
            inner = {"date": stamp, "request-id": request, "client-request-id": request}
            return json.dumps({"error": {"code": code, "message": message, "innerError": inner}}).encode()
        return json.dumps({"error": {"code": code, "message": message, "target": f"|{request[:8]}."}}).encode()


SURFACES = (
    Surface("xdr", "/api/advancedhunting/run", "AdvancedHunting.Read.All", PLAIN, odata=False),
    Surface("graph", "/v1.0/security/runHuntingQuery", "ThreatHunting.Read.All", ODATA, odata=True),
    Surface("endpoint", "/api/advancedqueries/run", "AdvancedQuery.Read.All", PLAIN, odata=False, device_only=True),
)


def stream(surface: Surface, answer: Answer, base: str) -> Iterator[bytes]:
    """The whole reply in blocks; closes the answer at its end."""
    with answer.body:
        yield surface.opening(answer, base).encode()
        while block := answer.body.read(_BLOCK):
            yield block
        yield b"]}"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{int(seconds % 1 * 10_000_000):07d}"
