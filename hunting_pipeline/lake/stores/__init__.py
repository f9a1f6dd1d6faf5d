"""The stores for a lake, one file each. The scheme of the lake's location selects the store.

A new store is one file of this folder that defines `open_at(location, options)`, and a line of `STORES`. The
file is imported when a lake with its scheme is opened, so what it imports may be missing until then.
"""

from importlib import import_module

from hunting_pipeline.errors import Misconfigured, setting
from hunting_pipeline.lake.location import STORES, StoreOptions, is_url
from hunting_pipeline.lake.stores.protocol import (
    ABSENT,
    ANY,
    Conflict,
    Entry,
    Expected,
    LockingStore,
    Store,
    read_current,
)

__all__ = [
    "ABSENT",
    "ANY",
    "STORES",
    "Conflict",
    "Entry",
    "Expected",
    "LockingStore",
    "Store",
    "StoreOptions",
    "is_url",
    "open_store",
    "read_current",
]

_EXTRA = "cloud"
"""The extra with the packages of all stores except folders."""


def open_store(location: str, options: StoreOptions = StoreOptions()) -> Store:  # noqa: B008 # it is frozen
    """Open the store at a path or a URL. The lake need not exist yet.

    Raises:
        Misconfigured: no store has the scheme of the URL, or the packages of the store are not installed.
    """
    scheme = location.partition("://")[0].lower() if is_url(location) else ""
    file = STORES.get(scheme)
    if file is None:
        known = ", ".join(f"{name}://" for name in STORES if name)
        raise Misconfigured(
            f"{setting('lake')} is a URL, and no store has its scheme."
            " No request was sent and no data was written."
            f" Set {setting('lake')} to a path, or to a URL with {known}"
        )
    try:
        module = import_module(f"{__name__}.{file}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hunting_pipeline"):
            raise
        raise Misconfigured(
            f"the lake {scheme}:// needs the package {error.name}, which is not installed."
            f" No request was sent and no data was written. Run `pip install hunting-pipeline[{_EXTRA}]`"
        ) from None
    store: Store = module.open_at(location, options)
    return store
