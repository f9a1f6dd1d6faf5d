"""The key and the certificates of a PEM or PKCS #12 file, in the form that MSAL takes."""

from collections.abc import Iterable
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509 import Certificate, load_pem_x509_certificates

from hunting_pipeline.errors import Misconfigured, setting
from hunting_pipeline.http.verdict import printable
from hunting_pipeline.redaction import hold_private_keys

__all__ = ["signing_key"]


def signing_key(content: bytes, *, named: str, password: str | None) -> dict[str, str]:
    """Return the key and the chain of its certificate.

    Beside more than one certificate, MSAL needs a SHA-1 thumbprint, and then signs with RS256. It signs with
    PS256 if there is one certificate and no thumbprint.

    Args:
        content: content of the file.
        named: the file and its setting, for messages.
        password: password of the key.

    Raises:
        Misconfigured: the file has no usable key, no certificate for the key, or one that is not valid now.
    """
    key, certificates = _read(content, named=named, password=password)
    if not isinstance(key, RSAPrivateKey) or not certificates:
        raise Misconfigured(f"{named} must hold an RSA key and its certificate")
    chain = _chain(key, certificates)
    if not chain:
        raise Misconfigured(f"{named} has no certificate that belongs to the key")
    _check_validity(chain[0], named=named, now=datetime.now(UTC))
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    hold_private_keys(plain.decode())
    public = b"".join(certificate.public_bytes(pem) for certificate in chain)
    form = {"private_key": plain.decode(), "public_certificate": public.decode()}
    if len(chain) > 1:
        form["thumbprint"] = chain[0].fingerprint(hashes.SHA1()).hex()  # noqa: S303 # it signs nothing
    return form


def _read(content: bytes, *, named: str, password: str | None) -> tuple[object, list[Certificate]]:
    hold_private_keys(content.decode(errors="replace"))
    secret = password.encode() if password else None
    try:
        if b"-----BEGIN" in content:
            return serialization.load_pem_private_key(content, secret), load_pem_x509_certificates(content)
        key, certificate, others = pkcs12.load_key_and_certificates(content, secret)
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
    ) as error:  # TypeError: a password too few or too many
        raise Misconfigured(
            f"{named} must hold a key and its certificate (PEM or PFX)."
            f" If the key has a password, set {setting('certificate_password')}:"
            f" {printable(str(error), limit=200)}"
        ) from None
    return key, [certificate, *others] if certificate else others


def _chain(key: RSAPrivateKey, certificates: Iterable[Certificate]) -> list[Certificate]:
    """Return the key's certificate and its intermediates: each certificate is signed by the next one.

    The root is not included, because the receiver must have it. Of several candidates, the one that expires
    last is taken, because a file may keep certificates that were renewed.
    """
    newest_first = sorted(certificates, key=lambda one: one.not_valid_after_utc, reverse=True)
    chain = [one for one in newest_first if _has_key(one, key)][:1]
    intermediates = [one for one in newest_first if one.subject != one.issuer]
    while chain:
        issuer = next((one for one in intermediates if _signed(chain[-1], by=one)), None)
        if issuer is None or issuer in chain:
            break
        chain.append(issuer)
    return chain


def _has_key(certificate: Certificate, key: RSAPrivateKey) -> bool:
    try:
        return certificate.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm):  # an authority may have a key of an unknown kind
        return False


def _signed(certificate: Certificate, *, by: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):  # ValueError: another name
        return False
    return True


def _check_validity(certificate: Certificate, *, named: str, now: datetime) -> None:
    who = printable(certificate.subject.rfc4514_string(), limit=100)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if end < now:
        raise Misconfigured(
            f"{named}: the certificate {who} expired on {end:%Y-%m-%d %H:%M} UTC, so no request was sent."
            " Create a new certificate and register it with the app"
        )
    if begin > now:
        raise Misconfigured(
            f"{named}: the certificate {who} is not valid before {begin:%Y-%m-%d %H:%M} UTC, so no request"
            " was sent. Check this machine's clock, or use another certificate"
        )
