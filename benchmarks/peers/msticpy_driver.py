"""msticpy's own path: its driver sends one `httpx.post`, answered from the file, and makes a DataFrame.

`to_parquet` follows. pyarrow cannot write a column with `{}` (Graph): `{}` is read as None.
"""

from pathlib import Path

import httpx
import pyarrow.parquet as pq
from measure import Lap, run
from msticpy.data.core.query_defns import DataEnvironment
from msticpy.data.drivers.mdatp_driver import MDATPDriver


class Graph(httpx.Response):
    """A reply of Graph."""

    def json(self, **_: object) -> object:
        return super().json(object_hook=lambda value: value or None)


def work(body: Path, out: Path, lap: Lap) -> int:
    graph = "-graph-" in body.name
    driver = MDATPDriver(data_environment=DataEnvironment["M365DGraph" if graph else "M365D"])
    driver._connected = True
    httpx.post = lambda **_: (Graph if graph else httpx.Response)(
        200,
        content=body.read_bytes(),
        headers={"Content-Encoding": "gzip"},
        request=httpx.Request("POST", "https://localhost"),
    )
    frame = driver.query("Events")
    lap("decode")
    frame.to_parquet(out)
    return pq.read_metadata(out).num_rows


run(work)
