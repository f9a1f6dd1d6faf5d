"""The stores for a lake, one file each. The scheme of the lake's location selects the store.

To add a store, implement `Store` in a file of its own and register its scheme in `STORES`.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hunting_pipeline.errors import Misconfigured, setting
from hunting_pipeline.lake.stores.local import open_local
from hunting_pipeline.lake.stores.protocol import ABSENT, ANY, Conflict, Entry, Expected, Store

__all__ = ["ABSENT", "ANY", "STORES", "Conflict", "Entry", "Expected", "Store", "open_store"]

STORES: Mapping[str, Callable[[str], Store]] = MappingProxyType({
    "": open_local,
    "file": open_local,
})  # fmt: skip
"""A function that opens a store, by the scheme of the lake's location. A path has the empty scheme."""


def open_store(location: str) -> Store:
    """Open the store at a path or a URL. The lake need not exist yet.

    Raises:
        Misconfigured: no store has the scheme of the URL.
    """
    scheme, separator, _ = location.partition("://")
    opener = STORES.get(scheme.lower() if separator else "")
    if opener is None:
        known = ", ".join(f"{name}://" for name in STORES if name)
        raise Misconfigured(
            f"{setting('lake')} is {location!r}, and no store has the scheme {scheme}://."
            " No request was sent and no data was written."
            f" Set {setting('lake')} to a path, or to a URL with {known}"
        )
    return opener(location)
