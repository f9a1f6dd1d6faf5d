"""The entry point of `hunting`. It prints each error of the package and sets the exit code."""

import sys

import typer

from hunting_pipeline.cli.app import app
from hunting_pipeline.cli.log import configure, fail, is_json
from hunting_pipeline.cli.problems import INTERRUPTED, complain, exit_code
from hunting_pipeline.errors import HuntingError

__all__ = ["main"]


def main() -> None:
    """Run `hunting` and end the process."""
    configure(json_errors="--json" in sys.argv)
    try:
        sys.exit(app(prog_name="hunting", standalone_mode=False))
    except HuntingError as error:
        from hunting_pipeline.settings import name_settings  # noqa: PLC0415 # slow to import

        name_settings(error)
        complain(error)
        sys.exit(exit_code(error))
    except typer.TyperException as error:
        _complain_of_usage(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _complain_of_usage(error: typer.TyperException) -> None:
    """Print a wrong option or argument. In the form of text, the usage of the command comes first."""
    if is_json(errors=True):
        fail(type(error).__name__, error.format_message(), exit_code=error.exit_code)
    else:
        error.show()  # type: ignore[attr-defined] # only the error of a wrong usage comes here


if __name__ == "__main__":
    main()
