"""What a reply needed goes back to the system, so that a pull stays as small as the replies in flight."""

import ctypes

import pyarrow as pa

__all__ = ["free_at_once", "release"]

_M_MMAP_THRESHOLD = -3
"""`mallopt`'s name for it (malloc.h)."""
_LARGE_BYTES = 1 << 20
"""What is larger than this is freed to the system; blocks of a reply are."""


def free_at_once() -> None:
    """Let large pieces of memory be freed to the system. glibc would otherwise learn to keep them.

    For each thread it keeps about what that thread once needed. Arrow allocates by it, see the package's
    beginning. Other libraries than glibc are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def release() -> None:
    """Let Arrow give back what it holds and does not use; after a reply or a file is done with."""
    pa.default_memory_pool().release_unused()
