"""The HTTP client for the API and the login host, and the verdicts on its errors.

TLS is always verified, only https is allowed, and no redirect is followed. Proxies come from the environment
(HTTPS_PROXY, NO_PROXY).
"""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import certifi
import httpx

from hunting_pipeline.errors import setting
from hunting_pipeline.http.verdict import NoAnswer, NotAccepted, Refuse, Retry, Verdict, printable

__all__ = ["JUDGEMENTS", "judge_transport", "open_client", "transport_errors"]

CONNECT_SECONDS = 30.0
"""Connect timeout (TCP and TLS) in seconds. It is long enough for several lost SYN packets."""


def open_client(
    ca_bundle: Path | None, *, read_seconds: float, transport: httpx.BaseTransport | None = None
) -> httpx.Client:
    """Open a client with a connection pool. Threads may share it; the caller must close it.

    Args:
        ca_bundle: PEM file with the only trusted authorities; those of the system and of certifi if None.
        read_seconds: read timeout.
        transport: a replacement for the network, such as `httpx.MockTransport(handler)`. Proxies and
            `ca_bundle` are then unused. Redirects and schemes other than https stay forbidden.
    """
    return httpx.Client(
        transport=transport,
        verify=_trust(ca_bundle) if transport is None else True,
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
    return context


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
    """Retry after a gateway error of the proxy. Refuse all other statuses of the proxy."""
    if str(error).startswith(("502", "503", "504")):
        return Retry(_named(error))
    return Refuse(f"the proxy refused: {_named(error)}; check HTTPS_PROXY and NO_PROXY")


def _host(error: Exception) -> str:
    try:
        return error.request.url.host if isinstance(error, httpx.RequestError) else "the host"
    except RuntimeError:  # httpx sets the request of an error only after sending it
        return "the host"


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
