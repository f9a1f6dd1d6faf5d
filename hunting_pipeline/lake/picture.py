"""A picture and a preview of a partition. Pure: values in, text out."""

from base64 import b64encode
from collections.abc import Sequence

import pyarrow as pa

__all__ = ["bars", "preview"]

_WIDTH, _HEIGHT, _LABEL = 480, 96, 14
"""Pixels."""

_LONGEST = 60
"""Most characters of a name or a value in the preview."""


def bars(counts: Sequence[int], *, first: str, last: str) -> str:
    """Return an SVG image as Markdown: one bar for each count.

    Args:
        counts: rows by bin. The image shows the highest count as text.
        first: label of the left end of the axis.
        last: label of the right end of the axis.
    """
    top = max(counts, default=0) or 1
    step = _WIDTH / max(len(counts), 1)
    drawn = "".join(
        f'<rect x="{index * step:.1f}" y="{_LABEL + _HEIGHT - height:.1f}" '
        f'width="{step * 0.8:.1f}" height="{height:.1f}"/>'
        for index, count in enumerate(counts)
        if (height := _HEIGHT * count / top)
    )
    bottom = _HEIGHT + 2 * _LABEL
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{bottom + 4}">'
        f'<g fill="#4f6df5">{drawn}</g>'
        '<g font-family="sans-serif" font-size="11" fill="#888">'
        f'<text x="0" y="10">{max(counts, default=0):,} rows</text>'
        f'<text x="0" y="{bottom}">{first}</text>'
        f'<text x="{_WIDTH}" y="{bottom}" text-anchor="end">{last}</text></g></svg>'
    )
    return f"![rows over time](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"


def preview(rows: pa.Table) -> str:
    """Return a few rows as text, one line each, with aligned columns. Long values are cut."""
    columns = [
        [_cell(name), *map(_cell, values.to_pylist())]
        for name, values in zip(rows.column_names, rows.columns, strict=True)
    ]
    widths = [max(map(len, cells)) for cells in columns]
    lines = list(zip(*columns, strict=True))
    ruled = [*lines[:1], ["─" * width for width in widths], *lines[1:]]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in ruled)


def _cell(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
