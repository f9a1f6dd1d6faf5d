"""Steps that several commands share: open the pipeline, pull one table, and stop at Ctrl-C."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import typer

from hunting_pipeline.api import MAX_WAIT
from hunting_pipeline.cli.log import line
from hunting_pipeline.cli.problems import INTERRUPTED, complain, exit_code
from hunting_pipeline.cli.selection import DateRange
from hunting_pipeline.errors import HuntingError, Misconfigured, QuotaExhausted, Refused, ServiceFailed
from hunting_pipeline.model import TableSpec
from hunting_pipeline.pipeline import Pipeline, Pull, open_pipeline
from hunting_pipeline.settings import Settings, naming

__all__ = ["MAX_WAIT", "Problems", "date_range", "exiting_at_once", "opened", "run_to_end"]


def opened(settings: Settings) -> AbstractContextManager[Pipeline]:
    """Open the pipeline with the longest wait of commands."""
    return open_pipeline(settings, max_wait=MAX_WAIT)


def date_range(pipeline: Pipeline, start: str | None, end: str | None) -> DateRange:
    """Return the range of `--from` and `--to`, by the pipeline's clock and retention.

    Raises:
        typer.BadParameter: see `DateRange.of`.
    """
    return DateRange.of(start, end, now=pipeline.now(), retention_days=pipeline.limits.retention_days)


@contextmanager
def exiting_at_once() -> Iterator[None]:
    """End the process at Ctrl-C without waiting for running calls, which may take minutes."""

    said = line("hunting: interrupted. Fetched rows are staged. Run again to continue.")

    def exit_now(*_: object) -> None:
        with suppress(OSError):  # unbuffered: the signal may interrupt a print
            os.write(2, said)
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, exit_now)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Problems:
    """The errors of single tables. After an error, the command continues with the next table.

    It stops only if the next table would fail in the same way. Messages name the variables of `settings`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._errors: list[HuntingError] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Collect an error of the `with` block instead of raising it."""
        try:
            with naming(self._settings):
                yield
        except HuntingError as error:
            self._errors.append(error)

    def extend(self, errors: Iterable[HuntingError]) -> None:
        """Collect errors that were returned instead of raised."""
        for error in errors:
            with self.collected():
                raise error

    def until_fatal(self, specs: Iterable[TableSpec]) -> Iterator[TableSpec]:
        """Yield tables until an error occurs that would also occur for every other table."""
        for spec in specs:
            yield spec
            if self._errors and _is_fatal(self._errors[-1]):
                return

    def report(self) -> None:
        """Print the errors, and end the command with the highest exit code if there are errors.

        Raises:
            typer.Exit: there are errors.
        """
        for error in self._errors:
            complain(error)
        if self._errors:
            raise typer.Exit(max(map(exit_code, self._errors)))


def _is_fatal(error: HuntingError) -> bool:
    """Return whether the next table would fail in the same way."""
    return isinstance(error, QuotaExhausted) or (
        isinstance(error, Misconfigured | Refused | ServiceFailed) and error.everything
    )


def run_to_end(pull: Pull, problems: Problems) -> None:
    """Run a pull to its end. An error ends the pull and is collected in `problems`."""
    with problems.collected():
        for _ in pull:
            pass
