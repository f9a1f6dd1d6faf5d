"""The code location: the assets of your project, or else the default assets.

Your project is the nearest folder with a project of `dg`, from the working directory upwards. Such a folder
has a `pyproject.toml` with `[tool.dg.project]`, or a `dg.toml` with `[project]`. Only the defs folder of that
project is then loaded. `hunting init` writes a project.

Without a project, the default assets are loaded: all tables that are not deprecated, and examples of hunts.
They are a part of the package. In a checkout of the repository, they are its folder `assets/`.
"""

import os

# Arrow reads this variable when it is first imported. A code location has its own process, so it may set it.
# `hunting_pipeline.pipeline.memory` gives the reason.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

import sys
import tomllib
import warnings
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.orchestration import with_automation

_PACKAGE = Path(__file__).parent
_NAME = "hunting_pipeline.default_assets"

_CONFIG = {"dg.toml": ("project",), "pyproject.toml": ("tool", "dg", "project")}
"""The files that can describe a project, each with the keys of the table that describes it."""


@dg.definitions
def defs() -> dg.Definitions:
    """Load the project, or else the default assets. Nothing is requested before somebody starts it.

    Raises:
        Misconfigured: a file that can describe a project is not valid TOML, or a setting is wrong.
    """
    project = project_of(Path.cwd())
    if project is None:
        return default_defs()
    if str(project) != sys.path[0]:  # Dagster imports the defs folder as a package
        sys.path.insert(0, str(project))
    return _completed(dg.load_from_defs_folder(path_within_project=project))


def default_defs() -> dg.Definitions:
    """Load the default assets in any working directory."""
    inside = _PACKAGE / "default_assets"
    folder = inside if inside.is_dir() else _PACKAGE.parent / "assets"
    tree = dg.ComponentTree.from_module(_imported(folder), folder.parent)
    with warnings.catch_warnings():  # about features of Dagster that `load_from_defs_folder` also uses
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return _completed(tree.build_defs())


def project_of(folder: Path) -> Path | None:
    """Return the nearest folder with a project of `dg`, from `folder` upwards, or None.

    Raises:
        Misconfigured: a file that can describe a project is not valid TOML.
    """
    folders = (folder, *folder.parents)
    return next((each for each in folders if any(_describes(each / name) for name in _CONFIG)), None)


def _describes(file: Path) -> bool:
    if not file.is_file():
        return False
    try:
        found: Any = tomllib.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise Misconfigured(
            f"{file} is not valid TOML: {error}. Nothing was loaded. Correct the file"
        ) from None
    for key in _CONFIG[file.name]:
        found = found.get(key) if isinstance(found, dict) else None
    return isinstance(found, dict)


def _imported(folder: Path) -> ModuleType:
    """Import the folder under one name, for the copy in a wheel and for the folder of a checkout."""
    if _NAME not in sys.modules:
        found = spec_from_file_location(
            _NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert found is not None and found.loader is not None  # noqa: S101, PT018 # a Python file has both
        sys.modules[_NAME] = module_from_spec(found)
        found.loader.exec_module(sys.modules[_NAME])
    return sys.modules[_NAME]


def _completed(tables: dg.Definitions) -> dg.Definitions:
    return dg.Definitions.merge(with_automation(tables), dg.Definitions(executor=dg.in_process_executor))
