"""A pull into a folder and into S3: CPU and peak memory of the pulling process.

    python -m benchmarks.stores [--quick]

Each pull is a new process that fetches the same rows from the XDR API, over HTTPS with compression. The S3
server is SeaweedFS on this machine. CPU counts from the end of the imports. Memory is the largest resident
size, which includes the pages of files that the system can drop.
"""

import argparse
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks.support.emulated import Request, pull
from benchmarks.support.object_store import s3_lake
from hunting_emulator.process import running

ROWS, DAYS, ROUNDS = 1_000_000, 10, 3
TABLE = "DeviceProcessEvents"


def main() -> None:
    """Print both figures of each place, and their differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the rows, once")
    options = parser.parse_args()
    rows, rounds = (ROWS // 100, 1) if options.quick else (ROWS, ROUNDS)
    end = datetime.now(UTC).date() - timedelta(days=2)
    request = Request(TABLE, "day", end - timedelta(days=DAYS), end)
    found: dict[str, list[tuple[float, float]]] = {"folder": [], "S3": []}
    pulled = set()
    with (
        tempfile.TemporaryDirectory() as folder,
        s3_lake() as variables,
        running(profile="test", gzip=True, rows={TABLE: rows * 30 // DAYS}) as endpoint,
    ):
        for number in range(rounds):
            at = variables | {"HUNTING_LAKE": f"{variables['HUNTING_LAKE']}/{number}"}
            for place, settings in (("folder", {}), ("S3", at)):
                home = Path(folder, f"{place}{number}")
                done = pull(endpoint, home, request, HUNTING_API="xdr", **settings)
                found[place].append((done["cpu"], done["peak"] / 2**20))
                pulled.add(done["rows"])
    (count,) = pulled
    print(f"{count:,} rows of {TABLE}, {DAYS} days; median of {rounds}")
    (cpu, memory), (cpu_s3, memory_s3) = (
        [median(values) for values in zip(*found[place], strict=True)] for place in found
    )
    print(f"  folder  {cpu:6.1f} s CPU  {memory:6.0f} MiB")
    print(f"  S3      {cpu_s3:6.1f} s CPU  {memory_s3:6.0f} MiB")
    print(f"  more    {cpu_s3 - cpu:6.1f} s CPU  {memory_s3 / memory:6.2f} ×")


if __name__ == "__main__":
    main()
