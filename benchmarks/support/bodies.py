"""Full replies of the emulator, shared by all contestants: the gzipped body and its Arrow table."""

import gzip
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from hunting_emulator import ticks
from hunting_emulator.apis import APIS, Api, stream
from hunting_emulator.encoding import odata_value
from hunting_emulator.engine import answer
from hunting_emulator.faults import Manners
from hunting_emulator.limits import PROFILES
from hunting_emulator.tenant import Tenant, TenantOptions
from hunting_pipeline.decode import decode

TABLES = {
    "process": "DeviceProcessEvents",
    "email": "EmailEvents",
    "network": "DeviceNetworkEvents",
    "cloud": "CloudAppEvents",
}
"""The first three are flat; seven columns of the last are dynamic."""
_NOW = ticks.parse("2026-11-20T12:00:00Z")
_DAY = "Timestamp >= datetime(2026-11-18) and Timestamp < datetime(2026-11-19)"
_DAYS = 30
"""Days over which the rows of a table are spread."""
_GZIP_LEVEL = 6
"""zlib's default."""


@dataclass(frozen=True)
class Body:
    """A reply on disk.

    Attributes:
        kind: a key of `TABLES`.
        api: `xdr` or `graph`; both hold the same rows.
        megabytes: the intended size of the JSON in the XDR envelope.
        rows: number of rows.
        size: bytes of its JSON.
        path: the file with its gzip.
        few: the file of a reply with about ten rows.
    """

    kind: str
    api: str
    megabytes: int
    rows: int
    size: int
    path: Path
    few: Path

    @property
    def title(self) -> str:
        return f"{self.kind} {self.api} {self.megabytes}"


def bodies(folder: Path, kind: str, megabytes: int, apis: Sequence[str]) -> list[Body]:
    """Write replies with the same rows, one day of the table, for each API."""
    table = TABLES[kind]
    with closing(_tenant(table, 10 * _DAYS)) as tenant:
        few = {api: _written(tenant, folder, f"{table}-{api}-few") for api in apis}
    with closing(_tenant(table, 1000 * _DAYS)) as tenant:
        probe = len(b"".join(_reply(tenant, table, "xdr")))
    with closing(_tenant(table, round(1000 * _DAYS * megabytes * 1e6 / probe))) as tenant:
        found = []
        for api in apis:
            path, rows, size = _written(tenant, folder, f"{table}-{api}-{megabytes}")
            found.append(Body(kind, api, megabytes, rows, size, path, few[api][0]))
    return found


def _tenant(table: str, rows: int) -> Tenant:
    tenant = Tenant(TenantOptions(now=_NOW, rows={table: rows}))
    tenant.cursor().create_function("odata_value", odata_value, ["VARCHAR"], "VARCHAR")
    return tenant


def _reply(tenant: Tenant, table: str, api: str) -> Iterator[bytes]:
    spoken = _api(api)
    manners = Manners()
    found = answer(tenant, f"{table} | where {_DAY}", PROFILES["test"], spoken.spoken(manners))
    yield from stream(spoken, found, "https://localhost", manners)


def _api(name: str) -> Api:
    return next(api for api in APIS if api.name == name)


def _written(tenant: Tenant, folder: Path, name: str) -> tuple[Path, int, int]:
    """Write a reply's gzip and its Arrow table. Returns the path, the rows, and the bytes of JSON."""
    path = folder / f"{name}.json.gz"
    table_name, api, _ = name.split("-")
    plain = b"".join(_reply(tenant, table_name, api))
    path.write_bytes(gzip.compress(plain, _GZIP_LEVEL))
    table = decode([plain], max_bytes=len(plain)).table
    order = np.argsort(table["Timestamp"].cast(pa.int64()).to_numpy(), kind="stable")
    with pa.ipc.new_file(path.with_name(f"{name}.arrow"), table.schema) as file:
        file.write_table(table.take(pa.array(order)))
    return path, table.num_rows, len(plain)
