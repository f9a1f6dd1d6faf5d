"""The command line. `main` is the entry point of the `hunting` script."""

from hunting_pipeline.cli.main import main

__all__ = ["main"]
