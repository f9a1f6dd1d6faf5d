"""A client of the throttled reply: when is its Parquet complete? The clock is the machine's monotonic one."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path


def run(fetch: Callable[[str, Path], int]) -> None:
    """`fetch(url, out)` once for a reply of a few rows, uncounted, then for the throttled one."""
    url, out = sys.argv[1], Path(sys.argv[2])
    fetch(f"{url}/few", out.with_name("warm"))
    rows = fetch(f"{url}/reply", out)
    sys.stdout.write(json.dumps({"rows": rows, "complete": time.monotonic()}) + "\n")
