"""The list of commands. The module of a command is imported only when the command is used.

Therefore `hunting --help` loads neither Arrow nor an HTTP client. To add a command, write a module
`commands/NAME.py` with a function `NAME`, and add one entry to `COMMANDS`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

__all__ = ["COMMANDS", "app", "loaded"]

_STYLE: Mapping[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}


@dataclass(frozen=True, slots=True)
class Command:
    """An entry of the list.

    Attributes:
        help: the text of `hunting NAME --help`. `hunting --help` shows its first sentence.
        context_settings: settings of the command's parser.
    """

    help: str
    context_settings: Mapping[str, bool] = field(default_factory=dict)


_FORWARDING = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Parser settings that accept unknown options, so the command can pass them to another program."""

COMMANDS = {
    "check": Command("Check the lake, the sign-in and each table. The command sends one API call per table."),
    "tables": Command("List the documented tables. The command sends no API call."),
    "plan": Command(
        "Show the size and the cost of a pull."
        " The command counts rows, which takes about one API call per table. It writes nothing."
    ),
    "pull": Command(
        "Fetch missing partitions into the lake."
        " You can stop a pull at any time. The next pull continues from the finished work."
    ),
    "status": Command("Show archived and missing partitions. The command sends no API call."),
    "reconcile": Command(
        "Count archived rows again and fetch the spans that differ. Counting takes one API call per table."
    ),
    "rewrite": Command(
        "Write archived partitions again with another unit of times."
        " The command sends no API call. You can stop it at any time. The next run continues."
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
        _FORWARDING,
    ),
    "demo": Command(
        "Pull thirty days of an emulated tenant and query them."
        " Dagster writes the Parquet files, and DuckDB reads them."
    ),
}


class _Unloaded(TyperCommand):
    """A command whose module is imported when the command is used."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Load the command, and let the command parse its arguments."""
        return loaded(str(self.name)).make_context(info_name, args, parent, **extra)


def loaded(name: str) -> Any:
    """Import a command and return its parser.

    The process now runs only this command. Arrow's allocator is therefore set here, for this process and its
    child processes. Arrow reads the variable only when Arrow is first imported.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    module = import_module(f"hunting_pipeline.cli.commands.{name}")
    parser = typer.Typer(**_STYLE)
    entry = COMMANDS[name]
    register = parser.command(name, help=entry.help, context_settings=dict(entry.context_settings))
    register(getattr(module, name))
    return get_command(parser)


app = typer.Typer(
    name="hunting",
    help="Archive the hunting tables of Microsoft Defender as Parquet. The service keeps only 30 days.",
    no_args_is_help=True,
    **_STYLE,
)

for _name, _command in COMMANDS.items():
    app.command(_name, cls=_Unloaded, help=_command.help)(lambda: None)
