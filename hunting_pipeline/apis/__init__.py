"""The hunting APIs: their hosts, permissions, request bodies and limits.

To add an API, write one file in this folder that defines `API`, and add the file's name below.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from hunting_pipeline.apis.api import Api

__all__ = ["APIS"]

_FILES = (
    "graph",
    "xdr",
    "endpoint",
)
"""The files of the APIs. The first one is the default of the setting `api`."""

APIS: Mapping[str, Api] = MappingProxyType({name: import_module(f"{__name__}.{name}").API for name in _FILES})
"""Every API by its name."""
