"""The order of the tests, and a summary of the chaos runs at the end of a session.

The summary travels in the tests' own reports, so it also arrives from workers of pytest-xdist.
"""

import pytest

from hunting_pipeline import redaction

pytest_plugins = ["object_servers.fixtures", "places"]

_LONG = ("tests/ui/", "tests/assets/test_assets_daemon.py")
"""Files that take minutes. They run first, so no worker of pytest-xdist waits for another at the end."""


@pytest.fixture(autouse=True)
def no_secret_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the secrets of other tests, which may be words that this test expects in a message."""
    monkeypatch.setattr(redaction, "_held", {})


@pytest.fixture(autouse=True)
def no_cache_of_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the caches of tests out of the home of this user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name.startswith("report: ") and getattr(report, "when", "") == "call":
                    terminalreporter.section(name.removeprefix("report: "))
                    for key, figure in value.items():
                        terminalreporter.write_line(f"{key:>8}  {_words(figure)}")


def _words(figure: object) -> str:
    if not isinstance(figure, dict):
        return str(figure)
    ordered = sorted(figure.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {count}" for name, count in ordered) or "none"
