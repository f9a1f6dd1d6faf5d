"""The architecture, the errors and the limits, as they are written down."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hunting_pipeline import errors, limits
from hunting_pipeline.apis import APIS

ROOT = Path(__file__).parents[2]


def test_rooms_keep_to_their_layers() -> None:
    """Every module has a declared place, and imports only what its place allows."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "broken" in done.stdout, "the report was not printed"


def _drawn() -> dict[str, str | None]:
    """Each error in the tree at the top of the file, and what it hangs from."""
    found: dict[str, str | None] = {}
    root = None
    for line in str(errors.__doc__).splitlines():
        if named := re.match(r"    (├── |└── )?([A-Z]\w+)", line):
            found[named[2]] = root if named[1] else None
            root = root or named[2]
    return found


def test_the_errors_are_those_that_are_drawn() -> None:
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
