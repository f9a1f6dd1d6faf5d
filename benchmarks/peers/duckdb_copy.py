"""DuckDB reads the gzipped JSON and writes Parquet in one statement.

DuckDB treats names that differ only in case as one; with `ignore_errors` it reads the rest.
"""

from pathlib import Path

import duckdb
from measure import Lap, run


def work(body: Path, out: Path, lap: Lap) -> int:
    reply = f"read_json('{body}', maximum_object_size = 1000000000, ignore_errors = true)"
    found = duckdb.execute(
        f"COPY (SELECT unnest(Results, max_depth := 2) FROM {reply}) TO '{out}' (FORMAT parquet)"
    ).fetchone()
    lap("copied")
    return found[0]


run(work)
