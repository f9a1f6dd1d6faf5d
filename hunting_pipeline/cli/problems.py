"""Errors as the command line reports them: a line on standard error, and an exit code."""

from hunting_pipeline.cli.text import warn
from hunting_pipeline.errors import HuntingError, Misconfigured, QuotaExhausted, Refused, ServiceFailed

__all__ = ["INTERRUPTED", "complain", "exit_code"]

INTERRUPTED = 130
"""Exit code that shells expect of a program which Ctrl-C ended."""


def exit_code(error: HuntingError) -> int:
    """Return 3 for misconfigured or refused, 4 for quota (try later), 5 for service, 6 for data refused."""
    match error:
        case Misconfigured() | Refused():
            return 3
        case QuotaExhausted():
            return 4
        case ServiceFailed():
            return 5
        case _:
            return 6


def complain(error: HuntingError) -> None:
    """Print an error and its notes, a line each."""
    for line in (str(error), *getattr(error, "__notes__", ())):
        warn(f"hunting: {line}")
