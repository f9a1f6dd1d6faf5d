"""A client secret of the app registration."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from pydantic import Field, SecretStr

from hunting_pipeline.auth.credential import Credential
from hunting_pipeline.errors import Misconfigured, setting

__all__ = ["CREDENTIAL", "ClientSecret"]


class ClientSecret(Credential):
    """A secret that Entra generated for the app."""

    title: ClassVar = "client secret"
    advice: ClassVar[Mapping[int, str]] = MappingProxyType(
        {
            7000215: f"{setting('client_secret')} is wrong: it must be the secret's Value, not its Secret ID",
            7000222: f"{setting('client_secret')} has expired: create a new secret",
        }
    )

    client_secret: SecretStr = Field(description="client secret of the app: its Value, not its Secret ID")

    def msal_form(self) -> object:
        secret = self.client_secret.get_secret_value()
        if not secret.strip():
            raise Misconfigured(f"{setting('client_secret')} is empty: set it to the secret's Value")
        return secret


CREDENTIAL = ClientSecret
