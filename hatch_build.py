"""A hook of the build: it puts the files of `assets/` into the wheel, as `hunting_pipeline/default_assets`.

The hook chooses files by their kind, so a secret in `assets/` never gets into a wheel. An editable
installation gets no copy, because it uses `assets/` itself.
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_KINDS = frozenset({".kql", ".py", ".yaml"})


class DefaultAssets(BuildHookInterface):
    """The hook that hatchling runs before it builds a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add each file of the default assets to the wheel."""
        if version == "editable":
            return
        folder = Path(self.root, "assets")
        for path in sorted(folder.rglob("*")):
            if path.suffix in _KINDS:
                build_data["force_include"][str(path)] = (
                    f"hunting_pipeline/default_assets/{path.relative_to(folder).as_posix()}"
                )
