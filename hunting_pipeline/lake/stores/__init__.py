"""The stores for a lake, one file each. The scheme of the lake's location selects the store.

A new store is one file of this folder that defines `open_at(location)`, and a line of `STORES`. The file is
imported when a lake with its scheme is opened, so what it imports may be missing until then.
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from hunting_pipeline.errors import Misconfigured, setting
from hunting_pipeline.lake.stores.protocol import (
    ABSENT,
    ANY,
    Conflict,
    Entry,
    Expected,
    LockingStore,
    Store,
)

__all__ = ["ABSENT", "ANY", "STORES", "Conflict", "Entry", "Expected", "LockingStore", "Store", "open_store"]

STORES: Mapping[str, str] = MappingProxyType(
    {
        "": "local",
        "file": "local",
    }
)
"""The file of each store, by the scheme of the lake's location. A path has the empty scheme."""


def open_store(location: str) -> Store:
    """Open the store at a path or a URL. The lake need not exist yet.

    Raises:
        Misconfigured: no store has the scheme of the URL.
    """
    scheme, separator, _ = location.partition("://")
    file = STORES.get(scheme.lower() if separator else "")
    if file is None:
        known = ", ".join(f"{name}://" for name in STORES if name)
        raise Misconfigured(
            f"{setting('lake')} is a URL, and no store has its scheme."
            " No request was sent and no data was written."
            f" Set {setting('lake')} to a path, or to a URL with {known}"
        )
    store: Store = import_module(f"{__name__}.{file}").open_at(location)
    return store
