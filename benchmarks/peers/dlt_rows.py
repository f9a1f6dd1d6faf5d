"""dlt's usual path: a resource yields the rows, dlt normalises them and writes Parquet to a folder."""

from pathlib import Path

from dlt_folder import load
from measure import Lap, run
from reply import rows


def work(body: Path, out: Path, lap: Lap) -> int:
    found = rows(body)
    lap("parsed")
    return load(found, out)


run(work)
