"""Put the names of environment variables into messages, just before a user reads an error."""

from collections.abc import Iterator
from contextlib import contextmanager

from hunting_pipeline.errors import HuntingError, setting
from hunting_pipeline.settings.model import Settings, variable

__all__ = ["name_settings", "naming"]


def name_settings(error: HuntingError, settings: Settings | None = None) -> None:
    """Replace the marks of `errors.setting` in an error and its notes by environment variables.

    If `settings` belong to one of several tenants, the variables are those of this tenant. A mark that does
    not name a setting is kept.
    """
    tenant = settings.name if settings else ""
    error.name_settings(
        lambda name: variable(name, tenant) if name in Settings.model_fields else setting(name)
    )


@contextmanager
def naming(settings: Settings) -> Iterator[None]:
    """Put the names of variables into every error of this package that the `with` block raises.

    Raises:
        HuntingError: the same error, see `name_settings`.
    """
    try:
        yield
    except HuntingError as error:
        name_settings(error, settings)
        raise
