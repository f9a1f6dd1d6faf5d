"""A picture and a preview of a partition, as Markdown. Pure: values in, text out."""

from base64 import b64encode
from collections.abc import Sequence

import pyarrow as pa

__all__ = ["bars", "preview"]

_WIDTH, _HEIGHT, _LABEL = 480, 96, 14
"""Pixels."""

_LONGEST = 60
"""Most characters of a value in the preview."""


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
    """Return a Markdown table of a few rows. Long values are cut."""
    lines = [rows.column_names, ["---"] * rows.num_columns]
    lines += [[_cell(value) for value in row.values()] for row in rows.to_pylist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    text = "" if value is None else " ".join(str(value).split())
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
