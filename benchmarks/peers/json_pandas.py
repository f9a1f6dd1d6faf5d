"""The usual recipe: response.json() → DataFrame → to_parquet."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from measure import Lap, run
from reply import rows


def work(body: Path, out: Path, lap: Lap) -> int:
    frame = pd.DataFrame(rows(body))
    lap("decode")
    frame.to_parquet(out)
    return pq.read_metadata(out).num_rows


run(work)
