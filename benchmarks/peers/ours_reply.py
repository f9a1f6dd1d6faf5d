"""Reply → Parquet by this project: inflate, decode, sort, write as a commit does, without sync."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from measure import Lap, run

from hunting_pipeline.decode import decode
from hunting_pipeline.http.body import inflate
from hunting_pipeline.lake.parquet import ROW_GROUP_ROWS, parquet_writer

CEILING = 1 << 30


def arriving(body: Path) -> Iterator[bytes]:
    """Yield the compressed body in chunks, like a socket."""
    with body.open("rb") as file:
        while chunk := file.read(64 * 1024):
            yield chunk


def to_parquet(chunks: Iterator[bytes], out: Path, lap: Lap) -> int:
    """Write a gzipped reply as one sorted file. Returns its rows."""
    table = decode(inflate(chunks, "gzip", ceiling=CEILING), max_bytes=CEILING).table
    lap("decode")
    table = table.take(pa.array(np.argsort(table["Timestamp"].cast(pa.int64()).to_numpy(), kind="stable")))
    with parquet_writer(out, table.schema, table) as file:
        file.write_table(table, row_group_size=ROW_GROUP_ROWS)
    return table.num_rows


def work(body: Path, out: Path, lap: Lap) -> int:
    return to_parquet(arriving(body), out, lap)


if __name__ == "__main__":
    run(work)
