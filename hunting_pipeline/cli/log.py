"""The lines on standard error: progress, warnings and errors, as text or as JSON objects.

Each line is a record of the standard library's `logging`. The formatter decides on its form.
"""

import json
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum

from hunting_pipeline.cli.text import visible

__all__ = ["LogFormat", "configure", "fail", "inform", "is_json", "line", "set_format", "warn"]


class LogFormat(StrEnum):
    """The form of the lines."""

    TEXT = "text"
    JSON = "json"


class _Formatter(logging.Formatter):
    """The form of a record.

    Attributes:
        form: the form of each line.
        json_errors: whether errors are JSON objects although other lines are text.
    """

    form = LogFormat.TEXT
    json_errors = False

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; in the form of text, the notes of an error have a line each."""
        message = super().format(record)
        facts = getattr(record, "facts", {})
        if self.form is LogFormat.JSON:
            time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
            return json.dumps(
                {"time": time, "level": record.levelname.lower(), "message": message} | facts, default=str
            )
        if self.json_errors and "error" in facts:
            return json.dumps({"error": facts["error"], "message": message} | facts, default=str)
        if "error" in facts:
            return "\n".join(f"hunting: {visible(each)}" for each in (message, *facts["notes"]))
        return visible(message)


class _StandardError(logging.Handler):
    """A handler that writes to the current standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line without wrapping it."""
        sys.stderr.write(self.format(record) + "\n")
        sys.stderr.flush()


_FORMATTER = _Formatter()
_HANDLER = _StandardError()
_HANDLER.setFormatter(_FORMATTER)
_LOG = logging.getLogger("hunting_pipeline.cli")
_LOG.setLevel(logging.INFO)
_LOG.propagate = False
_LOG.addHandler(_HANDLER)


def configure(*, json_errors: bool) -> None:
    """Send the warnings of all libraries to standard error too, and set the form of errors."""
    logging.basicConfig(level=logging.WARNING, handlers=[_HANDLER])
    _FORMATTER.form, _FORMATTER.json_errors = LogFormat.TEXT, json_errors


def set_format(form: LogFormat) -> None:
    """Set the form of all lines from now on."""
    _FORMATTER.form = form


def is_json(*, errors: bool = False) -> bool:
    """Return whether lines are JSON objects; with `errors`, whether errors are."""
    return _FORMATTER.form is LogFormat.JSON or (errors and _FORMATTER.json_errors)


def inform(message: str, *, table: str = "") -> None:
    """Print a line about the progress."""
    _LOG.info("%s", message, extra={"facts": {"table": table} if table else {}})


def warn(message: str) -> None:
    """Print a warning."""
    _LOG.warning("%s", message)


def fail(error: str, message: str, *, exit_code: int, notes: Sequence[str] = ()) -> None:
    """Print an error. `error` is the name of its class."""
    facts = {"error": error, "exit_code": exit_code, "notes": list(notes)}
    _LOG.error("%s", message, extra={"facts": facts})


def line(message: str) -> bytes:
    """Return a warning as it would be printed, for code that cannot call `warn`."""
    record = _LOG.makeRecord(_LOG.name, logging.WARNING, "", 0, message, (), None)
    return f"{_FORMATTER.format(record)}\n".encode()
