"""`hunting emulate`: start an emulated tenant, and run a command on this tenant."""

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
        str, typer.Option(metavar="COMMAND", help="run this command on the emulated tenant, then stop")
    ] = "",
    home: Annotated[Path, typer.Option(help="folder of that command's lake and ledger")] = Path(".emulated"),
) -> None:
    with emulated_tenant(context.args) as variables:
        if run:
            environment = without_settings() | variables | storage_in(home)
            raise typer.Exit(_run_to_its_end(shlex.split(run), environment))
        with suppress(KeyboardInterrupt):
            for name, value in (variables | storage_in(home)).items():
                sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
            sys.stdout.flush()
            warn("an emulated tenant is running with these settings; Ctrl-C stops it")
            threading.Event().wait()


def _run_to_its_end(command: list[str], environment: Mapping[str, str]) -> int:
    """Run a command and return its exit code.

    Ctrl-C reaches the command too. This process waits until the command has ended.
    """
    with subprocess.Popen(command, env=dict(environment)) as process:
        while True:
            with suppress(KeyboardInterrupt):
                return process.wait()
