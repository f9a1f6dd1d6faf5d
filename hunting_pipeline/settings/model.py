"""All settings, with their defaults and accepted values."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from platformdirs import user_state_path
from pydantic import Field, PrivateAttr, SecretStr, create_model, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from hunting_pipeline.apis import APIS
from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.auth import CREDENTIALS, choose, missing
from hunting_pipeline.auth.credential import Credential
from hunting_pipeline.errors import Misconfigured, setting
from hunting_pipeline.limits import PROFILES, Limits
from hunting_pipeline.model import TableSpec, TimestampUnit
from hunting_pipeline.redaction import hold, hold_url
from hunting_pipeline.settings.file import PREFIX, settings_file
from hunting_pipeline.settings.lake import LakeSettings, is_no_path

__all__ = ["Settings", "variable"]

_OFFERED = tuple(cloud for cloud in Cloud if any(cloud in api.hosts for api in APIS.values()))
"""The clouds with at least one API. `apis.connection` refuses other clouds."""

_HOST = r"(\[[^]@/?#]*\]|[^@/?#:,[]*)(:\d*)?"
_LEDGER_URL = re.compile(
    rf"sqlite:///.*|postgres(ql)?://([^@/?#]*@)?{_HOST}(,{_HOST})*(/[^@?#]*)?(\?.*)?", re.DOTALL
)
"""The accepted URLs of a ledger. A user or a password must encode the characters `@/?#`."""


_IDENTITY = ("tenant_id", "client_id", "api", "cloud", "api_url", "login_url", "scope", "ca_bundle")
"""The settings that decide, with the credential, whether the tenant accepts the app."""


def variable(name: str, tenant: str = "") -> str:
    """Return the environment variable of a setting. With `tenant`, return the variable of that tenant."""
    owner = f"TENANTS__{tenant.upper()}__" if tenant else ""
    return f"{PREFIX}{owner}{name.upper()}"


_Model = TypeVar("_Model", bound=BaseSettings)


def _with_credentials(settings: type[_Model]) -> type[_Model]:
    """Add the settings of every credential to a class. All of them are optional."""
    fields: dict[str, Any] = {}
    for credential in CREDENTIALS:
        for name, field in credential.model_fields.items():
            annotation: Any = field.annotation
            fields[name] = (annotation | None, Field(None, description=field.description))
    return create_model(settings.__name__, __base__=settings, __module__=settings.__module__, **fields)


@_with_credentials
class _AppRegistration(BaseSettings):
    """The identity of the app: the settings below and the settings of the credentials in `auth`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    tenant_id: str | None = Field(None, description="Entra tenant id (GUID); a lake belongs to one tenant")
    client_id: str | None = Field(None, description="application (client) id of the app registration")


class Settings(LakeSettings, _AppRegistration):
    """All settings. The object is frozen, and its `repr` shows no secret."""

    api: str = Field(next(iter(APIS)), description=f"hunting API: {', '.join(f'`{name}`' for name in APIS)}")
    cloud: Cloud = Field(
        Cloud.GLOBAL,
        description=f"cloud or region of the tenant: {', '.join(f'`{name}`' for name in _OFFERED)}",
    )
    api_url: str | None = Field(
        None, description="root URL that replaces the API's host, for a proxy or the emulator"
    )
    login_url: str | None = Field(None, description="root URL that replaces the cloud's login host")
    scope: str | None = Field(None, description="OAuth scope that replaces the scope of the API")
    ca_bundle: Path | None = Field(
        None, description="PEM file of the only authorities to trust, instead of those of the system"
    )
    ledger: SecretStr = Field(
        default_factory=lambda: SecretStr(str(user_state_path("hunting-pipeline") / "quota.sqlite")),
        description="file (or `postgresql://` URL) that shares the tenant's quota between processes",
    )
    limits: str = Field("", description="limits profile; if empty, the profile of the API")
    share: float = Field(
        0.8, gt=0, le=1, description="part of the tenant's quota that this project may spend"
    )
    timestamp_unit: TimestampUnit | None = Field(
        None,
        description=(
            "unit of times in the lake: `ns`, or `us` with exact ticks beside it;"
            " if empty, the unit of the archive, and `ns` for a new table"
        ),
    )
    automation: Literal["off", "on"] = Field(
        "off",
        description=(
            "`on` starts the sensors and schedules of Dagster, which request new and missing partitions;"
            " with `off`, a person starts them in the UI"
        ),
    )
    workers: int = Field(4, ge=1, le=32, description="number of simultaneous calls")
    tables: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="default tables of commands, separated by commas; if empty, all tables not deprecated"
    )

    @field_validator("tables", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(name.strip() for name in value.split(",") if name.strip())

    @field_validator("ledger")
    @classmethod
    def _check_ledger(cls, value: SecretStr) -> SecretStr:
        """Refuse a URL with a mistake without showing it, because it may contain a password."""
        url = value.get_secret_value()
        if is_no_path(url) and not _LEDGER_URL.fullmatch(url):
            raise ValueError(
                "the ledger must be a path, or a URL that begins with sqlite:/// or postgresql://."
                " Write the characters @ / ? # of a user or a password as %40 %2F %3F %23"
            )
        return value

    @field_validator("api")
    @classmethod
    def _check_api(cls, value: str) -> str:
        if value not in APIS:
            raise ValueError(f"there is no API {value!r}; choose one of {', '.join(APIS)}")
        return value

    @field_validator("limits")
    @classmethod
    def _check_limits(cls, value: str) -> str:
        if value and value not in PROFILES:
            raise ValueError(f"there is no limits profile {value!r}; choose one of {', '.join(PROFILES)}")
        return value

    @model_validator(mode="after")
    def _hold_secrets(self) -> Self:
        """Hold the secrets, so they never appear in a message that quotes the service or a proxy."""
        hold(
            *(
                value.get_secret_value()
                for name, value in self
                if isinstance(value, SecretStr) and name not in ("ledger", "lake_proxy")
            )
        )
        hold_url(self.ledger.get_secret_value())
        if self.lake_proxy is not None:
            hold_url(self.lake_proxy.get_secret_value())
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources. Variables override the file. `.env` and folders of secrets are not read."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, InitSettingsSource(settings_cls, dict(settings_file().common))

    _name: str = PrivateAttr("")

    def named(self, tenant: str) -> Self:
        """Return a copy for one of several tenants. Its messages name the variables of this tenant."""
        copy = self.model_copy()
        copy._name = tenant
        return copy

    @property
    def name(self) -> str:
        """The name of the tenant; "" if only one tenant is configured."""
        return self._name

    def completed(self, spec: TableSpec) -> TableSpec:
        """Return a table or a hunt with the unit of times of the settings, if it has none of its own."""
        return replace(spec, timestamp_unit=spec.timestamp_unit or self.timestamp_unit)

    @property
    def limits_profile(self) -> Limits:
        """The profile that the setting `limits` names, or else the profile of the API."""
        return PROFILES[self.limits] if self.limits else APIS[self.api].limits

    @property
    def retirement(self) -> str:
        """A warning that Microsoft ends the API, with the date and the next steps; "" if it does not."""
        api, successor = APIS[self.api], next(iter(APIS.values()))
        if api.ends is None:
            return ""
        name = variable("api", self.name)
        return (
            f"Microsoft ends the API of {api.title} on {api.ends} (message MC1220762). Before that day, grant"
            f" the app {successor.application_permission} of {successor.title} with admin consent. Then set"
            f" {name} to {successor.name}. The archive stays as it is."
        )

    @property
    def credential(self) -> Credential:
        """The credential that signs in.

        Raises:
            Misconfigured: no credential is complete.
        """
        return choose(dict(self))

    @property
    def identity(self) -> str:
        """A digest of the settings that sign in. It changes when one of them changes, and reveals no secret.

        Raises:
            Misconfigured: no credential is complete.
        """
        asked = {name: getattr(self, name) for name in _IDENTITY} | dict(self.credential)
        plain = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in asked.items()
        }
        text = json.dumps(plain, sort_keys=True).encode()
        return hashlib.scrypt(text, salt=b"hunting-pipeline identity", n=4096, r=8, p=1, dklen=16).hex()

    def known_tenant(self) -> str:
        """Return the tenant's id, also if the app or its credential is not set.

        Raises:
            Misconfigured: the id is not set.
        """
        if self.tenant_id is None:
            error = Misconfigured(f"no tenant is configured, so nothing was read. Set {setting('tenant_id')}")
            error.name_settings(lambda name: variable(name, self.name))
            raise error
        return self.tenant_id

    def tenant(self) -> str:
        """Return the tenant's id, for a program that signs in.

        Raises:
            Misconfigured: the tenant, the application or the credential is not set. The message names the
                settings.
        """
        unset = [setting(name) for name in ("tenant_id", "client_id") if getattr(self, name) is None]
        if need := missing(dict(self)):
            unset.append(need)
        if self.tenant_id is not None and not unset:
            return self.tenant_id
        if self.tenant_id is None and self.client_id is None:
            error = Misconfigured(
                "no tenant is configured, so nothing was requested."
                f"\n  Set {setting('tenant_id')}, {setting('client_id')} and a credential ({missing({})}),"
                "\n  or try the project without a tenant: `hunting demo` starts an emulated one."
            )
        else:
            error = Misconfigured(f"the tenant is only partly configured: set {', '.join(unset)}")
        error.name_settings(lambda name: variable(name, self.name))
        raise error
