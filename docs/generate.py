"""Write the parts of the documents that come from the code: `python docs/generate.py`.

Settings, limits, APIs, credentials and the blocks of the reference come from the code. With a file as
argument, the content of the file replaces the demo's output:
`hunting demo 2>/dev/null > out.txt && python docs/generate.py out.txt`.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill

import reference_blocks
from hunting_pipeline.apis import APIS
from hunting_pipeline.apis.api import Api
from hunting_pipeline.auth import CREDENTIALS
from hunting_pipeline.limits import PROFILES, Kind, Limits
from hunting_pipeline.settings import Settings
from hunting_pipeline.settings.model import variable
from reference_blocks import table

ROOT = Path(__file__).parents[1]
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "operations.md",
    ROOT / "docs" / "troubleshooting.md",
    ROOT / "docs" / "concepts" / "slicing.md",
    *sorted((ROOT / "docs" / "reference").glob("*.md")),
)
"""The pages with generated blocks."""


def settings_table() -> str:
    """Return every setting with its default and meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=False)
        shown = "state folder of the user" if field.default_factory else _shown(default)
        rows.append((f"`{variable(name)}`", shown, str(field.description)))
    return table(("setting", "default", "meaning"), rows)


def _shown(default: object) -> str:
    return f"`{default}`" if default not in (None, "", ()) else "–"


def limits_table() -> str:
    """Return every limits profile with its source, except the profile for tests."""
    profiles = [_limits_row(profile) for profile in PROFILES.values() if profile.name != "test"]
    return table(("profile", "rates of a tenant", "a reply", "a request", "source"), profiles)


def _limits_row(limits: Limits) -> Sequence[str]:
    units = {Kind.CALLS: "calls", Kind.SECONDS: "s running"}
    rates = ", ".join(f"{rate.amount:g} {units[rate.kind]} in {rate.period:g} s" for rate in limits.rates)
    size = f", {limits.reply_bytes / 1e6:g} MB" if limits.reply_bytes else ""
    reply = f"{limits.rows:,} rows{size}"
    return f"`{limits.name}`", rates, reply, f"{limits.request_seconds:g} s", limits.source


def apis_table() -> str:
    """Return every API with its permissions, and its host in each cloud."""
    head = (
        f"`{variable('api')}`",
        "API",
        "application permission",
        "delegated permission",
        "limits",
        "hosts",
    )
    return table(head, map(_api_row, APIS.values()))


def _api_row(api: Api) -> Sequence[str]:
    permissions = f"`{api.application_permission}`", f"`{api.delegated_permission}`"
    hosts = "<br>".join(f"`{cloud}`: {host}" for cloud, host in api.hosts.items())
    return f"`{api.name}`", api.title, *permissions, f"`{api.limits.name}`", hosts


def credentials_table() -> str:
    """Return every credential with its settings, in order of precedence."""
    rows = []
    for credential in CREDENTIALS:
        required = credential.missing({})
        settings = [
            f"`{variable(name)}`{'' if name in required else ' (optional)'}"
            for name in credential.model_fields
        ]
        rows.append((credential.title, ", ".join(settings)))
    return table(("credential", "settings"), rows)


def permission() -> str:
    """Return the paragraph about the permission of the default API."""
    default = next(iter(APIS.values()))
    paragraph = (
        f"Register an app in Entra. Grant it the application permission `{default.application_permission}`"
        f" ({default.title}; [other APIs](docs/operations.md#apis)) with admin consent."
        " Create [a credential](docs/operations.md#credentials) for it. Then run:"
    )
    return fill(paragraph, 120, break_on_hyphens=False)


BLOCKS: Mapping[str, Callable[[], str]] = {
    "settings": settings_table,
    "limits": limits_table,
    "apis": apis_table,
    "credentials": credentials_table,
    "permission": permission,
    **reference_blocks.BLOCKS,
}
"""The generated blocks, by the name in their marks, `<!-- settings -->` and `<!-- /settings -->`."""


def replaced(text: str, name: str, block: str) -> str:
    """Replace the text between the marks of `name` by `block`."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{block}\n{match[2]}", text)


def generated(text: str) -> str:
    """Return a page with the current content of every block."""
    for name, block in BLOCKS.items():
        text = replaced(text, name, block())
    return text


def main() -> None:
    """Rewrite the pages in place."""
    for page in PAGES:
        text = generated(page.read_text("utf-8"))
        if len(sys.argv) > 1:
            lines = Path(sys.argv[1]).read_text("utf-8").strip().splitlines()
            shown = "\n".join(line.rstrip() for line in lines)
            text = replaced(text, "demo", f"```text\n{shown}\n```")
        page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
