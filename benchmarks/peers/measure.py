"""The measurement of one job in one process. Uses the standard library only: any environment runs it."""

import gc
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

Lap = Callable[[str], None]


def spent() -> tuple[float, float]:
    """Return the CPU seconds of this process and its ended children, and wall seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used), time.perf_counter()


def memory(line: str) -> int:
    """Return `VmRSS` (now) or `VmHWM` (peak) of this process, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split(f"{line}:")[1].split()[0])


def run(work: Callable[[Path, Path, Lap], int]) -> None:
    """Run `work(body, out, lap)` and print its time and memory, as JSON.

    The command line names the gzipped body, the file to write, and a body of a few rows. The few rows come
    first and do not count, so late imports and starts are no part of the work. `work` returns its number of
    rows; `lap(name)` records the time so far.
    """
    body, out, few = map(Path, sys.argv[1:])
    work(few, out.with_name("warm"), lambda _: None)
    laps: dict[str, tuple[float, float]] = {}
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins here
    before, (cpu, wall) = memory("VmRSS"), spent()

    def lap(name: str) -> None:
        now = spent()
        laps[name] = now[0] - cpu, now[1] - wall

    rows = work(body, out, lap)
    lap("whole")
    peak = memory("VmHWM") - before
    sys.stdout.write(json.dumps({"rows": rows, "laps": laps, "peak": peak}) + "\n")
