"""Memory that a reply needed goes back to the system: a pull stays as small as the replies in flight."""

import ctypes

import pyarrow as pa

__all__ = ["free_at_once", "release"]

_M_MMAP_THRESHOLD = -3
"""The number of `M_MMAP_THRESHOLD` for `mallopt` (malloc.h)."""
_LARGE_BYTES = 1 << 20
"""Blocks that are larger are freed to the system; the blocks of a reply are."""


def free_at_once() -> None:
    """Let large pieces of memory be freed to the system. glibc would otherwise learn to keep them.

    For each thread it keeps about what that thread once needed. Arrow allocates by it, see the package's
    beginning. Other libraries than glibc are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def release() -> None:
    """Free the memory that Arrow holds and does not use; call it after each reply and each file."""
    pa.default_memory_pool().release_unused()
