"""The code location: everything in the defs folder `assets/`, which is what a team edits."""

import os

# A code location has its own process, so it chooses the allocator of Arrow, before Arrow is first imported.
# `hunting_pipeline.pipeline.memory` says why.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

import sys
from pathlib import Path

import dagster as dg

from hunting_pipeline.orchestration import kept_up

_BESIDE = Path(__file__).parents[1]
_PROJECT = _BESIDE if (_BESIDE / "assets").is_dir() else Path.cwd()
"""The checkout this package lies in; of an installed package, the project it is used from."""


@dg.definitions
def defs() -> dg.Definitions:
    """Load the folder. Without a tenant the automation starts switched off: its runs could only fail."""
    if str(_PROJECT) not in sys.path:  # Dagster imports the folder as a package, from wherever it was started
        sys.path.append(str(_PROJECT))
    tables = dg.load_from_defs_folder(path_within_project=_PROJECT)
    return dg.Definitions.merge(kept_up(tables), dg.Definitions(executor=dg.in_process_executor))
