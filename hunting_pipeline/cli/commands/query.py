"""`hunting query`: ask a KQL query and print its result, or write it to a file."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from hunting_pipeline.api import connect
from hunting_pipeline.cli.export import Format, whole_file, write
from hunting_pipeline.cli.log import warn
from hunting_pipeline.cli.selection import Tenant
from hunting_pipeline.hunt import SUFFIX
from hunting_pipeline.pipeline import Result

__all__ = ["query"]


def query(
    kql: Annotated[
        str,
        typer.Argument(metavar="QUERY", help="KQL, or the path of a file (.kql); `-` reads KQL from stdin"),
    ],
    form: Annotated[Format, typer.Option("--format", help="the form of the rows")] = Format.TABLE,
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="file to write, whole or not at all; default: stdout")
    ] = None,
    allow_truncated: Annotated[
        bool,
        typer.Option("--allow-truncated", help="accept missing rows if the result cannot be cut by time"),
    ] = False,
    tenant: Tenant = "",
) -> None:
    if form is Format.PARQUET and out is None:
        raise typer.BadParameter("--format parquet needs --out PATH")
    if form is Format.TABLE and out is not None:
        raise typer.BadParameter("--out needs --format csv, json, ndjson or parquet")
    text = _query_of(kql)
    with (
        whole_file(out) if out else nullcontext(sys.stdout.buffer) as file,  # first: calls cost quota
        connect(tenant) as hunting,
    ):
        result = hunting.query(text, allow_truncated=allow_truncated)
        write(result, form, file, out or Path("stdout"))
    _warn(result)


def _query_of(word: str) -> str | Path:
    if word == "-":
        return sys.stdin.read()
    return Path(word) if word.endswith(SUFFIX) or os.path.isfile(word) else word  # noqa: PTH113 # KQL is no path


def _warn(result: Result) -> None:
    """Say on standard error which rows the result does not hold."""
    if result.truncated:
        warn(f"hunting: the result is truncated at {result.rows:,} rows, so rows are probably missing")
    if result.outside:
        warn(
            f"hunting: {result.outside:,} rows are left out, because their time is outside {result.window}:"
            " they are too young to be complete, or about to be deleted"
        )
