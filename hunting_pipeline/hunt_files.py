"""A `.kql` file: a header of comments, then a person's query. Everything is checked when it is read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from dagster._utils.schedules import is_valid_cron_string

from hunting_pipeline import catalog
from hunting_pipeline.apis import APIS
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.hunt import Hunt
from hunting_pipeline.kql import literals
from hunting_pipeline.kql.hunts import read_hunt
from hunting_pipeline.kql.reading import Unsliceable
from hunting_pipeline.lake.layout import lake_names
from hunting_pipeline.model import DAY, HOUR, SECOND, Column, Grain, TableSpec
from hunting_pipeline.window import SETTLING

__all__ = ["MANUAL", "HuntFile", "hunt_file"]

MANUAL = "manual"
"""The `schedule` of a hunt that only people start."""

_LAKE_PREFIX = "hunt-"
"""Before a hunt's name in the lake: no table's name holds a hyphen, so none is ever mistaken for a hunt."""

_NONE = "none"

_LATE = 3 * HOUR
"""Ticks after which a hunt is taken whose rows late ones would change unseen: most have come by then."""

_ALIKE, _LIKELY = 0.8, 0.6
"""Likeness, of 1, at which any word before a colon is taken for a misspelt key (`schedul`, not `source`), and
at which one that stands as a key is."""

_BYTES_PER_ROW = 500
"""First guess of a row's JSON: a person who asks a question mostly asks for few columns."""


@dataclass(frozen=True, slots=True)
class HuntFile:
    """One hunt.

    Attributes:
        path: of the file.
        name: of its asset.
        description: Markdown; empty if the header has none.
        schedule: a cron expression; `manual`; None for what tables do.
        text: of the query, as the file has it.
        spec: what the pipeline is told.
    """

    path: Path
    name: str
    description: str
    schedule: str | None
    text: str
    spec: TableSpec

    @property
    def hunt(self) -> Hunt:
        """What was read of the query."""
        assert self.spec.hunt is not None  # noqa: S101 # by `hunt_file`
        return self.spec.hunt


@dataclass(frozen=True, slots=True)
class _Value:
    text: str
    line: int


def hunt_file(path: Path) -> HuntFile:
    """Read one file.

    Raises:
        Misconfigured: the header or the query is wrong; the message names file and line.
    """
    text = _text(path)
    header = _header(path, text)
    chosen = {key: _checked(path, key, value) for key, value in header.items()}
    name = str(chosen.get("name", path.stem))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        line = header["name"].line if "name" in header else 1
        raise _wrong(path, line, f"{name!r} is no name: letters, digits and underscores only. Say `// name:`")
    if name in catalog.catalog():
        raise _wrong(path, header["name"].line if "name" in header else 1, f"{name} is a table's name")
    time_column, grain = str(chosen.get("time", "Timestamp")), Grain(str(chosen.get("grain", Grain.DAY)))
    snapshot = time_column == _NONE
    if snapshot and grain is Grain.HOUR:
        raise _wrong(path, header["grain"].line, "without a time it is a snapshot a day, not an hour")
    try:
        hunt = read_hunt(text, None if snapshot else time_column, _documented)
    except Unsliceable as error:
        raise _wrong(path, error.line, error.reason) from None
    if grain.ticks % hunt.step:
        raise _wrong(
            path, header["grain"].line, f"its rows stand for more than one {grain}: use `grain: day`"
        )
    api = chosen.get("api")
    spec = TableSpec(
        name=_LAKE_PREFIX + name,
        time_column=None if snapshot else time_column,
        grain=grain,
        bytes_per_row=_BYTES_PER_ROW,
        hunt=replace(
            hunt,
            settle=int(str(chosen.get("settle", _LATE if hunt.late_rows_rewrite else SETTLING))),
            api=str(api) if api else None,
        ),
    )
    schedule = chosen.get("schedule")
    return HuntFile(
        path, name, str(chosen.get("description", "")), str(schedule) if schedule else None, text, spec
    )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _wrong(path, line, "the file is not UTF-8: save it as such") from None


def _header(path: Path, text: str) -> Mapping[str, _Value]:
    """What the comments at the top say; a description goes on to the next key or blank line."""
    found: dict[str, _Value] = {}
    among_keys = True
    for number, line in enumerate(text.splitlines(), 1):
        comment = line.strip()
        if comment and not comment.startswith("//"):
            break
        match = re.fullmatch(r"//\s*([A-Za-z]+)\s*:\s*(.*)", comment)
        key = match[1].lower() if match else ""
        if match and key in _CHECKS:
            if key in found:
                raise _wrong(path, number, f"{key} is said twice")
            found[key] = _Value(match[2], number)
        elif match and (hint := _mistaken(comment, key, among_keys=among_keys)):
            raise _wrong(path, number, f"the header has no {match[1]!r}; {hint}")
        elif comment and among_keys and list(found)[-1:] == ["description"]:
            before = found["description"]
            found["description"] = replace(before, text=f"{before.text}\n{comment[2:].strip()}".strip())
        among_keys = key in _CHECKS or (among_keys and comment != "")
    return found


def _mistaken(comment: str, key: str, *, among_keys: bool) -> str | None:
    """What to write instead, if the comment was meant to be a key: like one, or written as one among them."""
    as_a_key = among_keys and re.fullmatch(r"//\s*[a-z]+:(\s.*)?", comment)
    if near := get_close_matches(key, _CHECKS, n=1, cutoff=_LIKELY if as_a_key else _ALIKE):
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(_CHECKS)}" if as_a_key else None


def _checked(path: Path, key: str, value: _Value) -> object:
    try:
        return _CHECKS[key](value.text)
    except (Misconfigured, ValueError) as error:
        raise _wrong(path, value.line, f"{key}: {error}") from None


def _cron(text: str) -> str:
    if text != MANUAL and not is_valid_cron_string(text):
        raise ValueError(f"{text!r} is neither a cron expression nor `{MANUAL}`")
    return text


def _grain(text: str) -> Grain:
    if text not in list(Grain):
        raise ValueError(f"{text!r} is neither {' nor '.join(Grain)}")
    return Grain(text)


def _time(text: str) -> str:
    if lake_names([Column(text, "datetime")]) != (text,):
        raise ValueError(f"the lake has folders of the name {text.lower()!r}: call the column something else")
    return literals.name(text)


def _settle(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d*[mhd]", text):
        raise ValueError(f"{text!r} is no length of time such as 30m, 6h or 1d")
    return int(text[:-1]) * {"m": 60 * SECOND, "h": HOUR, "d": DAY}[text[-1]]


def _api(text: str) -> str:
    if text not in APIS:
        raise ValueError(f"there is no API {text!r}; choose one of {', '.join(APIS)}")
    return text


_CHECKS: Mapping[str, Callable[[str], object]] = {
    "name": str,
    "description": str,
    "grain": _grain,
    "time": _time,
    "settle": _settle,
    "schedule": _cron,
    "api": _api,
}
"""The keys of a header, and what reads their values."""


def _documented(table: str) -> frozenset[str] | None:
    known = catalog.catalog().get(table)
    return frozenset(column.name for column in known.columns) if known else None


def _wrong(path: Path, line: int, reason: str) -> Misconfigured:
    return Misconfigured(f"{path}:{line}: {reason}")
