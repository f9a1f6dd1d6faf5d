"""The settings: `HUNTING_*` variables override `hunting.toml`, which overrides the defaults."""

from hunting_pipeline.settings.file import CONFIG_VARIABLE
from hunting_pipeline.settings.load import TENANT_VARIABLE, load_settings, tenant_names
from hunting_pipeline.settings.model import Settings

__all__ = ["CONFIG_VARIABLE", "TENANT_VARIABLE", "Settings", "load_settings", "tenant_names"]
