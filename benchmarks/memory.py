"""Peak memory of a pull above the process with its imports done: four replies in flight, however many come.

    python -m benchmarks.memory [--quick]

Pulls of DeviceProcessEvents with the default four workers, the XDR surface's limit of 50 MB a reply, from an
emulator in a process of its own; each pull in a fresh process.
"""

import argparse
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.support.emulated import Asked, pull
from hunting_emulator.process import running

TABLE = "DeviceProcessEvents"
DAY_ROWS = 22_000
"""A day's rows on average for each full reply: somewhat more than one brings, as days differ."""
CASES = (
    # replies a day at least, days, grain
    (6, 1, "day"),
    (6, 3, "day"),
    (18, 1, "day"),
    (18, 1, "hour"),
)


def main() -> None:
    """Print a line for each pull."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest pull")
    options = parser.parse_args()
    end = datetime.now(UTC).date() - timedelta(days=2)
    print(f"{TABLE}, 4 workers")
    print("  replies   MB each   partitions      rows   peak MB above the empty process")
    for replies, days, grain in CASES[: 1 if options.quick else None]:
        rows = 30 * replies * DAY_ROWS
        with (
            tempfile.TemporaryDirectory() as folder,
            running(profile="xdr", limit={"calls_per_minute": "off"}, rows={TABLE: rows}) as endpoint,
        ):
            asked = Asked(TABLE, grain, end - timedelta(days=days), end)
            found = pull(endpoint, Path(folder, "home"), asked, HUNTING_API="xdr", HUNTING_SHARE="1")
        each = found["json_bytes"] / found["replies"] / 1e6
        counted = f"{found['replies']:>9}{each:>10.0f}{found['partitions']:>13}{found['rows']:>10,}"
        print(f"{counted}{found['peak'] / 1e6:>10.0f}", flush=True)


if __name__ == "__main__":
    main()
