"""Where to ask: the three hunting APIs and the clouds they live in, as data.

Source of hosts, paths and permissions: the API references of Microsoft Graph (security: runHuntingQuery),
Defender XDR (advanced hunting API, regional and government endpoints) and Defender for Endpoint (advanced
hunting API, US Government and regional endpoints), read 2026-11.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import httpx

from hunting_pipeline.errors import Misconfigured

__all__ = ["Api", "Cloud", "Connection", "connection"]


class Api(StrEnum):
    """Which API answers; the values of the setting HUNTING_API."""

    GRAPH = "graph"
    XDR = "xdr"
    ENDPOINT = "endpoint"


class Cloud(StrEnum):
    """Which cloud, or which region of the global cloud; the values of the setting HUNTING_CLOUD."""

    GLOBAL = "global"
    US = "us"
    EU = "eu"
    UK = "uk"
    AU = "au"
    SWA = "swa"
    INA = "ina"
    AEA = "aea"
    GCC = "gcc"
    GCC_HIGH = "gcc-high"
    DOD = "dod"
    CHINA = "china"


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything about the service that a call needs, except who asks.

    Attributes:
        url: full URL of the hunting request.
        scope: OAuth scope a token is asked for.
        login_url: root of the login host, without tenant.
        ca_bundle: PEM file that alone is trusted for TLS; None means the system's and certifi's roots.
        api: which API.
        application_permission: what an app needs to be granted.
        delegated_permission: what an app acting for a signed-in person needs.
    """

    url: str
    scope: str
    login_url: str
    ca_bundle: Path | None
    api: Api
    application_permission: str
    delegated_permission: str

    @property
    def permission(self) -> str:
        """Both permissions as one phrase for messages."""
        if self.application_permission == self.delegated_permission:
            return self.application_permission
        return f"{self.application_permission} (application) or {self.delegated_permission} (delegated)"


_PATHS: Mapping[Api, str] = MappingProxyType(
    {
        Api.GRAPH: "/v1.0/security/runHuntingQuery",
        Api.XDR: "/api/advancedhunting/run",
        Api.ENDPOINT: "/api/advancedqueries/run",
    }
)

_PERMISSIONS: Mapping[Api, tuple[str, str]] = MappingProxyType(
    {
        Api.GRAPH: ("ThreatHunting.Read.All", "ThreatHunting.Read.All"),
        Api.XDR: ("AdvancedHunting.Read.All", "AdvancedHunting.Read"),
        Api.ENDPOINT: ("AdvancedQuery.Read.All", "AdvancedQuery.Read"),
    }
)

_XDR = "api.security.microsoft.com"
_ENDPOINT = "api.securitycenter.microsoft.com"

_HOSTS: Mapping[Api, Mapping[Cloud, str]] = MappingProxyType(
    {
        Api.GRAPH: MappingProxyType(
            {
                Cloud.GLOBAL: "graph.microsoft.com",
                Cloud.GCC: "graph.microsoft.com",
                Cloud.GCC_HIGH: "graph.microsoft.us",
                Cloud.DOD: "dod-graph.microsoft.us",
            }
        ),
        Api.XDR: MappingProxyType(
            {
                Cloud.GLOBAL: _XDR,
                Cloud.US: f"us.{_XDR}",
                Cloud.EU: f"eu.{_XDR}",
                Cloud.UK: f"uk.{_XDR}",
                Cloud.AU: f"au.{_XDR}",
                Cloud.SWA: f"swa.{_XDR}",
                Cloud.INA: f"ina.{_XDR}",
                Cloud.AEA: f"aea.{_XDR}",
                Cloud.GCC: "api-gcc.security.microsoft.us",
                Cloud.GCC_HIGH: "api-gov.security.microsoft.us",
                Cloud.DOD: "api-gov.security.microsoft.us",
            }
        ),
        Api.ENDPOINT: MappingProxyType(
            {
                Cloud.GLOBAL: _ENDPOINT,
                Cloud.US: "api-us.securitycenter.microsoft.com",
                Cloud.EU: "api-eu.securitycenter.microsoft.com",
                Cloud.UK: "api-uk.securitycenter.microsoft.com",
                Cloud.GCC: "api-gcc.securitycenter.microsoft.us",
                Cloud.GCC_HIGH: "api-gov.securitycenter.microsoft.us",
                Cloud.DOD: "api-gov.securitycenter.microsoft.us",
            }
        ),
    }
)

_GOVERNMENT_LOGIN = frozenset({Cloud.GCC_HIGH, Cloud.DOD})
_OWN_AUDIENCE = frozenset({Cloud.GLOBAL, Cloud.GCC, Cloud.GCC_HIGH, Cloud.DOD})
"""Clouds whose API host is its own token audience; regions share the global one. The documents leave the
audience of government hosts open, so that the scope can be set."""


def connection(
    api: Api,
    cloud: Cloud,
    *,
    api_url: str | None = None,
    login_url: str | None = None,
    scope: str | None = None,
    ca_bundle: Path | None = None,
) -> Connection:
    """The connection for a surface in a cloud; a given URL or scope stands in for the cloud's own.

    `api_url` and `login_url` are roots (`https://host[:port]`): the surface's path and the tenant follow.

    Raises:
        Misconfigured: the surface is not offered in that cloud, a URL is not plain https, or `ca_bundle`
            holds no certificates that can be read.
    """
    host = _host(api, cloud)
    audience = host if cloud in _OWN_AUDIENCE else _HOSTS[api][Cloud.GLOBAL]
    login_host = "login.microsoftonline.us" if cloud in _GOVERNMENT_LOGIN else "login.microsoftonline.com"
    path = _PATHS[api]
    root = _https(api_url, setting="HUNTING_API_URL").removesuffix(path) if api_url else f"https://{host}"
    if ca_bundle is not None:
        _readable(ca_bundle)
    application, delegated = _PERMISSIONS[api]
    return Connection(
        url=root + path,
        scope=scope or f"https://{audience}/.default",
        login_url=_https(login_url, setting="HUNTING_LOGIN_URL") if login_url else f"https://{login_host}",
        ca_bundle=ca_bundle,
        api=api,
        application_permission=application,
        delegated_permission=delegated,
    )


def _host(api: Api, cloud: Cloud) -> str:
    offered = _HOSTS[api]
    if cloud in offered:
        return offered[cloud]
    if cloud is Cloud.CHINA:
        raise Misconfigured("HUNTING_CLOUD=china: no hunting API is offered in that cloud")
    raise Misconfigured(
        f"HUNTING_CLOUD={cloud} does not exist for HUNTING_API={api}; it may be {', '.join(offered)}"
    )


def _https(url: str, *, setting: str) -> str:
    """The URL without its trailing slash."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Misconfigured(f"{setting} is not a URL: {error}") from None
    if parsed.scheme != "https" or not parsed.host:
        raise Misconfigured(f"{setting} must be an https URL such as https://host:port: tokens travel in it")
    if parsed.userinfo or parsed.query or parsed.fragment or any(c <= " " for c in url):
        raise Misconfigured(f"{setting} must be a root, https://host:port, without user, query or blanks")
    return url.rstrip("/")


def _readable(ca_bundle: Path) -> None:
    try:
        ssl.create_default_context(cafile=str(ca_bundle))
    except OSError as error:  # ssl.SSLError is one: the file holds no PEM certificate
        reason = error.strerror or type(error).__name__
        raise Misconfigured(f"HUNTING_CA_BUNDLE {ca_bundle} is no readable PEM file: {reason}") from error
