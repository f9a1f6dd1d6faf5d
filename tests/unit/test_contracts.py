"""The architecture, the errors and the limits equal their documentation."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hunting_pipeline import errors, limits
from hunting_pipeline.apis import APIS

ROOT = Path(__file__).parents[2]
PACKAGES = ("hunting_pipeline", "hunting_emulator")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
LONGEST_MODULE = 400
LONGEST_BODY = 50
SHORTEST_MODULE = 25

LONG = {"hunting_pipeline.decode.scan": "numba compiles it as one unit, without objects"}
SHORT = {
    "hunting_pipeline.definitions": "an entry point: Dagster loads it by its name",
    "hunting_emulator.kql.errors": "the one error of the room: in another module it would close a circle",
}
"""Modules that are shorter than the rest on purpose, and why. Packages' `__init__` are not counted."""
REGISTRIES = tuple(
    f"hunting_pipeline.{name}" for name in ("apis", "auth", "cli.commands", "lake.stores", "publish")
)
"""Packages whose modules are one registry entry each, which may be short."""


def test_rooms_keep_to_their_layers() -> None:
    """Every module has a declared place, and imports only what its place allows."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "broken" in done.stdout, "the report was not printed"


def _imported(module: str, path: Path) -> Iterator[str]:
    """Yield our modules that a module imports, also in a function or for type checking only.

    Import statements of a package count as those of its `__init__`. A name that is a submodule counts as
    this submodule, any other name as the module that the name comes from.
    """
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield from [submodule] if submodule in MODULES else {str(node.module)} & MODULES.keys()


def _circles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the sets of modules that import each other, directly or through others."""

    def reached(module: str) -> set[str]:
        found: set[str] = set()
        waiting = [*graph[module]]
        while waiting:
            if (one := waiting.pop()) not in found:
                found.add(one)
                waiting += graph[one]
        return found

    reach = {module: reached(module) for module in graph}
    circles = [{other for other in reach[module] if module in reach[other]} for module in graph]
    return [circle for number, circle in enumerate(circles) if circle and circle not in circles[:number]]


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Lazy imports and imports for type checking count too."""
    graph = {module: {*_imported(module, path)} for module, path in MODULES.items()}
    assert "hunting_pipeline.cli.app" in graph["hunting_pipeline.cli.main"]
    assert not _circles(graph)
    assert _circles(graph | {"hunting_pipeline.ticks": {"hunting_pipeline.model"}}) == [
        {"hunting_pipeline.ticks", "hunting_pipeline.model"}
    ]


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_neither_long_nor_wrappers(module: str) -> None:
    lines = len(MODULES[module].read_text("utf-8").splitlines())
    assert lines <= LONGEST_MODULE or module in LONG
    if (
        MODULES[module].name not in {"__init__.py", "__main__.py"}
        and module.rpartition(".")[0] not in REGISTRIES
    ):
        assert lines >= SHORTEST_MODULE or module in SHORT


@pytest.mark.parametrize("module", MODULES)
def test_bodies_of_functions_are_short(module: str) -> None:
    found = []
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node, clean=False) is not None
            body = node.body[1:] if documented else node.body
            if body and body[-1].end_lineno - body[0].lineno >= LONGEST_BODY:  # type: ignore[operator]
                found.append(f"{node.name} at line {node.lineno}")
    assert not found or module in LONG


def _drawn() -> dict[str, str | None]:
    """Return each error in the tree at the top of the file, with its parent."""
    found: dict[str, str | None] = {}
    root = None
    for line in str(errors.__doc__).splitlines():
        if named := re.match(r"    (├── |└── )?([A-Z]\w+)", line):
            found[named[2]] = root if named[1] else None
            root = root or named[2]
    return found


def test_the_drawn_tree_equals_the_errors_of_the_module() -> None:
    drawn = _drawn()
    assert {*errors.__all__} - {"setting"} == set(drawn)
    defined = {
        name
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if value.__module__ == errors.__name__
    }
    assert defined == set(drawn)
    for name, parent in drawn.items():
        assert getattr(errors, name).__base__.__name__ == (parent or "Exception")


@pytest.mark.parametrize("profile", list(limits.PROFILES.values()), ids=lambda profile: profile.name)
def test_every_limit_profile_has_its_source_and_can_be_met(profile: limits.Limits) -> None:
    assert re.search(r"20\d\d|tests", profile.source), "a source has its date"
    assert profile.rows > 1
    assert profile.rates
    assert all(rate.amount > 0 and rate.period > 0 for rate in profile.rates)
    assert (profile.request_seconds > 0, profile.retention_days) == (True, 30)


def test_profiles_are_named_as_the_apis_are() -> None:
    assert {api.limits for api in APIS.values()} <= set(limits.PROFILES.values())
    assert all(name == profile.name for name, profile in limits.PROFILES.items())
    with pytest.raises(TypeError):
        limits.PROFILES["mine"] = limits.TEST  # type: ignore[index]
