"""Peak memory of a pull, above the memory of the process after its imports.

    python -m benchmarks.memory [--quick]

Each pull of DeviceProcessEvents runs in a new process, with the default four workers: at most four replies
are in flight. A reply has at most 50 MB, the limit of the XDR API. The emulator runs in its own process.
"""

import argparse
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.support.emulated import Request, pull
from hunting_emulator.process import running

TABLE = "DeviceProcessEvents"
DAY_ROWS = 22_000
"""Average rows of a day for each full reply. One reply holds a little less, because days differ."""
CASES = (
    # least replies a day, days, grain
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
            request = Request(TABLE, grain, end - timedelta(days=days), end)
            found = pull(endpoint, Path(folder, "home"), request, HUNTING_API="xdr", HUNTING_SHARE="1")
        each = found["json_bytes"] / found["replies"] / 1e6
        counted = f"{found['replies']:>9}{each:>10.0f}{found['partitions']:>13}{found['rows']:>10,}"
        print(f"{counted}{found['peak'] / 1e6:>10.0f}", flush=True)


if __name__ == "__main__":
    main()
