"""Memory that a reply needed goes back to the system: a pull stays as small as the replies in flight."""

import ctypes

import pyarrow as pa

__all__ = ["free_at_once", "release"]

_M_MMAP_THRESHOLD = -3
"""The number of `M_MMAP_THRESHOLD` for `mallopt` (malloc.h)."""
_LARGE_BYTES = 1 << 20
"""Blocks that are larger are freed to the system; the blocks of a reply are."""


def free_at_once() -> None:
    """Make Arrow and the C library free large blocks of memory to the system at once.

    Arrow's own allocators keep for each thread about as much memory as that thread once used. This doubles
    the memory of a pull, so Arrow allocates from the C library instead. glibc would learn to keep large
    blocks too, so its threshold is fixed. Other C libraries keep their defaults.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def release() -> None:
    """Free the memory that Arrow holds and does not use; call it after each reply and each file."""
    pa.default_memory_pool().release_unused()
