"""The list of commands. The module of a command is imported when the command is used.

So `hunting --help` loads neither Arrow nor an HTTP client. A new command is a module `commands/NAME.py` with
a function `NAME`, and one entry in `COMMANDS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

__all__ = ["COMMANDS", "app"]

_STYLE: Mapping[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}


@dataclass(frozen=True, slots=True)
class Command:
    """An entry of the list.

    Attributes:
        help: the text of `hunting NAME --help`. Its first sentence stands in `hunting --help`.
        context_settings: settings of the command's parser.
    """

    help: str
    context_settings: Mapping[str, bool] = field(default_factory=dict)


_FORWARDING = {"allow_extra_args": True, "ignore_unknown_options": True}
"""Parser settings that leave unknown options to another program."""

COMMANDS = {
    "check": Command("Check the lake, the sign-in and each table. Sends one call per table."),
    "tables": Command("List the known tables. Sends no call."),
    "plan": Command(
        "Show how much a pull would fetch and cost."
        " Counting takes about one call per table. Nothing is written."
    ),
    "pull": Command(
        "Fetch missing partitions into the lake."
        " It is safe to stop a pull and to run it again: finished work is kept."
    ),
    "status": Command("Show archived and missing partitions. Sends no call."),
    "reconcile": Command(
        "Count archived partitions again and fetch what differs."
        " Counting takes one call per table. Only the spans that differ are fetched."
    ),
    "quota": Command("Show the tenant's quota: how much is spent and left. Names who spent it."),
    "emulate": Command(
        "Start an emulated tenant."
        " Other options go to the emulator: see `python -m hunting_emulator --help`.\n\n"
        "Without --run, the command prints the settings of the emulated tenant. It runs until Ctrl-C.",
        _FORWARDING,
    ),
    "demo": Command(
        "Pull thirty days of an emulated tenant and query them."
        " Dagster writes the Parquet files, DuckDB reads them."
    ),
}


class _Unloaded(TyperCommand):
    """A command whose module is imported when the command is used."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Load the command, and let the command parse its arguments."""
        return _loaded(str(self.name)).make_context(info_name, args, parent, **extra)


def _loaded(name: str) -> Any:
    module = import_module(f"hunting_pipeline.cli.commands.{name}")
    alone = typer.Typer(**_STYLE)
    known = COMMANDS[name]
    alone.command(name, help=known.help, context_settings=dict(known.context_settings))(getattr(module, name))
    return get_command(alone)


app = typer.Typer(
    name="hunting",
    help="Archive Microsoft Defender's hunting tables beyond their 30 days: complete, typed, as Parquet.",
    no_args_is_help=True,
    **_STYLE,
)

for _name, _command in COMMANDS.items():
    app.command(_name, cls=_Unloaded, help=_command.help)(lambda: None)
