"""`hunting.toml`: what it says, and on which line."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hunting_pipeline.errors import Misconfigured

__all__ = ["CONFIG_VARIABLE", "SettingsFile", "settings_file"]

CONFIG_VARIABLE = "HUNTING_CONFIG"
"""Names another file than `hunting.toml` in the current folder."""

_TENANTS = "tenants"


@dataclass(frozen=True)
class SettingsFile:
    """The file as it is; empty where there is none. It may hold secrets: its `repr` shows the path alone."""

    path: Path
    text: str = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)

    @property
    def common(self) -> Mapping[str, Any]:
        """The settings of every tenant."""
        return {name: value for name, value in self.values.items() if name != _TENANTS}

    @property
    def tenants(self) -> Mapping[str, Mapping[str, Any]]:
        """The sections `[tenants.NAME]`, whose settings go over the common ones.

        Raises:
            Misconfigured: `tenants` is something else.
        """
        found = self.values.get(_TENANTS, {})
        if not isinstance(found, dict) or not all(isinstance(section, dict) for section in found.values()):
            raise Misconfigured(f"{self.place(_TENANTS)}: a tenant is a section of its own, [tenants.NAME]")
        return found

    def place(self, *keys: str) -> str:
        """`hunting.toml:3`, where the value under `keys` begins: after the last line that can be read without
        it."""
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
    """Read it.

    Raises:
        Misconfigured: it cannot be read, or is no TOML; says where.
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
        which = f"{CONFIG_VARIABLE} names {path}, which" if named else path
        raise Misconfigured(f"{which} cannot be read ({error.strerror})") from None
