"""polars reads the JSON itself and writes Parquet. Python reads Graph's replies: polars refuses `{}`."""

import gzip
from pathlib import Path

import polars as pl
from measure import Lap, run
from reply import rows


def work(body: Path, out: Path, lap: Lap) -> int:
    if "-graph-" in body.name:
        frame = pl.DataFrame(rows(body), infer_schema_length=None)
    else:
        reply = pl.read_json(gzip.decompress(body.read_bytes()))
        frame = reply["Results"].explode().struct.unnest()
    lap("decode")
    frame.write_parquet(out)
    return frame.height


run(work)
