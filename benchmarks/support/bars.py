"""A bar chart as SVG, in a few lines."""

from html import escape

WIDTH, LABEL, LINE, GAP = 900, 150, 24, 40
OWN, OTHER = "#2563eb", "#9ca3af"


def bars(title: str, panels: dict[str, dict[str, float]]) -> str:
    """Draw panels below each other, on one scale. `limits` is hollow, this project's bar is coloured."""
    scale = (WIDTH - LABEL - 80) / max(max(figures.values()) for figures in panels.values())
    top, drawn = 50, []
    for name, figures in panels.items():
        drawn.append(f'<text x="16" y="{top}" font-weight="bold">{escape(name)}</text>')
        drawn += [_bar(*bar, top + 10 + LINE * at, scale) for at, bar in enumerate(figures.items())]
        top += LINE * len(figures) + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" font-family="sans-serif"'
        f' font-size="13"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="16" y="24" font-size="16">{escape(title)}</text>{"".join(drawn)}</svg>\n'
    )


def _bar(name: str, seconds: float, top: float, scale: float) -> str:
    style = {
        "limits": f'fill="none" stroke="{OTHER}"',
        "hunting_pipeline": f'fill="{OWN}"',
    }.get(name, f'fill="{OTHER}"')
    end = LABEL + seconds * scale
    return (
        f'<text x="{LABEL - 8}" y="{top + 14}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LABEL}" y="{top}" width="{seconds * scale:.1f}" height="{LINE - 6}" {style}/>'
        f'<text x="{end + 6:.1f}" y="{top + 14}">{seconds:.2f}</text>'
    )
