"""Plain text and JSON on the standard streams, and readable sizes and durations."""

import json
import sys
from typing import Annotated

import typer

__all__ = ["Json", "bytes_of", "duration_of", "print_json", "visible"]

Json = Annotated[
    bool,
    typer.Option(
        "--json", help="print one JSON document on standard output, and errors as JSON on standard error"
    ),
]


def print_json(value: object) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def visible(text: str) -> str:
    """Return the text with visible escapes, such as `\\x1b`, for characters that could control a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def bytes_of(size: float) -> str:
    """Return a size such as `1.2 GB`. Units are powers of ten, as in the service's documentation."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError(size)


def duration_of(seconds: float) -> str:
    """Return a duration such as `2 h 05 min`, `3 min 20 s` or `4.1 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
