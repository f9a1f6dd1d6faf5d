"""The stores that a lake can lie in, one file each, opened by the scheme of the lake's location.

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
"""What opens a lake, by the scheme of its location; a path has the empty scheme."""


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
            f" Nothing was asked, nothing written. Set {setting('lake')} to a path, or to a URL with {known}"
        )
    return opener(location)
