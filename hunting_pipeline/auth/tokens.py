"""Get tokens from Entra through MSAL, and convert errors of Entra to messages that name the setting.

No token, secret or password appears in a message, a log line or a `repr`. Errors of MSAL and httpx are not
chained, because local variables in their frames contain the secret. A tool that prints local variables would
show the secret.
"""

import re
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import urlsplit

import msal
from msal.authority import WELL_KNOWN_AUTHORITY_HOSTS
from msal.exceptions import MsalError

from hunting_pipeline.apis.connection import Connection
from hunting_pipeline.auth import CREDENTIALS, missing
from hunting_pipeline.auth.credential import Credential
from hunting_pipeline.errors import HuntingError, Misconfigured, Refused, ServiceFailed, setting
from hunting_pipeline.http.transport import open_client, transport_errors
from hunting_pipeline.http.verdict import NotAccepted, Refuse, printable
from hunting_pipeline.redaction import hold, redacted

__all__ = ["ADVICE", "Tokens", "tokens"]

LOGIN_SECONDS = 30.0
"""Read timeout for the login host, in seconds. The host usually answers within two seconds."""

_NOT_ENTRA = (ValueError, LookupError, TypeError, AttributeError, RuntimeError)
"""Errors that MSAL raises for an answer that is neither an OpenID configuration nor a token. MSAL does not
check answers."""


class Tokens(Protocol):
    """A thread-safe source of tokens for one scope."""

    def token(self) -> str:
        """Return a bearer token that is valid now, from the cache if possible.

        Raises:
            Misconfigured, Refused, ServiceFailed: Entra issued no token.
        """
        ...

    def renew(self) -> None:
        """Remove the tokens from the cache, because the service rejected one. `token` then signs in again."""
        ...


def tokens(credential: Credential, *, tenant_id: str, client_id: str, connection: Connection) -> Tokens:
    """Return the token source of an app. This function reads and checks files, but sends no request.

    Raises:
        Misconfigured: a setting is empty or malformed, or the credential's file cannot be used.
    """
    if not re.fullmatch(r"[A-Za-z0-9.-]+", tenant_id):
        raise Misconfigured(f"{setting('tenant_id')} must be the directory's GUID or one of its domain names")
    if not client_id.strip():
        raise Misconfigured(f"{setting('client_id')} is empty: set it to the Application (client) ID")
    return _App(credential, tenant_id=tenant_id, client_id=client_id, connection=connection)


class _HttpClient:
    """The HTTP client that MSAL expects (`msal.oauth2cli.http.HttpClient`)."""

    def __init__(self, connection: Connection) -> None:
        self._client = open_client(connection.ca_bundle, read_seconds=LOGIN_SECONDS)
        self.close = self._client.close

    def get(self, url: str, **options: Any) -> object:
        with transport_errors():
            return _without_pages(self._client.get(url, **options))

    def post(self, url: str, *, data: Mapping[str, str | bytes], **options: Any) -> object:
        """Send a form. Signed assertions of MSAL are bytes, which httpx would send as `b'…'`."""
        form = {key: value.decode() if isinstance(value, bytes) else value for key, value in data.items()}
        with transport_errors():
            return _without_pages(self._client.post(url, data=form, **options))


def _without_pages(reply: Any) -> Any:
    """Refuse a web page: Entra sends JSON. A page with a status from 500 is an outage, which MSAL reports."""
    if reply.status_code < 500 and "html" in reply.headers.get("content-type", "").lower():
        page = f"{reply.status_code} web page: {printable(reply.text, limit=200)}"
        raise NotAccepted(
            Refuse(
                f"{page}; a proxy, firewall or captive portal may have answered instead of Entra."
                " Check HTTPS_PROXY and NO_PROXY"
            )
        )
    return reply


class _App:
    """An app that signs in. With one lock, only one thread signs in and the other threads wait."""

    def __init__(
        self, credential: Credential, *, tenant_id: str, client_id: str, connection: Connection
    ) -> None:
        self._lock = threading.Lock()
        self._credential = credential
        self._msal_form = credential.msal_form()
        self._client_id = client_id
        self._connection = connection
        self._authority = f"{connection.login_url}/{tenant_id}"
        self._msal: Any = None

    def token(self) -> str:
        with self._lock:
            answer = self._ask()
        if "access_token" not in answer:
            raise _entra_error(answer)
        token = str(answer["access_token"])
        hold(token)
        return token

    def renew(self) -> None:
        with self._lock:
            if self._msal is not None:
                self._credential.forget(self._msal)

    def _ask(self) -> dict[str, Any]:
        try:
            if self._msal is None:
                self._msal = self._application()
            return self._credential.acquire(self._msal, self._connection.scope)
        except NotAccepted as error:
            failure = self._unreachable(error)
        except MsalError:  # MSAL raises it for statuses from 500
            failure = ServiceFailed(f"the login host {self._host} failed. Try again later", everything=True)
        except _NOT_ENTRA as error:
            failure = _entra_error({"error_description": str(error.__context__ or "")}, host=self._host)
        raise failure from None

    def _application(self) -> Any:
        known = self._host in WELL_KNOWN_AUTHORITY_HOSTS
        return msal.ConfidentialClientApplication(
            self._client_id,
            client_credential=self._msal_form,
            authority=self._authority,
            instance_discovery=None if known else False,  # Microsoft's list has only its own hosts
            http_client=_HttpClient(self._connection),
        )

    @property
    def _host(self) -> str:
        return urlsplit(self._authority).hostname or ""

    def _unreachable(self, error: NotAccepted) -> HuntingError:
        if isinstance(error.verdict, Refuse):
            return Misconfigured(f"login at {self._host} failed: {error} ({setting('login_url')})")
        return ServiceFailed(
            f"the login host {self._host} was not reached: {error} ({setting('login_url')})", everything=True
        )


ADVICE: Mapping[int, str] = MappingProxyType(
    {
        7000216: f"Entra requires a credential: set {missing({})}",
        7000112: (
            f"the app {setting('client_id')} is disabled in this tenant:"
            " enable it under Enterprise applications in Entra"
        ),
        7000229: (
            f"the app {setting('client_id')} has no service principal in {setting('tenant_id')}:"
            " grant admin consent"
        ),
        65001: (
            f"the app {setting('client_id')} has no consent in {setting('tenant_id')}: grant admin consent"
        ),
        700016: f"{setting('client_id')} is not an app of the tenant {setting('tenant_id')}: check both",
        700024: "the signed assertion is not valid at this time: check this machine's clock",
        90002: f"{setting('tenant_id')} is not a tenant of this cloud: check it and {setting('cloud')}",
        900023: f"{setting('tenant_id')} is neither a GUID nor a domain name of a tenant: correct it",
        500011: f"the tenant does not have this API: check {setting('api')} and {setting('cloud')}",
        1002012: f"the scope is not valid: check {setting('api')} and {setting('cloud')}",
        70011: f"the scope is not valid: check {setting('api')} and {setting('cloud')}",
    }
    | {number: text for credential in CREDENTIALS for number, text in credential.advice.items()}
)
"""The cause and the solution of each error, by its AADSTS number. Credentials add entries.

Source: 'Microsoft Entra authentication and authorization error codes', read 2026-11.
"""


def _entra_error(answer: Mapping[str, Any], *, host: str = "") -> HuntingError:
    """Return the error for an answer without a token. The message includes the first line from Entra."""
    described = str(answer.get("error_description") or "")
    found = re.search(r"AADSTS(\d{4,8})", described)
    sentence = described[found.start() if found else 0 :]
    said = printable(re.split(r"\s+Trace ID:|\r?\n", redacted(sentence))[0], limit=300)  # trace ids follow
    if found and (advice := ADVICE.get(int(found[1]))):
        return Misconfigured(f"{advice} ({said})")
    if answer.get("error") in ("temporarily_unavailable", "server_error"):
        return ServiceFailed(f"Entra is unavailable: {said}", everything=True)
    if host:
        return Misconfigured(
            f"{host} returned no OpenID configuration or token for this tenant:"
            f" check {setting('tenant_id')} and {setting('login_url')} ({said or 'no reason given'})"
        )
    return Refused(f"Entra issued no token: {printable(str(answer.get('error', '')), limit=100)} ({said})")
