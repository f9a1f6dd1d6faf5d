"""The code location: everything in the defs folder `assets/`, which a team edits."""

import sys
from pathlib import Path

import dagster as dg

from hunting_pipeline.orchestration import with_automation

_BESIDE = Path(__file__).parents[1]
_PROJECT = _BESIDE if (_BESIDE / "assets").is_dir() else Path.cwd()
"""The checkout that holds this package. For an installed package, the folder where Dagster was started."""


@dg.definitions
def defs() -> dg.Definitions:
    """Load the defs folder. Sensors start stopped if the settings name no tenant: their runs would fail."""
    if str(_PROJECT) not in sys.path:  # Dagster imports the defs folder as a package
        sys.path.append(str(_PROJECT))
    tables = dg.load_from_defs_folder(path_within_project=_PROJECT)
    return dg.Definitions.merge(with_automation(tables), dg.Definitions(executor=dg.in_process_executor))
