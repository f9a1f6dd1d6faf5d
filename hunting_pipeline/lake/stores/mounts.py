"""Mounted object stores. They look like folders, but they have no locks and no atomic rename."""

from pathlib import Path

__all__ = ["MOUNTS", "object_store_at"]

MOUNTS = Path("/proc/self/mounts")
"""The mounts that this process sees. Only Linux has this file."""

_PROGRAMS = frozenset(
    {
        "blobfuse",
        "blobfuse2",
        "cosfs",
        "gcsfuse",
        "geesefs",
        "goofys",
        "mountpoint-s3",
        "ossfs",
        "rclone",
        "s3fs",
    }
)
"""Programs that mount an object store: the type of the mount is `fuse.PROGRAM`, or its source is PROGRAM."""


def object_store_at(folder: Path, mounts: str) -> str | None:
    """Return the program that mounts an object store at a folder; None for every other folder.

    Args:
        folder: an absolute path without links.
        mounts: the text of `/proc/self/mounts`. The last of several mounts at one path is the visible one.
    """
    found, longest = None, -1
    for line in mounts.splitlines():
        source, point, kind = (_unescaped(word) for word in line.split(" ")[:3])
        if folder.is_relative_to(point) and len(point) >= longest:
            found, longest = _program(source, kind), len(point)
    return found


def _program(source: str, kind: str) -> str | None:
    name, _, subtype = kind.partition(".")
    program = subtype or source.partition("#")[0]
    return program if name == "fuse" and program in _PROGRAMS else None


def _unescaped(word: str) -> str:
    """Return a word of the file: spaces, tabs and line breaks are written as octal numbers there."""
    for escape, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        word = word.replace(escape, plain)
    return word
