"""Report errors on the command line: on standard error, and as an exit code."""

from hunting_pipeline.cli.log import fail
from hunting_pipeline.errors import (
    HuntingError,
    LakeBusy,
    Misconfigured,
    QuotaExhausted,
    Refused,
    ServiceFailed,
)

__all__ = ["INTERRUPTED", "complain", "exit_code"]

INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended, by the convention of shells: 128 + SIGINT."""


def exit_code(error: HuntingError) -> int:
    """Return 3 for a wrong setting or a refusal, 4 for quota, 5 to run again, else 6."""
    match error:
        case Misconfigured() | Refused():
            return 3
        case QuotaExhausted():
            return 4
        case ServiceFailed() | LakeBusy():
            return 5
        case _:
            return 6


def complain(error: HuntingError) -> None:
    """Print an error and its notes."""
    notes = getattr(error, "__notes__", ())
    fail(type(error).__name__, str(error), exit_code=exit_code(error), notes=notes)
