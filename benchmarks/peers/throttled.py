"""A client of the throttled reply. Prints the time of the complete Parquet file, on the monotonic clock."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path


def run(fetch: Callable[[str, Path], int]) -> None:
    """Run `fetch(url, out)` once for a reply of a few rows, uncounted, then for the throttled reply."""
    url, out = sys.argv[1], Path(sys.argv[2])
    fetch(f"{url}/few", out.with_name("warm"))
    rows = fetch(f"{url}/reply", out)
    sys.stdout.write(json.dumps({"rows": rows, "complete": time.monotonic()}) + "\n")
