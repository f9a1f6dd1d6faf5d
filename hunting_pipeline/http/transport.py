"""The HTTP client for the API and the login host, and the verdicts on its errors.

TLS is always verified, only https is allowed, and no redirect is followed. The environment names a proxy and
further authorities.
"""

import os
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import certifi
import httpx

from hunting_pipeline.errors import Misconfigured, setting
from hunting_pipeline.http.proxy import environment_transport, proxy_of
from hunting_pipeline.http.verdict import NoAnswer, NotAccepted, Refuse, Retry, Verdict, printable

__all__ = ["JUDGEMENTS", "judge_transport", "open_client", "transport_errors"]

CONNECT_SECONDS = 30.0
"""Connect timeout (TCP and TLS) in seconds. It is long enough for several lost SYN packets."""

_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables of other programs that name authorities. They are trusted besides those of the system."""


def open_client(
    ca_bundle: Path | None, *, read_seconds: float, transport: httpx.BaseTransport | None = None
) -> httpx.Client:
    """Open a client with a connection pool. Threads may share it; the caller must close it.

    Args:
        ca_bundle: PEM file with the only trusted authorities. If None, those of the system, of certifi and
            of the environment are trusted.
        read_seconds: read timeout.
        transport: a replacement for the network, such as `httpx.MockTransport(handler)`. Proxies and
            `ca_bundle` are then unused. Redirects and schemes other than https stay forbidden.

    Raises:
        Misconfigured: a variable of the environment names an unusable proxy or unreadable authorities.
    """
    return httpx.Client(
        transport=transport or environment_transport(_trust(ca_bundle)),
        trust_env=False,
        timeout=httpx.Timeout(
            connect=min(CONNECT_SECONDS, read_seconds),
            read=read_seconds,
            write=read_seconds,
            pool=read_seconds,
        ),
        follow_redirects=False,
        headers={"User-Agent": "hunting-pipeline"},
        event_hooks={"request": [_only_https]},
    )


def _trust(ca_bundle: Path | None) -> ssl.SSLContext:
    if ca_bundle is not None:
        return ssl.create_default_context(cafile=str(ca_bundle))
    context = ssl.create_default_context()  # the system's authorities, such as a company's proxy
    context.load_verify_locations(cafile=certifi.where())  # for systems without authorities
    for variable in _AUTHORITIES:
        if os.environ.get(variable):
            _trust_also(context, variable)
    return context


def _trust_also(context: ssl.SSLContext, variable: str) -> None:
    """Add the authorities in the file or the folders that a variable of the environment names."""
    value = os.environ[variable]
    folders = [part for part in value.split(os.pathsep) if Path(part).is_dir()]
    try:
        if folders:
            context.load_verify_locations(capath=os.pathsep.join(folders))
        else:
            context.load_verify_locations(cafile=value)
    except OSError as error:  # ssl.SSLError is an OSError: the file holds no PEM certificate
        raise Misconfigured(
            f"{variable} {value} is not a readable PEM file: {error.strerror or type(error).__name__}."
            f" No request was sent. Correct or remove the variable, or set {setting('ca_bundle')}"
        ) from None


def _only_https(request: httpx.Request) -> None:
    if request.url.scheme != "https":
        raise httpx.UnsupportedProtocol(
            f"no request was sent to {request.url.host}: its scheme is {request.url.scheme}, not https"
        )


def _named(error: Exception) -> str:
    return printable(f"{type(error).__name__}: {error}".rstrip(": "), limit=300)


def _no_answer(error: Exception) -> Verdict:
    return NoAnswer(f"no answer within the time limit ({type(error).__name__})")


def _retry(error: Exception) -> Verdict:
    return Retry(_named(error))


def _refuse(error: Exception) -> Verdict:
    return Refuse(_named(error))


def _refuse_without_text(error: Exception) -> Verdict:
    """Refuse without the text of the error. The text may quote a header, which contains the token."""
    return Refuse(f"the request could not be sent ({type(error).__name__})")


def _connecting(error: Exception) -> Verdict:
    """Refuse a failed TLS handshake, because it would fail again. Retry if the peer closed the connection."""
    cause = _tls_error(error)
    if cause is None or isinstance(cause, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)):
        return Retry(f"no connection to {_host(error)}: {printable(str(error), limit=200)}")
    why = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else cause.reason
    return Refuse(
        f"TLS failed: {printable(why or str(cause), limit=200)}; set {setting('ca_bundle')} to the PEM "
        "file of the authority that signed the host's certificate, and check that the host supports https"
    )


def _proxy(error: Exception) -> Verdict:
    """Retry if the proxy or its network is down for the moment. Refuse all other replies of the proxy."""
    if _PROXY_DOWN.match(str(error)):
        return Retry(_named(error))
    return Refuse(f"the proxy refused: {_named(error)}; check HTTPS_PROXY and NO_PROXY")


_PROXY_DOWN = re.compile(r"408|50[0234]|.*(unreachable|connection refused|TTL|server failure)", re.IGNORECASE)
"""Statuses of an HTTP proxy, and replies of a SOCKS proxy, that may be different a moment later."""


def _host(error: Exception) -> str:
    """Return the host of the request, with the variable of its proxy."""
    try:
        request = error.request if isinstance(error, httpx.RequestError) else None
    except RuntimeError:  # httpx sets the request of an error only after sending it
        request = None
    if request is None:
        return "the host"
    variable = proxy_of(request)
    return request.url.host + (f" through the proxy in {variable}" if variable else "")


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error


JUDGEMENTS: dict[type[Exception], Callable[[Exception], Verdict]] = {
    httpx.ReadTimeout: _no_answer,
    httpx.ConnectTimeout: _retry,
    httpx.WriteTimeout: _retry,
    httpx.PoolTimeout: _retry,
    httpx.ConnectError: _connecting,
    httpx.ReadError: _retry,
    httpx.WriteError: _retry,
    httpx.CloseError: _retry,
    httpx.RemoteProtocolError: _retry,
    httpx.LocalProtocolError: _refuse_without_text,
    httpx.ProxyError: _proxy,
    httpx.UnsupportedProtocol: _refuse,
    httpx.DecodingError: _retry,
    httpx.TooManyRedirects: _refuse,
    httpx.HTTPStatusError: _refuse,
}
"""The verdict on every transport error that httpx raises, by exact class."""


def judge_transport(error: httpx.HTTPError) -> Verdict:
    """Return the verdict on a call without a complete reply. Refuse an unknown class of errors."""
    return JUDGEMENTS.get(type(error), _refuse_without_text)(error)


@contextmanager
def transport_errors() -> Iterator[None]:
    """Replace every error of the transport by NotAccepted."""
    try:
        yield
    except httpx.HTTPError as error:
        raise NotAccepted(judge_transport(error)) from None  # frames of httpx contain the token or secret
