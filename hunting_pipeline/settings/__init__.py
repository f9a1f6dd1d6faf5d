"""The settings: `HUNTING_*` variables override `hunting.toml`, which overrides the defaults."""

from hunting_pipeline.settings.file import CONFIG_VARIABLE
from hunting_pipeline.settings.load import TENANT_VARIABLE, load_settings, tenant_names
from hunting_pipeline.settings.model import Settings
from hunting_pipeline.settings.naming import name_settings, naming

__all__ = [
    "CONFIG_VARIABLE",
    "TENANT_VARIABLE",
    "Settings",
    "load_settings",
    "name_settings",
    "naming",
    "tenant_names",
]
