"""`hunting init`: write a project with a defs folder and the files that Dagster needs."""

import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from hunting_pipeline.cli.project import CONFLICTS, project_files
from hunting_pipeline.cli.text import visible
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.limits import GRAPH
from hunting_pipeline.model import SECOND
from hunting_pipeline.window import first_day

__all__ = ["init"]

_NEXT = """
Next:

  hunting emulate --run "dagster dev -w workspace.yaml"   # try the project with an emulated tenant

  export HUNTING_TENANT_ID=… HUNTING_CLIENT_ID=… HUNTING_CLIENT_SECRET=…
  hunting check                                           # test the lake, the sign-in and each table
  dagster dev -w workspace.yaml                           # the tables as assets; you start each request
"""


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="folder of the project")] = Path(),
) -> None:
    files = project_files(first_day(round(time.time() * SECOND), GRAPH.retention_days))
    _refuse_existing(folder, files)
    _write(folder, files)
    lines = [
        f"Wrote {len(files)} files into {visible(str(folder.absolute()))}:",
        *(f"  {name}" for name in files),
    ]
    enter = "" if folder.resolve() == Path.cwd() else f"\n\n  cd {shlex.quote(visible(str(folder)))}"
    sys.stdout.write("\n".join(lines) + "\n" + _NEXT.replace(":\n", f":{enter}\n", 1))


def _refuse_existing(folder: Path, files: Mapping[str, str]) -> None:
    """Raise an error if something exists that the project would replace or join.

    Raises:
        Misconfigured: a file or a folder exists.
    """
    names = dict.fromkeys([*(name.partition("/")[0] for name in files), *CONFLICTS])
    found = [name for name in names if (folder / name).exists() or (folder / name).is_symlink()]
    if found:
        raise Misconfigured(
            f"{folder.absolute()} already has {', '.join(found)}. Nothing was written."
            " Choose another folder: hunting init FOLDER"
        )


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write all files or none.

    Raises:
        Misconfigured: a file cannot be written. Files that were already written are removed.
    """
    written: list[Path] = []
    try:
        for name, text in files.items():
            path = folder / name
            for parent in reversed(path.parents):
                if not parent.exists():
                    parent.mkdir()
                    written.append(parent)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for path in reversed(written):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        raise Misconfigured(
            f"{error.filename or folder} cannot be written: {error.strerror}. No file was left behind."
            " Choose another folder: hunting init FOLDER"
        ) from None
