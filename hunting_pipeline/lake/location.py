"""The location of a lake, and the options with which its store is opened.

Settings use this module, so it imports no Arrow: a command that only reads settings starts quickly.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

__all__ = ["STORES", "StoreOptions", "is_url"]

STORES: Mapping[str, str] = MappingProxyType(
    {
        "": "local",
        "file": "local",
        "s3": "s3",
        "az": "azure",
        "abfss": "azure",
        "gs": "gcs",
    }
)
"""The file of each store, by the scheme of the lake's location. A path has the empty scheme."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """The settings of object stores. None stands for the store's own default.

    Attributes:
        endpoint: root URL of the service, for services other than that of the cloud itself.
        region: region of the bucket; S3 only.
        profile: profile in the AWS configuration files, also for SSO; S3 only.
        path_style: whether the bucket is part of the path and not of the host; S3 only.
        ca_bundle: PEM file with more authorities to trust.
        proxy: URL of the proxy for all requests to the store.
    """

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    path_style: bool | None = None
    ca_bundle: Path | None = None
    proxy: str | None = None


def is_url(location: str) -> bool:
    """Return whether a location is a URL and not a path."""
    return bool(_URL.match(location))
