"""Tokens from Entra through MSAL, and its errors as sentences that name the setting to change.

No token, secret or password appears in a message, a log line or a `repr`. Errors from below are not chained:
their frames hold the secret, and reporters that print local variables would show it.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import msal
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import pkcs12
from msal.authority import WELL_KNOWN_AUTHORITY_HOSTS
from msal.exceptions import MsalError

from hunting_pipeline.apis.connection import Connection
from hunting_pipeline.errors import HuntingError, Misconfigured, Refused, ServiceFailed
from hunting_pipeline.http.transport import judge_transport, open_client
from hunting_pipeline.http.verdict import Refuse, printable

__all__ = ["Certificate", "ClientSecret", "Credential", "FederatedToken", "Tokens", "tokens"]

LOGIN_SECONDS = 30.0
"""Longest silence of the login host, in seconds; it answers within one or two."""

_NOT_ENTRA = (ValueError, LookupError, TypeError, AttributeError, RuntimeError)
"""How MSAL stumbles over an answer that is no OpenID configuration, or no token: it trusts their shape."""


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """An app's secret: its Value, not its Secret ID."""

    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A file with an app's RSA key and certificate: PEM with both, or PKCS #12 (`.pfx`, `.p12`)."""

    path: Path
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class FederatedToken:
    """A file with another issuer's token for this workload (Kubernetes, CI); read anew at each login."""

    path: Path


Credential = ClientSecret | Certificate | FederatedToken


class Tokens(Protocol):
    """Whoever can hand out tokens for one scope; safe to share between threads."""

    def token(self) -> str:
        """A bearer token that is valid now, from memory if possible.

        Raises:
            Misconfigured, Refused, ServiceFailed: none can be had.
        """
        ...

    def renew(self) -> None:
        """Forget the tokens held: the service did not accept one. The next `token` asks the login host."""
        ...


def tokens(credential: Credential, *, tenant_id: str, client_id: str, connection: Connection) -> Tokens:
    """Tokens for an app. Files are read and checked now; the login host is first asked by `token`.

    Raises:
        Misconfigured: a setting is empty or malformed, or the credential's file cannot be used.
    """
    if not re.fullmatch(r"[A-Za-z0-9.-]+", tenant_id):
        raise Misconfigured("HUNTING_TENANT_ID must be the directory's GUID or one of its domain names")
    if not client_id.strip():
        raise Misconfigured("HUNTING_CLIENT_ID is empty: it is the Application (client) ID")
    return _App(_msal_form(credential), tenant_id=tenant_id, client_id=client_id, connection=connection)


class _Door:
    """httpx in the shape MSAL expects of its HTTP client (`msal.oauth2cli.http.HttpClient`)."""

    def __init__(self, client: httpx.Client) -> None:
        self.get = client.get
        self.close = client.close
        self._post = client.post

    def post(self, url: str, *, data: Mapping[str, str | bytes], **others: Any) -> httpx.Response:
        """MSAL's signed assertions are bytes, which httpx would send as `b'…'`."""
        form = {key: value.decode() if isinstance(value, bytes) else value for key, value in data.items()}
        return self._post(url, data=form, **others)


class _App:
    """An app that signs in as itself. One lock: threads without a token wait for the one that fetches it."""

    def __init__(self, credential: object, *, tenant_id: str, client_id: str, connection: Connection) -> None:
        self._lock = threading.Lock()
        self._credential = credential
        self._client_id = client_id
        self._connection = connection
        self._authority = f"{connection.login_url}/{tenant_id}"
        self._msal: Any = None

    def token(self) -> str:
        with self._lock:
            answer = self._ask()
        if "access_token" not in answer:
            raise _entra_error(answer)
        return str(answer["access_token"])

    def renew(self) -> None:
        with self._lock:
            if self._msal is not None:
                self._msal.remove_tokens_for_client()

    def _ask(self) -> dict[str, Any]:
        try:
            if self._msal is None:
                self._msal = self._sign_up()
            answer: dict[str, Any] = self._msal.acquire_token_for_client([self._connection.scope])
        except httpx.HTTPError as error:
            failure = self._unreachable(error)
        except MsalError:  # so MSAL says 5xx
            failure = ServiceFailed(f"the login host {self._host} failed; try again later")
        except _NOT_ENTRA as error:
            failure = _entra_error({"error_description": str(error.__context__ or "")}, host=self._host)
        else:
            return answer
        raise failure from None

    def _sign_up(self) -> Any:
        known = self._host in WELL_KNOWN_AUTHORITY_HOSTS
        return msal.ConfidentialClientApplication(
            self._client_id,
            client_credential=self._credential,
            authority=self._authority,
            instance_discovery=None if known else False,  # Microsoft cannot vouch for a host of one's own
            http_client=_Door(open_client(self._connection.ca_bundle, read_seconds=LOGIN_SECONDS)),
        )

    @property
    def _host(self) -> str:
        return urlsplit(self._authority).hostname or ""

    def _unreachable(self, error: httpx.HTTPError) -> HuntingError:
        verdict = judge_transport(error)
        if isinstance(verdict, Refuse):
            return Misconfigured(f"login at {self._host}: {verdict.message} (HUNTING_LOGIN_URL)")
        return ServiceFailed(f"login host {self._host} not reached: {verdict.reason} (HUNTING_LOGIN_URL)")


def _msal_form(credential: Credential) -> object:
    """The credential as MSAL takes it."""
    match credential:
        case ClientSecret(secret):
            if not secret.strip():
                raise Misconfigured("HUNTING_CLIENT_SECRET is empty")
            return secret
        case FederatedToken(path):
            _assertion(path)
            return {"client_assertion": lambda: _assertion(path)}
        case Certificate(path, password):
            return _key_and_certificate(_read(path, setting="HUNTING_CERTIFICATE"), path, password=password)


def _read(path: Path, *, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"{setting} {path} cannot be read: {error.strerror}") from None


def _assertion(path: Path) -> str:
    return _read(path, setting="the federated token file").decode(errors="replace").strip()


def _key_and_certificate(content: bytes, path: Path, *, password: str | None) -> dict[str, str]:
    secret = password.encode() if password else None
    try:
        if b"-----BEGIN" in content:
            key: object = serialization.load_pem_private_key(content, secret)
            certificate: x509.Certificate | None = x509.load_pem_x509_certificate(content)
        else:
            key, certificate, _ = pkcs12.load_key_and_certificates(content, secret)
    except (ValueError, TypeError) as error:  # TypeError: password missing or needless
        raise Misconfigured(
            f"HUNTING_CERTIFICATE {path} must hold a key and its certificate (PEM or PFX), with the right "
            f"password if it has one: {printable(str(error), limit=200)}"
        ) from None
    if not isinstance(key, RSAPrivateKey) or certificate is None:
        raise Misconfigured(f"HUNTING_CERTIFICATE {path} must hold an RSA key and its certificate")
    if key.public_key() != certificate.public_key():
        raise Misconfigured(f"HUNTING_CERTIFICATE {path}: the first certificate does not belong to the key")
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {"private_key": plain.decode(), "public_certificate": certificate.public_bytes(pem).decode()}


_ADVICE: Mapping[int, str] = MappingProxyType(
    {
        7000215: "HUNTING_CLIENT_SECRET is wrong: it must be the secret's Value, not its Secret ID",
        7000222: "HUNTING_CLIENT_SECRET has expired: create a new one",
        7000216: "Entra wants a credential: set HUNTING_CLIENT_SECRET or HUNTING_CERTIFICATE",
        7000112: "the app HUNTING_CLIENT_ID is disabled in this tenant",
        7000229: "the app HUNTING_CLIENT_ID has no place in HUNTING_TENANT_ID: grant admin consent",
        700016: "HUNTING_CLIENT_ID is not an app of the tenant HUNTING_TENANT_ID",
        700027: "HUNTING_CERTIFICATE is not registered with the app, or has expired",
        700024: "the assertion is outside its time: check this machine's clock",
        700213: "the app has no federated credential for this workload's subject",
        70021: "the app has no federated credential for this workload's issuer and subject",
        90002: "HUNTING_TENANT_ID names no tenant of this cloud (HUNTING_CLOUD)",
        900023: "HUNTING_TENANT_ID is neither a GUID nor a domain name of a tenant",
        500011: "the API is unknown to the tenant: check HUNTING_API and HUNTING_CLOUD",
        1002012: "the scope is not valid: check HUNTING_API and HUNTING_CLOUD",
        70011: "the scope is not valid: check HUNTING_API and HUNTING_CLOUD",
    }
)
"""By AADSTS number. Source: 'Microsoft Entra authentication and authorization error codes', read 2026-11."""


def _entra_error(answer: Mapping[str, Any], *, host: str = "") -> HuntingError:
    """What a person should do about an answer without a token; its own first line is kept, if it has one."""
    described = str(answer.get("error_description") or "")
    found = re.search(r"AADSTS(\d{4,8})", described)
    sentence = described[found.start() if found else 0 :]
    said = printable(re.split(r"\s+Trace ID:|\r?\n", sentence)[0], limit=300)  # trace ids and a time follow
    if found and (advice := _ADVICE.get(int(found[1]))):
        return Misconfigured(f"{advice} ({said})")
    if answer.get("error") in ("temporarily_unavailable", "server_error"):
        return ServiceFailed(f"Entra is unavailable: {said}")
    if host:
        return Misconfigured(
            f"{host} gave no OpenID configuration or token for this tenant: check HUNTING_TENANT_ID and "
            f"HUNTING_LOGIN_URL ({said or 'no reason given'})"
        )
    return Refused(f"Entra gave no token: {printable(str(answer.get('error', '')), limit=100)} ({said})")
