"""Functions that return memory to the system, so a pull needs little more memory than its open replies."""

import ctypes
import sys

import pyarrow as pa

__all__ = ["free_at_once", "release"]

_M_MMAP_THRESHOLD = -3
"""The number of `M_MMAP_THRESHOLD` for `mallopt` (malloc.h)."""
_LARGE_BYTES = 1 << 20
"""The C library returns larger blocks to the system when they are freed. Replies use larger blocks."""


def free_at_once() -> None:
    """Make Arrow and the C library return large blocks of memory to the system at once.

    Arrow's own allocators keep about as much memory for each thread as that thread once used. A pull then
    takes more than half as much memory again. The commands and the code location therefore set
    `ARROW_DEFAULT_MEMORY_POOL` to the system's allocator before Arrow is imported. In any other process, the
    pool set here serves the arrays, but Arrow's Parquet and IPC code keep their first allocator. glibc would
    raise its threshold and keep large blocks too, so its threshold is fixed here. Other C libraries keep
    their defaults.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def release() -> None:
    """Free the memory that Arrow holds and does not use; call it after each reply and each file."""
    pa.default_memory_pool().release_unused()
