"""Memory that a reply needed goes back to the system: a pull stays as small as the replies in flight."""

import ctypes
import sys

import pyarrow as pa

__all__ = ["free_at_once", "release"]

_M_MMAP_THRESHOLD = -3
"""The number of `M_MMAP_THRESHOLD` for `mallopt` (malloc.h)."""
_LARGE_BYTES = 1 << 20
"""Blocks that are larger are freed to the system; the blocks of a reply are."""


def free_at_once() -> None:
    """Make Arrow and the C library free large blocks of memory to the system at once.

    Arrow's own allocators keep for each thread about as much memory as that thread once used, so a pull takes
    more than half as much memory again. The commands and the code location therefore choose the system's
    allocator by `ARROW_DEFAULT_MEMORY_POOL`, before Arrow is imported. In any other process the pool set here
    serves the arrays, but Arrow's Parquet and IPC code keep their first allocator. glibc would learn to keep
    large blocks too, so its threshold is fixed. Other C libraries keep their defaults.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def release() -> None:
    """Free the memory that Arrow holds and does not use; call it after each reply and each file."""
    pa.default_memory_pool().release_unused()
