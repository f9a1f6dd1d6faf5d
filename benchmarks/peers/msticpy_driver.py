"""msticpy's own path: its driver asks (one `httpx.post`, answered from the file) and makes a DataFrame.

`to_parquet` follows. Of Graph's replies pyarrow takes no column that holds `{}`, so those become None.
"""

from pathlib import Path

import httpx
import pyarrow.parquet as pq
from measure import Lap, run
from msticpy.data.core.query_defns import DataEnvironment
from msticpy.data.drivers.mdatp_driver import MDATPDriver


def work(body: Path, out: Path, lap: Lap) -> int:
    graph = "-graph-" in body.name
    driver = MDATPDriver(data_environment=DataEnvironment["M365DGraph" if graph else "M365D"])
    driver._connected = True
    httpx.post = lambda **_: httpx.Response(
        200,
        content=body.read_bytes(),
        headers={"Content-Encoding": "gzip"},
        request=httpx.Request("POST", "https://localhost"),
    )
    frame = driver.query("Events")
    if graph:
        frame = frame.map(lambda value: None if value == {} else value)
    lap("decode")
    frame.to_parquet(out)
    return pq.read_metadata(out).num_rows


run(work)
