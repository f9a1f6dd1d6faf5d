"""The steps that several commands share: open the pipeline, pull one table, and stop at Ctrl-C."""

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from hunting_pipeline.cli.problems import INTERRUPTED, Problems
from hunting_pipeline.cli.selection import DateRange
from hunting_pipeline.pipeline import Pipeline, Pull, open_pipeline
from hunting_pipeline.settings import Settings

__all__ = ["date_range", "exiting_at_once", "opened", "run_to_end"]

_MAX_WAIT = 900.0
"""Seconds a command waits for quota at a stretch: the renewal period of the CPU share (15 minutes)."""


def opened(settings: Settings) -> AbstractContextManager[Pipeline]:
    """Open the pipeline with the waiting time of commands."""
    return open_pipeline(settings, max_wait=_MAX_WAIT)


def date_range(pipeline: Pipeline, start: str | None, end: str | None) -> DateRange:
    """Return the range of `--from` and `--to` by the pipeline's clock and retention.

    Raises:
        typer.BadParameter: see `DateRange.of`.
    """
    return DateRange.of(start, end, now=pipeline.now(), retention_days=pipeline.limits.retention_days)


@contextmanager
def exiting_at_once() -> Iterator[None]:
    """End the process at Ctrl-C without waiting for calls in flight, which may take minutes."""

    def leave(*_: object) -> None:
        with suppress(OSError):  # unbuffered: the signal may come in the middle of another line's print
            os.write(2, b"hunting: interrupted; fetched rows are staged, the next run continues with them\n")
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_to_end(pull: Pull, problems: Problems) -> None:
    """Run a pull to its end. An error ends the pull and is noted in `problems`."""
    with problems.noted():
        for _ in pull:
            pass
