"""The tutorial works: its shell blocks run in an empty folder, and give the outputs that the page shows.

A block of the language `console` has commands after `$ `, each with its output. The commands of all
blocks are the input of one shell. `hunting emulate --run bash` starts a second shell, which reads the next
commands. Dates, counts and times differ in each run, so every number counts as the same.
"""

import os
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")

MARK = "-- the next command --"
"""The line before the output of each command."""


def steps() -> list[tuple[str, str]]:
    """Return each command of the page with its output. A command may have a here-document, up to `END`."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            end = part.index("\nEND\n") + 5 if "<<'END'" in part else part.index("\n") + 1
            found.append((part[:end], part[end:]))
    return found


def normalized(output: str) -> str:
    """Replace everything that differs between runs: numbers with their units, paths and breaks of lines."""
    text = re.sub(r"\S*/soc\b", "/soc", output)
    text = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "ID", text)
    text = re.sub(r"\d[\d,.:TZ-]*", "0", text)
    text = re.sub(r"0(?: (?:B|kB|MB|GB|s|min|h)\b)(?: 0 s)?", "0 UNIT", text)
    text = re.sub(r"─+", "─", text)
    text = re.sub(r"ahead of|behind", "off", text)
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return " ".join(line for line, _ in groupby(lines))  # thirty days have five or six weeks


@pytest.mark.slow
def test_the_commands_of_the_tutorial_give_the_shown_outputs(tmp_path: Path) -> None:
    commands = [command for command, _ in steps()]
    script = "".join(f"echo '{MARK}'\n{command}" for command in commands)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("HUNTING_", "DAGSTER_"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash"],
        input=script,
        cwd=tmp_path,
        env=kept | {"PATH": path, "NO_COLOR": "1", "COLUMNS": "120", "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    outputs = done.stdout.split(f"{MARK}\n")[1:]
    assert len(outputs) == len(commands), done.stdout
    for (command, shown), output in zip(steps(), outputs, strict=True):
        assert normalized(output) == normalized(shown), f"{command}\n{output}"
