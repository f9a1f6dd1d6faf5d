"""Settings that a resource states in Python. They override the variables and `hunting.toml`."""

from typing import Any

import dagster as dg
from pydantic import Field

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.settings import Settings, load_settings
from hunting_pipeline.settings.lake import is_no_path

__all__ = ["StatedSettings"]


def _stated(name: str) -> Any:
    """Return a field for a setting. Its description is that of the setting."""
    setting = Settings.model_fields[name]
    return Field(None, description=setting.description, repr=name not in _SECRETS)


_SECRETS = frozenset(
    name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)
)
"""The settings that may contain a secret."""


class StatedSettings(dg.Config):
    """All settings as fields. A field that is None is not stated."""

    tenant: str = Field(
        default="",
        description=(
            "Name of the tenant in the settings, such as `contoso`. Empty if the settings name no tenants."
        ),
    )
    tenant_id: str | None = _stated("tenant_id")
    client_id: str | None = _stated("client_id")
    certificate: str | None = _stated("certificate")
    certificate_password: str | None = _stated("certificate_password")
    federated_token: str | None = _stated("federated_token")
    client_secret: str | None = _stated("client_secret")
    lake: str | None = _stated("lake")
    lake_endpoint: str | None = _stated("lake_endpoint")
    lake_region: str | None = _stated("lake_region")
    lake_profile: str | None = _stated("lake_profile")
    lake_path_style: bool | None = _stated("lake_path_style")
    lake_ca_bundle: str | None = _stated("lake_ca_bundle")
    lake_proxy: str | None = _stated("lake_proxy")
    api: str | None = _stated("api")
    cloud: str | None = _stated("cloud")
    api_url: str | None = _stated("api_url")
    login_url: str | None = _stated("login_url")
    scope: str | None = _stated("scope")
    ca_bundle: str | None = _stated("ca_bundle")
    ledger: str | None = _stated("ledger")
    limits: str | None = _stated("limits")
    share: float | None = _stated("share")
    timestamp_unit: str | None = _stated("timestamp_unit")
    automation: str | None = _stated("automation")
    workers: int | None = _stated("workers")
    tables: list[str] | None = _stated("tables")

    def get_resource_definition(self) -> Any:
        """Return Dagster's definition of this resource.

        Raises:
            Misconfigured: a secret is written as a text. Dagster would show it in the UI.
        """
        for name, value in self.stated.items():
            if name in _SECRETS and not _is_variable(value) and not _is_path_of_ledger(name, value):
                raise Misconfigured(
                    f"{name} is a secret, and Dagster shows the texts of a resource in its UI. Nothing was"
                    f' loaded. Write {name}=EnvVar("NAME") with the name of a variable that has the secret'
                )
        return super().get_resource_definition()  # type: ignore[misc] # of the other base class

    @property
    def stated(self) -> dict[str, Any]:
        """The settings that are stated, by name. A value may be an `EnvVar`."""
        found = {name: getattr(self, name) for name in Settings.model_fields}
        return {name: value for name, value in found.items() if value is not None}

    def settings(self) -> Settings:
        """Load the tenant's settings. A variable of an `EnvVar` that is not set states nothing.

        Raises:
            Misconfigured: a setting is wrong.
        """
        known = {
            name: value.get_value() if _is_variable(value) else value for name, value in self.stated.items()
        }
        return load_settings(
            self.tenant, **{name: value for name, value in known.items() if value is not None}
        )


def _is_variable(value: Any) -> bool:
    """Return whether a value is an `EnvVar`, also one of `EnvVar.int`."""
    return isinstance(value, dg.EnvVar) or hasattr(value, "get_value")


def _is_path_of_ledger(name: str, value: str) -> bool:
    return name == "ledger" and not is_no_path(value)
