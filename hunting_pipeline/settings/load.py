"""Load the settings of the only tenant, or of one of several tenants.

The settings of a tenant override the common settings.
"""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.settings.file import CONFIG_VARIABLE, PREFIX, SettingsFile, settings_file
from hunting_pipeline.settings.lake import lake_below
from hunting_pipeline.settings.model import Settings, variable

__all__ = ["TENANT_VARIABLE", "load_settings", "tenant_names"]

TENANT_VARIABLE = f"{PREFIX}TENANT"
"""The variable with the name of the tenant that a command uses, if several tenants are configured."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
"""The form of a tenant's name, which is used in folders, asset keys and variables. A double underscore is not
allowed, because it separates the parts of a variable."""


def tenant_names() -> tuple[str, ...]:
    """Return the names of the tenants in the file, sorted; none if only one tenant is configured.

    Raises:
        Misconfigured: the file cannot be read, or a name is not valid.
    """
    return tuple(sorted(_sections(settings_file())))


def load_settings(tenant: str = "", **changes: Any) -> Settings:
    """Read the settings.

    Args:
        tenant: name of one of several tenants; "" if the file has no tenants. By default, the tenant's lake
            is the folder with the tenant's name in the common lake.
        changes: settings that override the variables and the file.

    Raises:
        Misconfigured: a value is wrong, a setting is unknown, or the file has no tenant with this name. The
            message names each wrong value with its line in the file, and the accepted values.
    """
    file = settings_file()
    sections = _sections(file)
    _refuse_unknown(os.environ, sections)
    if tenant not in (sections or [""]):
        raise _no_such(tenant, sections, file)
    if not tenant:
        return _read(file, "", {}, changes)
    common = _read(file, "", {}, {})
    if common.tenant_id is not None:
        raise Misconfigured(
            f"{_where('tenant_id', '', file)}: several tenants are configured ({', '.join(sections)})."
            " Set tenant_id in the section of each tenant instead"
        )
    return _read(file, tenant, {"lake": lake_below(common.lake, tenant), **sections[tenant]}, changes)


def _read(file: SettingsFile, tenant: str, own: Mapping[str, Any], changes: Mapping[str, Any]) -> Settings:
    def where(name: str) -> str:
        return name if name in changes else _where(name, tenant, file)

    try:
        return Settings(**{**own, **changes}).named(tenant)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        lines = [f"{where(str(one['loc'][0]))}: {_explained(one['msg'])}" for one in problems]
        raise Misconfigured("; ".join(lines)) from None


def _explained(message: str) -> str:
    unknown = "Extra inputs are not permitted"
    if message == unknown:
        return f"no such setting; choose one of {', '.join(Settings.model_fields)}"
    return message.removeprefix("Value error, ")


def _where(name: str, tenant: str, file: SettingsFile) -> str:
    """Return the source of a setting: the variable, or the line of the file."""
    for owner, section, keys in (
        (tenant, file.tenants.get(tenant, {}), ("tenants", tenant, name)),
        ("", file.common, (name,)),
    ):
        if os.environ.get(variable(name, owner)):
            return variable(name, owner)
        if name in section:
            return f"{file.place(*keys)}: {name}"
    return variable(name, tenant)


def _sections(file: SettingsFile) -> dict[str, dict[str, Any]]:
    """Return each tenant's own settings. Its variables override its section."""
    found = {}
    for name, section in file.tenants.items():
        if not _NAME.fullmatch(name):
            raise Misconfigured(
                f"{file.place('tenants', name)}: {name!r} is not a valid name of a tenant."
                " Use lower-case letters, digits and single underscores. Begin with a letter"
            )
        found[name] = dict(section) | _variables_of(name)
    _refuse_same_id(file, found)
    return found


def _variables_of(tenant: str) -> dict[str, str]:
    prefix = variable("", tenant)
    own = {name.removeprefix(prefix): value for name, value in os.environ.items() if name.startswith(prefix)}
    return {name.lower(): value for name, value in own.items() if value}


def _refuse_same_id(file: SettingsFile, sections: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse two names with the same tenant id, because the same rows would be archived in two lakes."""
    seen: dict[str, str] = {}
    for name, section in sections.items():
        tenant_id = str(section.get("tenant_id", name)).lower()
        if tenant_id in seen:
            raise Misconfigured(
                f"{_where('tenant_id', name, file)}: tenants {seen[tenant_id]} and {name} have the same id"
            )
        seen[tenant_id] = name


def _no_such(tenant: str, sections: Iterable[str], file: SettingsFile) -> Misconfigured:
    names = ", ".join(sections)
    if not names:
        return Misconfigured(f"there is no tenant {tenant!r}: {file.path} has no section [tenants.{tenant}]")
    if tenant:
        return Misconfigured(f"there is no tenant {tenant!r}; {file.path} has {names}")
    return Misconfigured(
        f"{file.path} has several tenants. Choose one by --tenant or {TENANT_VARIABLE}: {names}"
    )


def _refuse_unknown(names: Iterable[str], tenants: Iterable[str]) -> None:
    known = [variable(field, tenant) for tenant in ("", *tenants) for field in Settings.model_fields]
    for name in names:
        if name.startswith(PREFIX) and name not in (CONFIG_VARIABLE, TENANT_VARIABLE, *known):
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; choose one of {', '.join(known)}"
            raise Misconfigured(f"there is no setting {name}{hint}")
