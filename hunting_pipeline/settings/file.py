"""The file `hunting.toml`: its values, and the line of each value."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hunting_pipeline.errors import Misconfigured

__all__ = ["CONFIG_VARIABLE", "PREFIX", "SettingsFile", "settings_file"]

PREFIX = "HUNTING_"
"""Start of every environment variable of this project."""

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
"""The variable with the path of the file, if it is not `hunting.toml` in the current folder."""

_TENANTS = "tenants"


@dataclass(frozen=True)
class SettingsFile:
    """The content of the file; empty if the file is absent. `repr` shows only the path, to hide secrets."""

    path: Path
    text: str = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)

    @property
    def common(self) -> Mapping[str, Any]:
        """The settings that all tenants share."""
        return {name: value for name, value in self.values.items() if name != _TENANTS}

    @property
    def tenants(self) -> Mapping[str, Mapping[str, Any]]:
        """The sections `[tenants.NAME]`. Their settings override the common settings.

        Raises:
            Misconfigured: `tenants` does not consist of sections.
        """
        found = self.values.get(_TENANTS, {})
        if not isinstance(found, dict) or not all(isinstance(section, dict) for section in found.values()):
            raise Misconfigured(f"{self.place(_TENANTS)}: write each tenant as a section [tenants.NAME]")
        return found

    def place(self, *keys: str) -> str:
        """Return the line where the value under `keys` begins, such as `hunting.toml:3`.

        The method parses ever more lines. The value begins after the last lines that parse without the value.
        """
        lines = self.text.splitlines()
        before = 0
        for count in range(1, len(lines) + 1):
            try:
                found: Any = tomllib.loads("\n".join(lines[:count]))
            except tomllib.TOMLDecodeError:
                continue  # in the middle of a value
            for key in keys:
                found = found.get(key) if isinstance(found, dict) else None
            if found is not None:
                return f"{self.path}:{before + 1}"
            before = count
        return str(self.path)


def settings_file() -> SettingsFile:
    """Read the file.

    Raises:
        Misconfigured: the file cannot be read or is not TOML. The message names the file and the line.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    path = Path(named or "hunting.toml")
    try:
        text = path.read_text("utf-8")
        return SettingsFile(path, text, tomllib.loads(text))
    except ValueError as error:
        raise Misconfigured(f"{path} cannot be read: {error}") from None
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not named:
            return SettingsFile(path, "", {})
        which = f"{path} (named by {CONFIG_VARIABLE})" if named else path
        raise Misconfigured(f"{which} cannot be read: {error.strerror}") from None
