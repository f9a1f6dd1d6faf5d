"""Materialize partitions of the default assets in this process. `hunting demo` runs this module.

    python -m hunting_pipeline.materialize FIRST LAST TABLE [TABLE ...]

FIRST and LAST are partition keys, both included. Dagster's log goes to standard error. Standard output gets
one JSON document with the cost of each table. The exit code is 1 if the run failed.
"""

import json
import sys
from collections import defaultdict

import dagster as dg

from hunting_pipeline.definitions import default_defs
from hunting_pipeline.orchestration import materialize_range
from hunting_pipeline.orchestration.keys import CALLS, QUOTA_SECONDS, SECONDS_WAITED

__all__ = ["main"]

_SPENT = (CALLS, QUOTA_SECONDS, SECONDS_WAITED)


def main(first: str, last: str, *tables: str) -> int:
    """Run, print the cost, and return the exit code."""
    definitions = default_defs()
    spent: dict[str, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_SPENT, 0.0))
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialize_range(definitions, tables, first=first, last=last, instance=instance)
    for event in result.get_asset_materialization_events():
        materialization = event.step_materialization_data.materialization
        for name in _SPENT:
            if name in materialization.metadata:
                table = materialization.asset_key.path[-1]
                spent[table][name] += float(str(materialization.metadata[name].value))
    sys.stdout.write(json.dumps(spent) + "\n")
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
