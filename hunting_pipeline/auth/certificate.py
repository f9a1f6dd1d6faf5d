"""A certificate of the app registration, from a PEM or a PKCS #12 file."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from pydantic import Field, SecretStr

from hunting_pipeline.auth.credential import Credential, read_file
from hunting_pipeline.errors import setting

__all__ = ["CREDENTIAL", "Certificate"]


class Certificate(Credential):
    """A file with the app's RSA key, its certificate and intermediates: PEM, or PKCS #12 (`.pfx`, `.p12`)."""

    title: ClassVar = "certificate"
    advice: ClassVar[Mapping[int, str]] = MappingProxyType(
        {
            700027: f"{setting('certificate')} is not registered with the app, or has expired: replace it",
            50012: f"Entra did not accept {setting('certificate')}: register the certificate with the app",
            1000502: f"{setting('certificate')} has expired, or is not valid yet: register a new one",
            7000213: (
                f"{setting('certificate')} must also hold the intermediate certificates"
                " of the authority that the app trusts: add them to the file"
            ),
        }
    )

    certificate: Path = Field(
        description="PEM or PFX file with the app's private key, its certificate and any intermediates"
    )
    certificate_password: SecretStr | None = Field(
        None, description="password of the private key, if it has one"
    )

    def msal_form(self) -> object:
        # imported here, because the settings import this file and most commands never sign in
        from hunting_pipeline.auth.signing_key import signing_key  # noqa: PLC0415

        password = self.certificate_password
        return signing_key(
            read_file(self.certificate, name="certificate"),
            named=f"{setting('certificate')} {self.certificate}",
            password=password.get_secret_value() if password else None,
        )


CREDENTIAL = Certificate
