"""A pull in its own process: `python -m benchmarks.support.pulled TABLE GRAIN START END [--profile]`.

START and END are ISO dates. Settings come from `HUNTING_*` variables. The output is JSON: the rows and bytes
pulled, and the time and memory since the imports.
"""

import argparse
import gc
import json
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.peers.measure import memory, spent
from benchmarks.support.sampling import Sampler
from hunting_pipeline.catalog import spec
from hunting_pipeline.decode import decode
from hunting_pipeline.model import Grain, Progress, Step, Window, ticks_of
from hunting_pipeline.pipeline import open_pipeline
from hunting_pipeline.settings import load_settings
from hunting_pipeline.window import partitions_in

FEW = b'{"Schema":[{"Name":"A","Type":"String"}],"Results":[{"A":"a"},{"A":"b"},{"A":"c"}]}'


def main() -> None:
    """Pull, then print the result."""
    decode([FEW], max_bytes=len(FEW))  # modules loaded with the first reply count as imports
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table")
    parser.add_argument("grain", type=Grain)
    parser.add_argument("start", type=datetime.fromisoformat)
    parser.add_argument("end", type=datetime.fromisoformat)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    table = spec(options.table, grain=options.grain)
    asked = Window(*(ticks_of(day.replace(tzinfo=UTC)) for day in (options.start, options.end)))
    seen: list[Progress] = []
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins here
    before, (cpu, wall) = memory("VmRSS"), spent()
    with ExitStack() as stack:
        sampler = stack.enter_context(Sampler()) if options.profile else None
        pipeline = stack.enter_context(open_pipeline(load_settings(), max_wait=600))
        pull = stack.enter_context(pipeline.pull(table, partitions_in(table, asked), observe=seen.append))
        receipts = list(pull)
    ended = spent()
    result = {
        "rows": sum(receipt.proof.rows for receipt in receipts),
        "replies": sum(each.step is Step.FETCHED for each in seen),
        "json_bytes": sum(receipt.body_bytes for receipt in receipts),
        "partitions": len(receipts),
        "cpu": ended[0] - cpu,
        "wall": ended[1] - wall,
        "peak": memory("VmHWM") - before,
        "profile": sampler.seconds if sampler else {},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
