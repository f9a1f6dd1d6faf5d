"""The list of commands. The module of a command is imported only when the command is used.

Therefore `hunting --help` loads neither Arrow nor an HTTP client. To add a command, write a module
`commands/NAME.py` with a function `NAME`, and add one entry to `COMMANDS`.
"""

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module, metadata
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

from hunting_pipeline.cli.log import LogFormat, set_format
from hunting_pipeline.cli.names import Tables

__all__ = ["COMMANDS", "app", "loaded"]

_STYLE: Mapping[str, Any] = {
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}


@dataclass(frozen=True, slots=True)
class Command:
    """An entry of the list.

    Attributes:
        help: the text of `hunting NAME --help`. `hunting --help` shows its first sentence.
        takes_tables: whether the command's arguments are tables, so that a shell can complete them at once.
        context_settings: settings of the command's parser.
    """

    help: str
    takes_tables: bool = False
    context_settings: Mapping[str, bool] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first sentence of the help."""
        return re.split(r"(?<=[.])\s", self.help, maxsplit=1)[0]


_FORWARDING = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Parser settings that accept unknown options, so the command can pass them to another program."""

COMMANDS = {
    "check": Command(
        "Check the lake, the sign-in and each table. The command sends one API call per table.",
        takes_tables=True,
    ),
    "tables": Command(
        "List the documented tables, or the columns of the named tables."
        " With --live, the command sends one API call per table. Otherwise it sends none.",
        takes_tables=True,
    ),
    "plan": Command(
        "Show the size and the cost of a pull."
        " The command counts rows, which takes about one API call per table. It writes nothing.",
        takes_tables=True,
    ),
    "pull": Command(
        "Fetch missing partitions into the lake."
        " You can stop a pull at any time. The next pull continues from the finished work.",
        takes_tables=True,
    ),
    "status": Command(
        "Show archived and missing partitions. The command sends no API call.", takes_tables=True
    ),
    "reconcile": Command(
        "Count archived rows again and fetch the spans that differ. Counting takes one API call per table.",
        takes_tables=True,
    ),
    "rewrite": Command(
        "Write archived partitions again with another unit of times."
        " The command sends no API call. You can stop it at any time. The next run continues.",
        takes_tables=True,
    ),
    "query": Command(
        "Ask a KQL query and print its result, or write it to a file."
        " The calls count in the tenant's quota ledger. A result that one reply does not hold is fetched in"
        " slices of time if this is exact. Otherwise the command fails."
    ),
    "quota": Command(
        "Show how much of the tenant's quota is spent and left."
        " The command also shows the number of calls by each owner."
    ),
    "init": Command(
        "Write a project for your own tables and queries."
        " The command writes a folder of assets, the files that Dagster needs, and a file for settings."
        " It overwrites nothing. Without FOLDER, it writes into the current folder."
    ),
    "emulate": Command(
        "Start an emulated tenant."
        " The command passes unknown options to the emulator: see `python -m hunting_emulator --help`.\n\n"
        "Without --run, the command prints the settings of the emulated tenant and runs until Ctrl-C.",
        context_settings=_FORWARDING,
    ),
    "demo": Command(
        "Pull thirty days of an emulated tenant and query them."
        " Dagster writes the Parquet files, and DuckDB reads them."
    ),
}


class _Unloaded(TyperCommand):
    """A command whose module is imported when the command is used."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Load the command, and let the command parse its arguments.

        The completion of a table's name does not load the command, because this takes seconds. After an
        option, the next word may be its value, so the command is loaded.
        """
        name = str(self.name)
        completing = extra.get("resilient_parsing", False)
        if completing and COMMANDS[name].takes_tables and not (args and args[-1].startswith("-")):
            return super().make_context(info_name, args, parent, **extra)
        return loaded(name).make_context(info_name, args, parent, **extra)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return the completions of a word that is no option's value: an option's name, or a table."""
        if incomplete.startswith("-"):
            command = loaded(str(self.name))
            return command.shell_complete(
                command.make_context(ctx.info_name, [], parent=ctx.parent, resilient_parsing=True), incomplete
            )
        (argument,) = (each for each in _loaded_tables().params if each.name == "tables")
        return argument.shell_complete(ctx, incomplete)


def loaded(name: str) -> Any:
    """Import a command and return its parser.

    The process now runs only this command. Arrow's allocator is therefore set here, for this process and its
    child processes. Arrow reads the variable only when Arrow is first imported.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    module = import_module(f"hunting_pipeline.cli.commands.{name}")
    parser = typer.Typer(add_completion=False, **_STYLE)
    entry = COMMANDS[name]
    register = parser.command(name, help=entry.help, context_settings=dict(entry.context_settings))
    register(getattr(module, name))
    return get_command(parser)


def _loaded_tables() -> Any:
    """Return a parser with the argument TABLE only."""
    parser = typer.Typer(add_completion=False, **_STYLE)

    @parser.command()
    def command(tables: Tables = None) -> None:
        del tables

    return get_command(parser)


app = typer.Typer(
    name="hunting",
    help="Archive the hunting tables of Microsoft Defender as Parquet. The service keeps only 30 days.",
    no_args_is_help=True,
    **_STYLE,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        version = metadata.version("hunting-pipeline")
        typer.echo(f"hunting-pipeline {version}, Python {platform.python_version()}")
        raise typer.Exit


@app.callback()
def _options(
    log_format: Annotated[
        LogFormat, typer.Option(help="form of the lines on standard error: text, or one JSON object each")
    ] = LogFormat.TEXT,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="print the version of the package and of Python",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    del version
    set_format(log_format)


for _name, _command in COMMANDS.items():
    app.command(_name, cls=_Unloaded, help=_command.help, short_help=_command.summary)(lambda: None)
