"""The names of settings in messages: the last step before a person reads an error."""

from collections.abc import Iterator
from contextlib import contextmanager

from hunting_pipeline.errors import HuntingError, setting
from hunting_pipeline.settings.model import Settings, variable

__all__ = ["name_settings", "naming"]


def name_settings(error: HuntingError, settings: Settings | None = None) -> None:
    """Replace the marks of `errors.setting` in an error and its notes by environment variables.

    With `settings` of one of several tenants, the variables are those of that tenant. A mark that names no
    setting is kept.
    """
    tenant = settings.name if settings else ""
    error.name_settings(
        lambda name: variable(name, tenant) if name in Settings.model_fields else setting(name)
    )


@contextmanager
def naming(settings: Settings) -> Iterator[None]:
    """Name the variables of `settings` in every error of the package that leaves the context.

    Raises:
        HuntingError: the same error, see `name_settings`.
    """
    try:
        yield
    except HuntingError as error:
        name_settings(error, settings)
        raise
