"""The URL, the OAuth scope and the trusted authorities for the calls of one tenant."""

import re
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from hunting_pipeline.apis import APIS
from hunting_pipeline.apis.api import Api
from hunting_pipeline.apis.clouds import Cloud
from hunting_pipeline.errors import Misconfigured, setting

__all__ = ["Connection", "connection"]


@dataclass(frozen=True, slots=True)
class Connection:
    """The attributes of the service that a call needs. The identity of the caller is not included.

    Attributes:
        url: full URL of the hunting request.
        scope: OAuth scope of the token.
        login_url: root of the login host, without the tenant.
        ca_bundle: PEM file with the only authorities to trust for TLS; None means those of the system and of
            certifi.
        api: the API behind `url`.
    """

    url: str
    scope: str
    login_url: str
    ca_bundle: Path | None
    api: Api


def connection(
    api: Api,
    cloud: Cloud,
    *,
    api_url: str | None = None,
    login_url: str | None = None,
    scope: str | None = None,
    ca_bundle: Path | None = None,
) -> Connection:
    """Return the connection to an API in a cloud. A given URL or scope replaces that of the cloud.

    `api_url` and `login_url` are roots (`https://host[:port]`). The API's path and the tenant are appended.

    Raises:
        Misconfigured: the cloud does not offer the API, a URL is not an https root, or `ca_bundle` has no
            readable certificate.
    """
    if cloud not in api.hosts:
        raise _not_offered(api, cloud)
    if ca_bundle is not None:
        _check_ca_bundle(ca_bundle)
    root = _root(api_url, name="api_url").removesuffix(api.path) if api_url else f"https://{api.hosts[cloud]}"
    return Connection(
        url=root + api.path,
        scope=scope or api.scope_in(cloud),
        login_url=_root(login_url, name="login_url") if login_url else f"https://{cloud.login_host}",
        ca_bundle=ca_bundle,
        api=api,
    )


def _not_offered(api: Api, cloud: Cloud) -> Misconfigured:
    if not any(cloud in other.hosts for other in APIS.values()):
        return Misconfigured(
            f"{setting('cloud')}={cloud}: Microsoft does not offer a hunting API in this cloud"
        )
    return Misconfigured(
        f"{setting('cloud')}={cloud} is not available for {setting('api')}={api.name}."
        f" Choose one of {', '.join(api.hosts)}"
    )


def _root(url: str, *, name: str) -> str:
    """Return the URL without its trailing slash, after checking it."""
    try:
        parsed = urlsplit(url)
        _check_host(parsed)
    except ValueError as error:
        raise Misconfigured(f"{setting(name)} is not a URL: {error}") from None
    if parsed.scheme != "https" or not parsed.hostname:
        raise Misconfigured(
            f"{setting(name)} must be an https URL such as https://host:port, because tokens are sent to it"
        )
    if "@" in parsed.netloc or parsed.query or parsed.fragment or any(c <= " " or c == "\x7f" for c in url):
        raise Misconfigured(
            f"{setting(name)} must be a root URL, https://host:port, without user, query, fragment, spaces or"
            " control characters"
        )
    return url.rstrip("/")


def _check_host(url: SplitResult) -> None:
    """Raise ValueError if the host or the port is not valid."""
    host, _ = url.hostname or "", url.port  # reading the port raises ValueError if it is not a number
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        ip_address(host)
    elif not re.fullmatch(r"[a-z0-9._-]*", host):
        raise ValueError("the host name may contain only letters, digits, dots and hyphens")


def _check_ca_bundle(ca_bundle: Path) -> None:
    try:
        ssl.create_default_context(cafile=str(ca_bundle))
    except OSError as error:  # ssl.SSLError is an OSError: the file holds no PEM certificate
        reason = error.strerror or type(error).__name__
        raise Misconfigured(
            f"{setting('ca_bundle')} {ca_bundle} is not a readable PEM file: {reason}"
        ) from error
