"""The three APIs: routes, permissions, envelopes and error bodies."""

import io
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from hunting_emulator.encoding import ODATA, PLAIN, Dialect, schema_pairs
from hunting_emulator.engine import Answer
from hunting_emulator.faults import LIES, Manners
from hunting_emulator.kql.typed import Column

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Api:
    """One hunting API. `role` is the required permission; `device_only` limits the API to Device tables."""

    name: str
    path: str
    role: str
    dialect: Dialect
    odata: bool
    device_only: bool = False

    def ends(self, answer: Answer, base: str, manners: Manners) -> tuple[str, str]:
        """Return the text of a reply before the first row and the text after the last row."""
        swap = self.odata != manners.swap_case
        pairs = schema_pairs(answer.columns, self.spoken(manners))
        named = [{_cased("Name", swap): name, _cased("Type", swap): kind} for name, kind in pairs]
        schema = f'"{_cased("Schema", swap)}":{json.dumps(named, ensure_ascii=False)}'
        head = "{" + self._context(answer, base)
        results = f'"{_cased("Results", swap)}":['
        if manners.schema_last:
            return f"{head}{results}", f"],{schema}}}"
        return f"{head}{schema},{results}", "]}"

    def _context(self, answer: Answer, base: str) -> str:
        if self.odata:
            context = f"{base}/v1.0/$metadata#microsoft.graph.security.huntingQueryResults"
            return f'"@odata.context":{json.dumps(context)},'
        stats = {
            "ExecutionTime": round(answer.seconds, 7),
            "resource_usage": {"cpu": {"total cpu": _clock(answer.seconds)}},
            "dataset_statistics": [{"table_row_count": answer.rows}],
        }
        return f'"Stats":{json.dumps(stats)},'

    def spoken(self, manners: Manners) -> Dialect:
        """Return the dialect of this API under these manners."""
        return replace(
            self.dialect,
            null=manners.null or self.dialect.null,
            sidecars=manners.sidecars or self.dialect.sidecars,
            plain_bool=manners.plain_bool,
        )

    def error(self, code: str, message: str) -> bytes:
        """Return the body of an error reply."""
        request = str(uuid.uuid4())
        if self.odata:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
            inner = {"date": stamp, "request-id": request, "client-request-id": request}
            return json.dumps({"error": {"code": code, "message": message, "innerError": inner}}).encode()
        return json.dumps(
            {"error": {"code": code, "message": message, "target": f"|{request[:8]}."}}
        ).encode()


APIS = (
    Api("xdr", "/api/advancedhunting/run", "AdvancedHunting.Read.All", PLAIN, odata=False),
    Api("graph", "/v1.0/security/runHuntingQuery", "ThreatHunting.Read.All", ODATA, odata=True),
    Api(
        "endpoint", "/api/advancedqueries/run", "AdvancedQuery.Read.All", PLAIN, odata=False, device_only=True
    ),
)


def stream(api: Api, answer: Answer, base: str, manners: Manners) -> Iterator[bytes]:
    """Yield the complete reply in blocks. Close the answer at the end."""
    opening, closing = api.ends(answer, base, manners)
    with answer.body:
        yield opening.encode()
        while block := answer.body.read(_BLOCK):
            yield block
        yield closing.encode()


def falsified(answer: Answer, fault: str | None, manners: Manners) -> Answer:
    """Return an answer with a false content: for a fault of `LIES`, and for garbled and withheld rows."""
    if fault not in LIES and manners.garbled is None and manners.withheld is None:
        return answer
    with answer.body:
        text = answer.body.read()
    columns = answer.columns
    if fault == "retyped":
        columns, text = _retyped(columns, text)
    if fault == "short":
        text = _joined(_rows(text)[:-1])
    if fault == "miscount":
        text = re.sub(rb'"Rows":', b'"Rows":-', text, count=1)
    if manners.withheld is not None:
        text = _joined([row for row in _rows(text) if manners.withheld not in row])
    if manners.garbled is not None:
        text = text.replace(manners.garbled.encode(), b"\xff")
    return replace(answer, body=io.BytesIO(text), columns=columns)


def _rows(text: bytes) -> list[str]:
    """Return the JSON text of each row."""
    whole, rows, at = text.decode(), [], 0
    while at < len(whole):
        start = at + (at > 0)
        _, at = json.JSONDecoder().raw_decode(whole, start)
        rows.append(whole[start:at])
    return rows


def _joined(rows: list[str]) -> bytes:
    return ",".join(rows).encode()


def _retyped(columns: tuple[Column, ...], text: bytes) -> tuple[tuple[Column, ...], bytes]:
    """Return the columns and the rows with the first column of integers as text."""
    odd = next((column for column in columns if column.type in ("int", "long")), None)
    if odd is None:
        return columns, text
    name = re.escape(json.dumps(odd.name, ensure_ascii=False).encode())
    changed = tuple(replace(column, type="string") if column is odd else column for column in columns)
    return changed, re.sub(
        name + rb":(-?\d+)", lambda found: found[0][: -len(found[1])] + b'"%s"' % found[1], text
    )


def wrecked(
    fault: str, blocks: Iterator[bytes], answer: Answer, manners: Manners, hang_up: Callable[[], None]
) -> Iterator[bytes]:
    """Yield a reply with a transport fault.

    `cut` aborts the connection in the middle of the reply. `half` ends the reply in the middle without an
    error. `slow` sends small blocks with pauses.
    """
    middle = answer.body.seek(0, 2) // 2
    answer.body.seek(0)
    sent = 0
    for block in blocks:
        if fault in ("cut", "half") and sent + len(block) > middle:
            yield block[: max(0, middle - sent)]
            answer.body.close()
            if fault == "cut":
                hang_up()
            return
        sent += len(block)
        if fault != "slow":
            yield block
            continue
        for at in range(0, len(block), -(-len(block) // 10)):
            time.sleep(manners.slow_seconds / 30)
            yield block[at : at - (-len(block) // 10)]


def _cased(key: str, lower: bool) -> str:
    return key.lower() if lower else key


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{int(seconds % 1 * 10_000_000):07d}"
