"""CPU of a pull of a million rows: of the pulling process, and of the emulator that makes the rows.

    python -m benchmarks.pull [--quick] [--profile]

Each of three tables has a third of the rows. A new process with default settings pulls each table over HTTPS
from the XDR API, with compression. CPU of the pulling process counts from the end of its imports, and CPU of
the emulator from its start. The table of the profile leaves out the CPU of the profiler.
"""

import argparse
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.support.emulated import Request, cpu_seconds, pull
from hunting_emulator.process import running

ROWS, DAYS = 1_000_000, 10
TABLES = ("DeviceProcessEvents", "EmailEvents", "DeviceNetworkEvents")


def main() -> None:
    """Print both figures, and the profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a hundredth of the rows")
    parser.add_argument("--profile", action="store_true", help="print CPU by part of the pipeline")
    options = parser.parse_args()
    rows = (ROWS // 100 if options.quick else ROWS) // len(TABLES)
    profile = ["--profile"] if options.profile else []
    end = datetime.now(UTC).date() - timedelta(days=2)
    found = []
    with (
        tempfile.TemporaryDirectory() as folder,
        running(profile="test", gzip=True, rows=dict.fromkeys(TABLES, rows * 30 // DAYS)) as endpoint,
    ):
        before = cpu_seconds(endpoint.pid)
        for table in TABLES:
            request = Request(table, "day", end - timedelta(days=DAYS), end)
            found.append(pull(endpoint, Path(folder, table), request, *profile, HUNTING_API="xdr"))
        theirs = cpu_seconds(endpoint.pid) - before
    ours = sum(each["cpu"] for each in found)
    brought, size = (sum(each[key] for each in found) for key in ("rows", "json_bytes"))
    print(f"{brought:,} rows, {size / 1e9:.2f} GB of JSON, {sum(each['replies'] for each in found)} replies")
    print(f"  our process      {ours:6.1f} s CPU")
    print(f"  the emulator     {theirs:6.1f} s CPU    ours / theirs {ours / theirs:.2f}")
    if options.profile:
        parts: Counter[str] = Counter()
        for each in found:
            parts.update(each["profile"])
        print("\nwhere our CPU goes")
        del parts["this profile"]
        for name, seconds in parts.most_common():
            print(f"  {name:<22}{seconds:6.1f} s {seconds / parts.total():6.1%}")


if __name__ == "__main__":
    main()
