"""The code location: it loads the defs folder `assets/`, which you edit."""

import os

# Arrow reads this variable when it is first imported. A code location has its own process, so it may set it.
# `hunting_pipeline.pipeline.memory` gives the reason.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

import sys
from pathlib import Path

import dagster as dg

from hunting_pipeline.orchestration import with_automation

_BESIDE = Path(__file__).parents[1]
_PROJECT = _BESIDE if (_BESIDE / "assets").is_dir() else Path.cwd()
"""The checkout that contains this package. For an installed package, the folder where Dagster was started."""


@dg.definitions
def defs() -> dg.Definitions:
    """Load the defs folder. If the settings have no credentials, the sensors are stopped by default."""
    if str(_PROJECT) not in sys.path:  # Dagster imports the defs folder as a package
        sys.path.append(str(_PROJECT))
    tables = dg.load_from_defs_folder(path_within_project=_PROJECT)
    return dg.Definitions.merge(with_automation(tables), dg.Definitions(executor=dg.in_process_executor))
