"""The argument TABLE of commands: its completion in a shell, and a check for misspelt names.

Importing this module loads no data library, so that completion is fast.
"""

from typing import Annotated, Any

import typer

from hunting_pipeline.catalog import catalog, entry
from hunting_pipeline.hunt import SUFFIX

__all__ = ["Documented", "Tables"]


def _matching(incomplete: str) -> list[str]:
    """Return the tables whose names begin with a text."""
    return [name for name in catalog() if name.startswith(incomplete)]


def _checked(names: list[str] | None) -> list[str] | None:
    """Check the names of tables, before any setting is read.

    Raises:
        Misconfigured: there is no such table; the message names similar tables.
    """
    for name in names or ():
        if not name.endswith(SUFFIX):
            entry(name)
    return names


def _argument(meaning: str) -> Any:
    return typer.Argument(metavar="TABLE", help=meaning, autocompletion=_matching, callback=_checked)


Tables = Annotated[
    list[str] | None,
    _argument("names of tables, or paths of hunt files (.kql); default: all configured tables"),
]
Documented = Annotated[list[str] | None, _argument("names of tables; default: a list of all tables")]
