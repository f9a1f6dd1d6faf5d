"""Write the parts of the README that the code knows better: `python docs/generate.py`.

Settings and limits come from the code. The demo's output is replaced when a file with it is named:
`hunting demo 2>/dev/null > out.txt && python docs/generate.py out.txt`.
"""

import re
import sys
from pathlib import Path

from hunting_pipeline.limits import PROFILES, Kind, Limits
from hunting_pipeline.settings import Settings

README = Path(__file__).parents[1] / "README.md"


def settings_table() -> str:
    """Every setting with its default and meaning."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=False)
        shown = "state folder of the user" if field.default_factory else _shown(default)
        lines.append(f"| `HUNTING_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines)


def _shown(default: object) -> str:
    return f"`{default}`" if default not in (None, "", ()) else "–"


def limits_table() -> str:
    """Every profile but the tests' own, with its source."""
    lines = ["| profile | rates of a tenant | a reply | a request | source |", "|---|---|---|---|---|"]
    lines += [_limits_line(profile) for profile in PROFILES.values() if profile.name != "test"]
    return "\n".join(lines)


def _limits_line(limits: Limits) -> str:
    units = {Kind.CALLS: "calls", Kind.SECONDS: "s running"}
    rates = ", ".join(f"{rate.amount:g} {units[rate.kind]} in {rate.period:g} s" for rate in limits.rates)
    size = f", {limits.reply_bytes / 1e6:g} MB" if limits.reply_bytes else ""
    cells = [
        f"`{limits.name}`",
        rates,
        f"{limits.rows:,} rows{size}",
        f"{limits.request_seconds:g} s",
        limits.source,
    ]
    return f"| {' | '.join(cells)} |"


def replaced(text: str, name: str, block: str) -> str:
    """`text` with what stands between the marks of `name` replaced."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{block}\n{match[2]}", text)


def generated(text: str) -> str:
    """The README as it must be."""
    return replaced(replaced(text, "settings", settings_table()), "limits", limits_table())


def main() -> None:
    """Rewrite the README in place."""
    text = generated(README.read_text("utf-8"))
    if len(sys.argv) > 1:
        shown = "\n".join(line.rstrip() for line in Path(sys.argv[1]).read_text("utf-8").strip().splitlines())
        text = replaced(text, "demo", f"```text\n{shown}\n```")
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
