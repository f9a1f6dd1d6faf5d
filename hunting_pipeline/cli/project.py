"""The files of a new project, which `hunting init` writes. Dagster and `dg` load them without changes."""

from collections.abc import Mapping
from datetime import date
from textwrap import wrap

from pydantic import SecretStr

from hunting_pipeline.settings.model import Settings, variable

__all__ = ["CONFLICTS", "project_files"]

CONFLICTS = ("dg.toml",)
"""Files that would change the meaning of the project's own files."""

_PYPROJECT = """\
# Dagster's command `dg` and `hunting_pipeline.definitions` find the project by this file.
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "assets"
defs_module = "assets"
code_location_target_module = "hunting_pipeline.definitions"
code_location_name = "hunting_pipeline"
"""

_WORKSPACE = """\
# `dagster dev -w workspace.yaml` loads this code location. Start it in this folder.
load_from:
  - python_module:
      module_name: hunting_pipeline.definitions
      location_name: hunting_pipeline
      working_directory: .
"""

_PACKAGE = '"""The defs folder: each folder with a `defs.yaml` is one component."""\n'

_TABLES = """\
# Each table becomes one partitioned asset. `hunting tables` lists all tables.
type: hunting_pipeline.orchestration.HuntingTables
attributes:
  # The first day of the archive. On the day of `hunting init`, the service still had rows of this day.
  start: "{start}"
  tables:
    - name: AlertInfo
    - name: AlertEvidence
    - name: EmailEvents
    - name: DeviceProcessEvents
      # grain: hour # shorter partitions, for very large tables
      # columns: [DeviceId, FileName, ProcessCommandLine] # the default is all columns
      # where: ActionType == "ProcessCreated" # the default is all rows
"""

_SETTINGS = """\
# Settings. To set one, remove the `#` before its name and write its value. A variable of the environment
# overrides this file: HUNTING_LAKE overrides `lake`. Set what can contain a password only as a variable:
"""

_SECRETS = (SecretStr, SecretStr | None)


def project_files(start: date) -> Mapping[str, str]:
    """Return the content of each file by its path in the project.

    Args:
        start: the first day of the archive.
    """
    return {
        "pyproject.toml": _PYPROJECT,
        "workspace.yaml": _WORKSPACE,
        "hunting.toml": _settings(),
        "assets/__init__.py": _PACKAGE,
        "assets/tables/defs.yaml": _TABLES.format(start=start),
    }


def _settings() -> str:
    """Return all settings as comments. For a setting that can contain a password, name only its variable."""
    fields = Settings.model_fields.items()
    secrets = [variable(name) for name, field in fields if field.annotation in _SECRETS]
    lines = [_SETTINGS, *(f"{line}\n" for line in _comment("# ", ", ".join(secrets)))]
    for name, field in fields:
        if field.annotation not in _SECRETS:
            description = "\n".join(_comment("## ", str(field.description)))
            lines.append(f"\n{description}\n# {name} = {_toml(field.get_default(), field.annotation)}\n")
    return "".join(lines)


def _comment(mark: str, text: str) -> list[str]:
    return wrap(text, 110, initial_indent=mark, subsequent_indent=mark)


def _toml(default: object, kind: object) -> str:
    """Return a default as TOML. If there is no default, the value is an ellipsis, which you replace."""
    if default is None:
        return "true" if kind == bool | None else '"…"'
    return str(default) if isinstance(default, int | float) else f'"{default or ""}"'
