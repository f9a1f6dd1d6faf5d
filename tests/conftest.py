"""What the chaos runs met, printed at the end of a session; it comes with the tests' own reports, so that
workers of pytest-xdist tell it too."""

import pytest


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
