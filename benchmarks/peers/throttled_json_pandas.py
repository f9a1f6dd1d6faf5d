"""The usual recipe over HTTP."""

from pathlib import Path

import httpx
import pandas as pd
from throttled import run


def fetch(url: str, out: Path) -> int:
    frame = pd.DataFrame(httpx.post(url, timeout=60).json()["Results"])
    frame.to_parquet(out)
    return len(frame)


run(fetch)
