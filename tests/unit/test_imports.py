"""Importing the package is free of side effects, and a command loads only what the command needs."""

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from inspect import isfunction

import pytest

from hunting_pipeline.cli.app import COMMANDS

HEAVY = frozenset({"dagster", "httpx", "msal", "numba", "numpy", "pandas", "pyarrow"})

_POOL = "ARROW_DEFAULT_MEMORY_POOL"
"""Set by the code location, so perhaps by an earlier test of this process."""

_PROBE = """
import json, os, sys
before = dict(os.environ)
try:
    {code}
except SystemExit as end:
    assert not end.code, end.code
loaded = sorted({{name.partition(".")[0] for name in sys.modules}})
changed = sorted({{name for name, _ in before.items() ^ os.environ.items()}})
print(json.dumps([loaded, changed]), file=sys.stderr)
"""


def run(code: str) -> tuple[str, set[str], list[str]]:
    """Return what a fresh process prints, the top-level packages that it loads, and variables it changes."""
    environment = {name: value for name, value in os.environ.items() if name != _POOL}
    program = [sys.executable, "-c", _PROBE.format(code=code)]
    done = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
    loaded, changed = json.loads(done.stderr.splitlines()[-1])
    return done.stdout, set(loaded), changed


def hunting(*words: str) -> str:
    return f"from hunting_pipeline.cli.main import main; sys.argv = {['hunting', *words]!r}; main()"


@pytest.mark.parametrize(
    "code",
    [
        "import hunting_pipeline",
        "import hunting_pipeline.errors",
        "import hunting_pipeline.model, hunting_pipeline.catalog",
        hunting("--help"),
        hunting("--version"),
    ],
)
def test_code_without_data_loads_no_data_library_and_changes_no_variable(code: str) -> None:
    _, loaded, changed = run(code)
    assert "hunting_pipeline" in loaded
    assert (loaded & HEAVY, changed) == (set(), [])


def test_a_shell_completes_tables_without_a_data_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_HUNTING_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "hunting pull AlertI")
    monkeypatch.setenv("COMP_CWORD", "2")
    shown, loaded, changed = run(hunting())
    assert shown.split() == ["AlertInfo"]
    assert (loaded & HEAVY, changed) == (set(), [])


def test_the_front_door_is_loaded_at_its_first_use() -> None:
    _, loaded, changed = run("from hunting_pipeline import Hunting, Result, connect; import hunting_pipeline")
    assert "pyarrow" in loaded
    assert changed == []
    exported = "[getattr(hunting_pipeline, name) for name in hunting_pipeline.__all__]"
    assert "dagster" not in run(f"import hunting_pipeline; {exported}")[1]


def test_settings_load_no_data_library() -> None:
    """A wrong setting is named at once."""
    _, loaded, _ = run("import hunting_pipeline.settings")
    assert not loaded & {"dagster", "numba", "numpy", "pandas", "pyarrow"}


def test_a_pipeline_in_another_program_changes_no_variable() -> None:
    _, loaded, changed = run("import hunting_pipeline.pipeline")
    assert "pyarrow" in loaded
    assert changed == []


def test_a_command_loads_no_data_library_before_it_needs_one_and_chooses_its_allocator() -> None:
    _, loaded, changed = run(hunting("tables", "--json"))
    assert loaded & HEAVY == set()
    assert changed == [_POOL]


def test_an_open_pipeline_allocates_by_the_system_and_an_import_does_not() -> None:
    code = (
        "import pyarrow as pa; from hunting_pipeline.pipeline.memory import free_at_once;"
        " print(pa.default_memory_pool().backend_name); free_at_once();"
        " print(pa.default_memory_pool().backend_name)"
    )
    before, after = run(code)[0].split()
    assert before != "system"
    assert after == "system"


def test_help_lists_every_command_with_the_first_sentence_of_its_help() -> None:
    lines = run(hunting("--help"))[0].partition("Commands:\n")[2].splitlines()
    sentences = {name: re.match(r"[^.]*\.", command.help) for name, command in COMMANDS.items()}
    assert [tuple(line.split(maxsplit=1)) for line in lines] == [
        (name, sentence and sentence[0]) for name, sentence in sentences.items()
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_module_with_a_function_of_its_name(name: str) -> None:
    assert isfunction(getattr(import_module(f"hunting_pipeline.cli.commands.{name}"), name))
