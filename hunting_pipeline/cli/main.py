"""The entry point of `hunting`. It prints each error of the package as one line and sets the exit code."""

import logging
import sys

from hunting_pipeline.cli.app import app
from hunting_pipeline.cli.problems import INTERRUPTED, complain, exit_code
from hunting_pipeline.errors import HuntingError

__all__ = ["main"]


def main() -> None:
    """Run `hunting` and end the process."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app()
    except HuntingError as error:
        from hunting_pipeline.settings import name_settings  # noqa: PLC0415 # slow to import

        name_settings(error)
        complain(error)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
