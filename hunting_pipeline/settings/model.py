"""Every setting, with its default and what it must be."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from platformdirs import user_state_path
from pydantic import Field, PrivateAttr, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.limits import PROFILES, Limits
from hunting_pipeline.settings.file import settings_file

__all__ = ["PREFIX", "Settings", "variable"]

PREFIX = "HUNTING_"

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

_NO_TENANT = """no tenant is configured, so nothing was asked. Either
  set HUNTING_TENANT_ID, HUNTING_CLIENT_ID and HUNTING_CLIENT_SECRET (or HUNTING_CERTIFICATE),
  or try the project without a tenant: `make ui` (Dagster) and `make demo` start an emulated one."""


def variable(setting: str, tenant: str = "") -> str:
    """The environment variable of a setting; of one of several tenants, by its name."""
    owner = f"TENANTS__{tenant.upper()}__" if tenant else ""
    return f"{PREFIX}{owner}{setting.upper()}"


class Settings(BaseSettings):
    """Everything a run needs to know. Frozen; secrets never show in its `repr`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    tenant_id: str | None = Field(None, description="Entra tenant id (GUID); a lake belongs to one")
    client_id: str | None = Field(None, description="application (client) id of the app registration")
    client_secret: SecretStr | None = Field(None, description="its client secret")
    certificate: Path | None = Field(
        None, description="PEM file with the app's certificate and private key, instead of a secret"
    )
    certificate_password: SecretStr | None = Field(None, description="of the private key, if it has one")
    federated_token: Path | None = Field(
        None,
        description="file with a workload identity's token, instead of a secret (read anew at each sign-in)",
    )
    api: Literal["graph", "xdr", "endpoint"] = Field("graph", description="which API is asked")
    cloud: str = Field("global", description="`global`, `gcc`, `gcc-high`, `dod`, or a region such as `eu`")
    api_url: str | None = Field(
        None, description="another host than the surface's, for a proxy or the emulator"
    )
    login_url: str | None = Field(None, description="another login host than the cloud's")
    scope: str | None = Field(None, description="another token scope than the surface's")
    ca_bundle: Path | None = Field(
        None, description="PEM file of the authorities to trust, instead of the system's"
    )
    lake: Path = Field(Path("lake"), description="folder of the lake")
    ledger: str = Field(
        default_factory=lambda: str(user_state_path("hunting-pipeline") / "quota.sqlite"),
        description="file (or `postgresql://` URL) that shares the tenant's quota between processes",
    )
    limits: str = Field("", description="limits profile; the surface's own if empty")
    share: float = Field(0.8, gt=0, le=1, description="part of the tenant's quota this project may spend")
    workers: int = Field(4, ge=1, le=32, description="calls in flight at once")
    tables: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="tables that commands mean by default, separated by commas; all current ones if empty"
    )

    @field_validator("tables", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return (
            tuple(name.strip() for name in value.split(",") if name.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("lake", mode="before")
    @classmethod
    def _no_url(cls, value: object) -> object:
        """As it is written: a `Path` has one slash where a URL has two."""
        if isinstance(value, str) and _URL.match(value):
            raise ValueError("a lake is a local folder, or a mounted one, and no URL")
        return value

    @field_validator("lake")
    @classmethod
    def _from_home(cls, value: Path) -> Path:
        try:
            return value.expanduser()
        except RuntimeError as error:
            raise ValueError(f"the home that {value} begins with is not known") from error

    @field_validator("limits")
    @classmethod
    def _profile(cls, value: str) -> str:
        if value and value not in PROFILES:
            raise ValueError(f"no limits profile is called {value!r}; there are {', '.join(PROFILES)}")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables first, then the file; no .env, no secrets folder."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, InitSettingsSource(settings_cls, dict(settings_file().common))

    _name: str = PrivateAttr("")

    def named(self, name: str) -> Self:
        """The same, as those of one of several tenants: messages then name its own variables."""
        copy = self.model_copy()
        copy._name = name
        return copy

    @property
    def name(self) -> str:
        """The name of one of several tenants; "" if only one is configured."""
        return self._name

    @property
    def limits_profile(self) -> Limits:
        """The named profile, or that of the surface."""
        return PROFILES[self.limits or self.api]

    def tenant(self) -> str:
        """The tenant's id.

        Raises:
            Misconfigured: tenant, application or credential is missing; says how to set them.
        """
        if self.tenant_id is None and self.client_id is None:
            raise Misconfigured(_NO_TENANT)
        missing = [
            variable(name, self._name) for name in ("tenant_id", "client_id") if getattr(self, name) is None
        ]
        if self.client_secret is None and self.certificate is None and self.federated_token is None:
            secret, certificate, token = (
                variable(name, self._name) for name in ("client_secret", "certificate", "federated_token")
            )
            missing.append(f"{secret}, {certificate} or {token}")
        if missing or self.tenant_id is None:
            raise Misconfigured(f"set {', '.join(missing)}: a tenant is only half configured")
        return self.tenant_id
