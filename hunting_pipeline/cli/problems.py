"""Errors as the command line reports them: a line on standard error, and an exit code."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import typer

from hunting_pipeline.cli.text import warn
from hunting_pipeline.errors import HuntingError, Misconfigured, QuotaExhausted, Refused, ServiceFailed
from hunting_pipeline.model import TableSpec

__all__ = ["INTERRUPTED", "Problems", "complain", "exit_code"]

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


class Problems:
    """The errors of single tables. They do not stop the next table, unless it would fail in the same way."""

    def __init__(self) -> None:
        self._errors: list[HuntingError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note an error of the block instead of raising it."""
        try:
            yield
        except HuntingError as error:
            self._errors.append(error)

    def while_hopeful(self, specs: Iterable[TableSpec]) -> Iterator[TableSpec]:
        """Yield tables until one has failed in a way in which every other would fail too."""
        for spec in specs:
            yield spec
            if self._errors and _hopeless(self._errors[-1]):
                return

    def report(self) -> None:
        """Print the errors and end the command with the highest exit code, if there are any.

        Raises:
            typer.Exit: there are errors.
        """
        for error in self._errors:
            complain(error)
        if self._errors:
            raise typer.Exit(max(map(exit_code, self._errors)))


def _hopeless(error: HuntingError) -> bool:
    """Return whether the next table would fail in the same way."""
    return isinstance(error, Misconfigured | QuotaExhausted) or (
        isinstance(error, Refused) and error.everything
    )
