"""Reply → Parquet by this project over HTTP, decoded while it arrives."""

from pathlib import Path

import httpx
from ours_reply import to_parquet
from throttled import run


def fetch(url: str, out: Path) -> int:
    with httpx.stream("POST", url, timeout=60) as response:
        return to_parquet(response.iter_raw(), out, lambda _: None)


run(fetch)
