"""The options of the clients of all object stores."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from obstore.exceptions import BaseError

from hunting_pipeline.errors import Misconfigured, setting
from hunting_pipeline.lake.location import StoreOptions
from hunting_pipeline.lake.stores.object_errors import said

__all__ = ["client_options", "opening", "prefix_of"]

_CONNECT = timedelta(seconds=30)
_READ = timedelta(seconds=120)
"""Longest pause between two parts of an answer."""
_WHOLE = timedelta(minutes=60)
"""Longest request: an object of 5 GiB at 1.5 MiB a second."""


@contextmanager
def opening(location: str) -> Iterator[None]:
    """Replace the errors of a client that cannot be created.

    Raises:
        Misconfigured: a value of the location or of an option is not valid.
    """
    try:
        yield
    except (BaseError, ValueError) as error:
        raise Misconfigured(
            f"the lake {location} cannot be opened ({said(str(error))}). No request was sent and no data was"
            f" written. Change {setting('lake')}, or the setting that the reason names"
        ) from None


def prefix_of(location: str) -> str | None:
    """Return the folder of the lake in its bucket; None if the lake is the whole bucket."""
    return urlsplit(location).path.strip("/") or None


def client_options(options: StoreOptions) -> Any:
    """Return the options of an obstore client.

    Raises:
        Misconfigured: the file with authorities cannot be read.
    """
    found: dict[str, Any] = {
        "connect_timeout": _CONNECT,
        "read_timeout": _READ,
        "timeout": _WHOLE,
        "allow_http": (options.endpoint or "").startswith("http://"),
        "user_agent": "hunting-pipeline",
    }
    if options.ca_bundle is not None:
        try:
            found["root_certificate"] = options.ca_bundle.read_bytes()
        except OSError as error:
            raise Misconfigured(
                f"{options.ca_bundle} cannot be read ({error.strerror}). No request was sent and no data was"
                f" written. Change {setting('lake_ca_bundle')}"
            ) from None
    if options.proxy is not None:
        found["proxy_url"] = options.proxy
    return found
