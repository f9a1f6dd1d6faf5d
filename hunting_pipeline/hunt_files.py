"""A hunt file: a header of comments, then your query. The file is checked when it is read.

Only the cron expression of `schedule` is checked later, by `orchestration`, because this module works without
Dagster.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from hunting_pipeline import catalog
from hunting_pipeline.apis import APIS
from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.hunt import Hunt
from hunting_pipeline.kql import literals
from hunting_pipeline.kql.hunts import read_hunt
from hunting_pipeline.kql.lineage import Origins, tables_read, unchanged_columns
from hunting_pipeline.kql.reading import Unsliceable, parse_pipeline, parse_query
from hunting_pipeline.lake.layout import lake_names
from hunting_pipeline.model import DAY, HOUR, SECOND, Column, Grain, TableSpec
from hunting_pipeline.window import SETTLING

__all__ = ["MANUAL", "HuntFile", "QueryText", "hunt_file", "query_file"]

MANUAL = "manual"
"""The `schedule` of a hunt that is only started by hand."""

_LAKE_PREFIX = "hunt-"
"""The prefix of a hunt's name in the lake. The name of a table has no hyphen, so the two cannot collide."""

_NONE = "none"

_SETTLING_OF_SUMMARIES = 3 * HOUR
"""The settling delay in ticks if late rows can change values of the hunt. By then most rows have arrived."""

_SIMILAR, _SIMILAR_AMONG_KEYS = 0.8, 0.6
"""The similarity (0 to 1) from which a word before a colon counts as a misspelt key. The lower one is for a
word in lower case that stands among keys. `schedul` is a misspelt key, `source` is not."""

_TIMES = ("Timestamp", "TimeGenerated", "ActivityTimestamp")
"""The usual names of a time column, in the order in which a query is cut by them."""

_KEY = rf"//{literals.BLANK}*([A-Za-z]+){literals.BLANK}*:{literals.BLANK}*(.*)"

_BYTES_PER_ROW = 500
"""The first estimate of a row's size in JSON. Most hunts return few columns."""


@dataclass(frozen=True, slots=True)
class HuntFile:
    """One hunt.

    Attributes:
        path: the path of the file.
        name: the name of the hunt's asset.
        description: a text; empty if the header has none.
        schedule: a cron expression, not yet checked; `manual`; None for the schedule of tables.
        text: the text of the file.
        lines: the line of each key in the header, from 1.
        spec: the table that the pipeline pulls.
    """

    path: Path
    name: str
    description: str
    schedule: str | None
    text: str
    lines: Mapping[str, int]
    spec: TableSpec

    @property
    def hunt(self) -> Hunt:
        """The hunt that was read from the query."""
        assert self.spec.hunt is not None  # noqa: S101 # by `hunt_file`
        return self.spec.hunt

    @property
    def tables(self) -> tuple[str, ...]:
        """The documented tables that the query reads."""
        return tables_read(self.text, _documented_columns)

    @property
    def unchanged(self) -> tuple[str, Origins]:
        """The table of the query, and the table's column of each column that the query hands on unchanged."""
        return unchanged_columns(self.text, _documented_columns)

    def error(self, key: str, reason: str) -> Misconfigured:
        """Return an error about a key of the header, with file and line."""
        return _error(self.path, self.lines.get(key, 1), reason)


@dataclass(frozen=True, slots=True)
class QueryText:
    """A query that is asked once and not archived.

    Attributes:
        text: the KQL.
        time_column: the time column of the result, from the header of a file; None if there is no such key.
        settled: whether the header has the key `settle`. Then a row may come long after its time.
    """

    text: str
    time_column: str | None = None
    settled: bool = False

    def sliced(self, times: Sequence[str]) -> TableSpec:
        """Return the query as a table that can be cut into slices of time.

        Without a time column in the header, it is the first column by which the query can be cut.

        Args:
            times: the datetime columns of the result, if they are known.

        Raises:
            Unsliceable: the query cannot be cut by time exactly.
        """
        if self.time_column == _NONE:
            raise Unsliceable(1, "the header has `time: none`")
        _refuse_order(self.text)
        usual = [name for name in _TIMES if name in times or not times]
        candidates = [self.time_column] if self.time_column else [*usual, *times]
        reasons = []
        for column in dict.fromkeys(candidates or _TIMES[:1]):
            try:
                hunt = read_hunt(self.text, column, _documented_columns, settled=self.settled)
            except Unsliceable as error:
                reasons.append(error)
            else:
                return TableSpec("query", column, bytes_per_row=_BYTES_PER_ROW, hunt=hunt)
        raise reasons[0]


@dataclass(frozen=True, slots=True)
class _Value:
    text: str
    line: int


def hunt_file(path: Path) -> HuntFile:
    """Read one file.

    Raises:
        Misconfigured: the file cannot be read, or the header or the query is wrong. The message names file
            and line.
    """
    text = _text(path)
    header = _header(path, text)
    chosen = {key: _checked(path, key, value) for key, value in header.items()}
    lines = {key: value.line for key, value in header.items()}
    name = _name(path, str(chosen.get("name", path.stem)), lines.get("name", 1))
    time_column, grain = str(chosen.get("time", "Timestamp")), Grain(str(chosen.get("grain", Grain.DAY)))
    snapshot = time_column == _NONE
    if snapshot and grain is Grain.HOUR:
        raise _error(
            path, lines["grain"], "a hunt without a time is archived once a day: remove `grain: hour`"
        )
    try:
        settled = "settle" in chosen
        hunt = read_hunt(text, None if snapshot else time_column, _documented_columns, settled=settled)
    except Unsliceable as error:
        raise _error(path, error.line, error.reason) from None
    if grain.ticks % hunt.step:
        raise _error(path, lines["grain"], f"each row summarizes more than one {grain}: use `grain: day`")
    settle = chosen.get("settle", _SETTLING_OF_SUMMARIES if hunt.late_rows_rewrite else SETTLING)
    api, schedule = chosen.get("api"), chosen.get("schedule")
    spec = TableSpec(
        name=_LAKE_PREFIX + name,
        time_column=None if snapshot else time_column,
        grain=grain,
        bytes_per_row=_BYTES_PER_ROW,
        hunt=replace(hunt, settle=int(str(settle)), api=str(api) if api else None),
    )
    description = str(chosen.get("description", ""))
    return HuntFile(path, name, description, None if schedule is None else str(schedule), text, lines, spec)


def query_file(path: Path) -> QueryText:
    """Read a query from a file. Of the keys of its header, `time` and `settle` are used.

    Raises:
        Misconfigured: the file cannot be read, or its header is wrong.
    """
    text = _text(path)
    header = _header(path, text)
    chosen = {key: _checked(path, key, value) for key, value in header.items()}
    return QueryText(text, str(chosen["time"]) if "time" in chosen else None, "settle" in chosen)


def _refuse_order(text: str) -> None:
    """Refuse a query that sorts its result: the rows of slices come in any order."""
    for operator in parse_pipeline(parse_query(text).main).operators:
        if operator.name in ("sort", "order"):
            raise Unsliceable(
                operator.line, f"`{operator.name}`: rows that come in slices have no order. Remove it"
            )


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise Misconfigured(f"{path}: the file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _error(path, line, "the file is not UTF-8: save it as UTF-8") from None


def _name(path: Path, name: str, line: int) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise _error(
            path,
            line,
            f"{name!r} is not a valid name: use letters, digits and underscores only in `// name:`",
        )
    if name in catalog.catalog():
        raise _error(path, line, f"{name} is the name of a table: write another name in `// name:`")
    return name


def _header(path: Path, text: str) -> Mapping[str, _Value]:
    """Read the comments at the top. A description ends at the next key or blank line."""
    found: dict[str, _Value] = {}
    among_keys = True
    for number, line in enumerate(text.splitlines(), 1):
        comment = re.sub(rf"^{literals.BLANK}+|{literals.BLANK}+$", "", line)
        if comment and not comment.startswith("//"):
            break
        match = re.fullmatch(
            rf"//{literals.BLANK}*([A-Za-z]+){literals.BLANK}*:{literals.BLANK}*(.*)", comment
        )
        key = match[1].lower() if match else ""
        if match and key in _CHECKS:
            if key in found:
                raise _error(path, number, f"the header has the key {key} twice: remove one of them")
            found[key] = _Value(match[2], number)
        elif match and (hint := _misspelt(comment, key, among_keys=among_keys)):
            raise _error(path, number, f"there is no key {match[1]!r}; {hint}")
        elif comment and among_keys and list(found)[-1:] == ["description"]:
            before = found["description"]
            found["description"] = replace(before, text=f"{before.text}\n{comment[2:].strip()}".strip())
        among_keys = key in _CHECKS or (among_keys and comment != "")
    return found


def _misspelt(comment: str, key: str, *, among_keys: bool) -> str | None:
    """Return a hint if the comment looks like a misspelt key; None if it does not."""
    written_as_key = among_keys and re.fullmatch(r"//\s*[a-z]+:(\s.*)?", comment)
    cutoff = _SIMILAR_AMONG_KEYS if written_as_key else _SIMILAR
    if near := get_close_matches(key, _CHECKS, n=1, cutoff=cutoff):
        return f"did you mean {near[0]}?"
    return f"the keys are {', '.join(_CHECKS)}" if written_as_key else None


def _checked(path: Path, key: str, value: _Value) -> object:
    try:
        return _CHECKS[key](value.text)
    except (Misconfigured, ValueError) as error:
        raise _error(path, value.line, f"{key}: {error}") from None


def _grain(text: str) -> Grain:
    if text not in list(Grain):
        raise ValueError(f"{text!r} is neither {' nor '.join(Grain)}")
    return Grain(text)


def _time(text: str) -> str:
    if lake_names([Column(text, "datetime")]) != (text,):
        raise ValueError(f"the lake reserves the name {text.lower()!r}: give the column another name")
    return literals.name(text)


def _settle(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d*[mhd]", text):
        raise ValueError(f"{text!r} is not a duration: write one such as 30m, 6h or 1d")
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
    "schedule": str,
    "api": _api,
}
"""The keys of a header, and the function that checks and converts each value."""


def _documented_columns(table: str) -> frozenset[str] | None:
    known = catalog.catalog().get(table)
    return frozenset(column.name for column in known.columns) if known else None


def _error(path: Path, line: int, reason: str) -> Misconfigured:
    return Misconfigured(f"{path}:{line}: {reason}")
