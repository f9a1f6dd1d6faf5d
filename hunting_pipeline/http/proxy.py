"""The proxy that the environment names: HTTPS_PROXY, else ALL_PROXY, unless NO_PROXY has the host.

The variables may be in lower case. NO_PROXY is a list of host names, addresses and ranges of addresses. A
name also covers its subdomains. An address or a range covers only URLs with an address. All other entries are
ignored, as other programs ignore them.
"""

import os
import re
import ssl
from ipaddress import ip_address, ip_network
from urllib.request import getproxies, proxy_bypass_environment  # type: ignore[attr-defined] # has no types

import httpx

from hunting_pipeline.errors import Misconfigured

try:
    from socksio import SOCKSError
except ImportError:  # the extra `socks` is not installed
    _SOCKS_ERRORS: tuple[type[Exception], ...] = ()
else:
    _SOCKS_ERRORS = (SOCKSError, AssertionError)  # httpx does not map them

__all__ = ["environment_transport", "proxy_of"]

_VARIABLE = "hunting_proxy_variable"
"""The extension of a request that names the variable of its proxy."""


def environment_transport(trust: ssl.SSLContext) -> httpx.BaseTransport:
    """Return a transport that uses the proxy of the environment.

    Args:
        trust: trusted authorities, also for an https proxy.

    Raises:
        Misconfigured: a variable does not name a usable proxy. The message has no part of the value.
    """
    direct = httpx.HTTPTransport(verify=trust, trust_env=False)
    scheme = next((scheme for scheme in ("https", "all") if scheme in getproxies()), None)
    if scheme is None:
        return direct
    variable = _variable(scheme)
    proxied = _proxied(scheme, variable, trust)
    return _Routed(direct, proxied, variable, no_proxy=getproxies().get("no", ""))


def proxy_of(request: httpx.Request) -> str | None:
    """Return the variable that names the proxy of a request; None if the request needs no proxy."""
    variable: str | None = request.extensions.get(_VARIABLE)
    return variable


class _Routed(httpx.BaseTransport):
    """A transport with a proxy. Each request goes either to the proxy or directly to its host."""

    def __init__(
        self, direct: httpx.BaseTransport, proxied: httpx.BaseTransport, variable: str, *, no_proxy: str
    ) -> None:
        self._direct = direct
        self._proxied = proxied
        self._variable = variable
        self._no_proxy = no_proxy

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if _bypassed(request.url, self._no_proxy):
            return self._direct.handle_request(request)
        request.extensions = {**request.extensions, _VARIABLE: self._variable}
        try:
            return self._proxied.handle_request(request)
        except _SOCKS_ERRORS:
            raise httpx.RemoteProtocolError(
                f"the proxy in {self._variable} is not a SOCKS5 proxy, or closed the connection"
            ) from None

    def close(self) -> None:
        self._direct.close()
        self._proxied.close()


def _bypassed(url: httpx.URL, no_proxy: str) -> bool:
    """Return whether NO_PROXY has the host."""
    entries = [entry.rpartition("://")[2].removeprefix("*.") for entry in re.split(r"[\s,]+", no_proxy)]
    if "*" in entries:
        return True
    host = f"[{url.host}]" if ":" in url.host else url.host
    if proxy_bypass_environment(f"{host}:{url.port or 443}", {"no": ",".join(entries)}):
        return True
    return any(_covers(entry, url.host) for entry in entries)


def _covers(entry: str, host: str) -> bool:
    """Return whether `host` is in a range such as `10.0.0.0/8`, `fd00::/8` or `[fd00::]/8`."""
    try:
        return ip_address(host) in ip_network(re.sub(r"[\[\]]", "", entry), strict=False)
    except ValueError:
        return False


def _proxied(scheme: str, variable: str, trust: ssl.SSLContext) -> httpx.BaseTransport:
    """Open the transport to the proxy. No local variable has the URL, which may have a password."""
    proxy = _parsed(getproxies()[scheme].strip(), trust)
    if proxy is None:
        raise Misconfigured(
            f"{variable} is not the URL of a proxy, so no request was sent. Write it as http://host:port or"
            " http://user:password@host:port. Encode special characters of the password: # as %23, / as %2F"
        )
    try:
        return httpx.HTTPTransport(verify=trust, trust_env=False, proxy=proxy)
    except ImportError:
        raise Misconfigured(
            f"{variable} names a SOCKS proxy, which needs another package. No request was sent."
            " Install hunting-pipeline[socks]"
        ) from None


def _parsed(text: str, trust: ssl.SSLContext) -> httpx.Proxy | None:
    """Return the proxy at a URL, or None if the text is no such URL."""
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
        if url.raw_path != b"/" or url.fragment or not url.host or not 0 < (url.port or 443) < 65536:
            return None
        return httpx.Proxy(url, ssl_context=trust if url.scheme == "https" else None)
    except (httpx.InvalidURL, ValueError):
        return None


def _variable(scheme: str) -> str:
    """Return the variable of the environment as it is written there. Lower case has precedence."""
    written = [name for name in os.environ if name.lower() == f"{scheme}_proxy" and os.environ[name]]
    return max(written, default=f"{scheme}_proxy".upper(), key=str.islower)
