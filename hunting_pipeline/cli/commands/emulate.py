"""`hunting emulate`: start an emulated tenant, and run a command with its settings."""

import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from hunting_pipeline.cli.emulator import emulated_tenant, storage_in, without_settings
from hunting_pipeline.cli.log import inform
from hunting_pipeline.cli.processes import in_foreground, process_group
from hunting_pipeline.errors import Misconfigured

__all__ = ["emulate"]


def emulate(
    context: typer.Context,
    run: Annotated[
        str,
        typer.Option(metavar="COMMAND", help="run this command with the settings of the tenant, then stop"),
    ] = "",
    home: Annotated[Path, typer.Option(help="folder for the tenant's lake and ledger")] = Path(".emulated"),
) -> None:
    command = _words(run)
    with emulated_tenant(context.args) as variables:
        if command:
            environment = without_settings() | variables | storage_in(home)
            raise typer.Exit(_run_and_wait(command, environment))
        with suppress(KeyboardInterrupt):
            for name, value in (variables | storage_in(home)).items():
                sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
            sys.stdout.flush()
            inform("The emulated tenant is running with these settings. Press Ctrl-C to stop it.")
            threading.Event().wait()


def _words(run: str) -> list[str]:
    """Split a command as a shell does.

    Raises:
        Misconfigured: a quotation mark is missing, or the program does not exist.
    """
    try:
        words = shlex.split(run)
    except ValueError as error:
        raise Misconfigured(f"--run is not a command: {error}. Nothing was run. Correct --run") from error
    if words and not shutil.which(words[0]):
        raise Misconfigured(f"--run names no program: {words[0]}. Nothing was run. Correct --run")
    return words


def _run_and_wait(command: list[str], environment: Mapping[str, str]) -> int:
    """Run a command and return its exit code, as a shell gives it. Ctrl-C is sent to the command."""
    with process_group(command, env=dict(environment)) as process, in_foreground(process):
        while True:
            try:
                code: int = process.wait()
            except KeyboardInterrupt:
                os.killpg(process.pid, signal.SIGINT)
            else:
                return code if code >= 0 else 128 - code
