"""A certificate of the app registration, from a PEM or a PKCS #12 file."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from pydantic import Field, SecretStr

from hunting_pipeline.auth.credential import Credential, read_file
from hunting_pipeline.errors import Misconfigured, setting
from hunting_pipeline.http.verdict import printable
from hunting_pipeline.redaction import hold_private_keys

__all__ = ["CREDENTIAL", "Certificate"]


class Certificate(Credential):
    """A file with the app's RSA key and certificate: PEM with both, or PKCS #12 (`.pfx`, `.p12`)."""

    title: ClassVar = "certificate"
    advice: ClassVar[Mapping[int, str]] = MappingProxyType(
        {700027: f"{setting('certificate')} is not registered with the app, or has expired"}
    )

    certificate: Path = Field(description="PEM or PFX file with the app's certificate and its private key")
    certificate_password: SecretStr | None = Field(
        None, description="password of the private key, if it has one"
    )

    def msal_form(self) -> object:
        password = self.certificate_password
        return _key_and_certificate(
            read_file(self.certificate, name="certificate"),
            self.certificate,
            password=password.get_secret_value() if password else None,
        )


def _key_and_certificate(content: bytes, path: Path, *, password: str | None) -> dict[str, str]:
    # imported here, because the settings import this file and most commands never sign in
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import pkcs12  # noqa: PLC0415

    hold_private_keys(content.decode(errors="replace"))
    secret = password.encode() if password else None
    named = f"{setting('certificate')} {path}"
    try:
        if b"-----BEGIN" in content:
            key: object = serialization.load_pem_private_key(content, secret)
            certificate: x509.Certificate | None = x509.load_pem_x509_certificate(content)
        else:
            key, certificate, _ = pkcs12.load_key_and_certificates(content, secret)
    except (ValueError, TypeError) as error:  # TypeError: a password is missing or not needed
        raise Misconfigured(
            f"{named} must hold a key and its certificate (PEM or PFX)."
            f" If the key has a password, set {setting('certificate_password')}:"
            f" {printable(str(error), limit=200)}"
        ) from None
    if not isinstance(key, RSAPrivateKey) or certificate is None:
        raise Misconfigured(f"{named} must hold an RSA key and its certificate")
    if key.public_key() != certificate.public_key():
        raise Misconfigured(f"{named}: the first certificate does not belong to the key")
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    hold_private_keys(plain.decode())
    return {"private_key": plain.decode(), "public_certificate": certificate.public_bytes(pem).decode()}


CREDENTIAL = Certificate
