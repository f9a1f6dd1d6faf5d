"""`hunting emulate`: start an emulated tenant, and run a command with its settings."""

import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from hunting_pipeline.cli.emulator import emulated_tenant, storage_in, without_settings
from hunting_pipeline.cli.text import warn

__all__ = ["emulate"]


def emulate(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Option(metavar="COMMAND", help="run this command with the settings of the tenant, then stop"),
    ] = "",
    home: Annotated[Path, typer.Option(help="folder for the tenant's lake and ledger")] = Path(".emulated"),
) -> None:
    with emulated_tenant(context.args) as variables:
        if run:
            environment = without_settings() | variables | storage_in(home)
            raise typer.Exit(_run_and_wait(shlex.split(run), environment))
        with suppress(KeyboardInterrupt):
            for name, value in (variables | storage_in(home)).items():
                sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
            sys.stdout.flush()
            warn("The emulated tenant is running with these settings. Press Ctrl-C to stop it.")
            threading.Event().wait()


def _run_and_wait(command: list[str], environment: Mapping[str, str]) -> int:
    """Run a command and return its exit code.

    The command receives Ctrl-C too. This process waits until the command has ended.
    """
    with subprocess.Popen(command, env=dict(environment)) as process:
        while True:
            with suppress(KeyboardInterrupt):
                return process.wait()
