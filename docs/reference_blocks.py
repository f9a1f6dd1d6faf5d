"""The blocks of the reference and of troubleshooting, which come from the code. `generate.py` writes them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from inspect import cleandoc, getdoc, signature
from typing import Any, get_args, get_origin

import hunting_pipeline
from hunting_pipeline import errors
from hunting_pipeline.auth.tokens import ADVICE
from hunting_pipeline.catalog import catalog
from hunting_pipeline.cli.app import COMMANDS, loaded
from hunting_pipeline.cli.problems import INTERRUPTED, exit_code
from hunting_pipeline.errors import HuntingError, QuotaExhausted
from hunting_pipeline.http.verdict import (
    TABLE,
    NoAnswer,
    Refuse,
    Renew,
    Retry,
    Split,
    Verdict,
    Wait,
    judge,
)
from hunting_pipeline.model import datetime_of
from hunting_pipeline.orchestration import HuntingQueries, HuntingTables
from hunting_pipeline.orchestration.components.config import TableConfig
from hunting_pipeline.settings import Settings
from hunting_pipeline.settings.model import variable

__all__ = ["BLOCKS", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join(lines + [f"| {' | '.join(map(_cell, cells))} |" for cells in rows])


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


def _named(text: str) -> str:
    """Replace the marks of settings by their variables."""
    return re.sub(r"‹([a-z_]+)›", lambda mark: f"`{variable(mark[1])}`", text)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def settings_reference() -> str:
    """Return every setting with its variable, its name in `hunting.toml`, its default and its meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=False)
        shown = "state folder of the user" if field.default_factory else _default(default)
        rows.append((f"`{variable(name)}`", f"`{name}`", shown, str(field.description)))
    return table(("variable", "in `hunting.toml`", "default", "meaning"), rows)


def _default(value: object) -> str:
    return f"`{value}`" if value not in (None, "", (), [], {}) else "–"


def commands() -> str:
    """Return the help of every command."""
    return "\n\n".join(f"## hunting {name}\n\n```text\n{_help(name)}\n```" for name in COMMANDS)


def _help(name: str) -> str:
    command = loaded(name)
    width = {"resilient_parsing": True, "terminal_width": 80, "max_content_width": 80}
    return str(command.get_help(command.make_context(f"hunting {name}", [], **width))).rstrip()


def components() -> str:
    """Return the attributes of each component of a `defs.yaml`."""
    shown = (
        ("hunting_pipeline.orchestration.HuntingTables", HuntingTables),
        ("An item of `tables`", TableConfig),
        ("hunting_pipeline.orchestration.HuntingQueries", HuntingQueries),
    )
    return "\n\n".join(f"## {title}\n\n{_attributes(model)}" for title, model in shown)


def _attributes(model: Any) -> str:
    rows = [
        (
            f"`{name}`",
            _type(field.annotation),
            "required" if field.is_required() else _default(getattr(field.default, "value", field.default)),
            str(field.description),
        )
        for name, field in model.model_fields.items()
    ]
    return table(("attribute", "type", "default", "meaning"), rows)


def _type(annotation: Any) -> str:
    """Return a type in the words of YAML."""
    if values := [str(getattr(one, "value", one)) for one in getattr(annotation, "__members__", {}).values()]:
        return " or ".join(f"`{value}`" for value in values)
    parts = [one for one in get_args(annotation) if one is not type(None)]
    match get_origin(annotation):
        case origin if origin is list:
            return f"list of {_type(parts[0])}"
        case origin if origin is dict:
            return "map of texts"
        case None:
            words = {str: "text", float: "number", bool: "true or false", TableConfig: "tables"}
            return words.get(annotation, str(annotation))
        case _ if all(isinstance(part, str) for part in parts):
            return " or ".join(f"`{part}`" for part in parts)
    return " or ".join(_type(part) for part in parts)


def errors_table() -> str:
    """Return every error with its exit code and its meaning."""
    rows = []
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and kind is not HuntingError:
            rows.append((f"`{name}`", str(exit_code(_example(kind))), _summary(kind)))
    rows.sort(key=lambda row: row[1])
    rows += [("interrupted by Ctrl-C", str(INTERRUPTED), "Run again: fetched rows are staged.")]
    return table(("error", "exit code", "meaning"), rows)


def _example(kind: type[HuntingError]) -> HuntingError:
    return QuotaExhausted("", until=datetime_of(0)) if kind is QuotaExhausted else kind("")


def _summary(subject: object) -> str:
    """Return the first paragraphs of a docstring, up to the sections."""
    text = re.split(r"\n\s*(?:Args|Attributes|Raises):", cleandoc(getdoc(subject) or ""))[0]
    return " ".join(text.replace("see docs/python.md", "see [Python](../python.md)").split())


def tables() -> str:
    """Return every documented table with its time column, columns and bytes."""
    rows = []
    for entry in sorted(catalog().values(), key=lambda one: one.name.lower()):
        notes = [
            word for word, is_so in (("preview", entry.preview), ("deprecated", entry.deprecated)) if is_so
        ]
        rows.append(
            (
                f"`{entry.name}`",
                entry.service,
                f"`{entry.time_column}`" if entry.time_column else "none: a daily snapshot",
                str(len(entry.columns)),
                f"{entry.bytes_per_row:,}",
                ", ".join(notes) or "–",
            )
        )
    return table(("table", "service", "time column", "columns", "bytes in a row", "notes"), rows)


def python_api() -> str:
    """Return the public names of the package, and the methods of a connection."""
    call = f"`connect{_parameters(hunting_pipeline.connect)}`"
    parts = [f"## connect\n\n{call}\n\n{_summary(hunting_pipeline.connect)}"]
    for kind in (hunting_pipeline.Hunting, hunting_pipeline.Result):
        rows = [(f"`{name}{_call(member)}`", _summary(member)) for name, member in _public(kind)]
        rows += _documented(kind)
        parts.append(f"## {kind.__name__}\n\n{_summary(kind)}\n\n{table(('member', 'meaning'), rows)}")
    values = [getattr(hunting_pipeline, name) for name in hunting_pipeline.__all__]
    rows = [
        (f"`{one.__name__}`", _summary(one))
        for one in values
        if isinstance(one, type)
        and not issubclass(one, HuntingError)
        and one not in (hunting_pipeline.Hunting, hunting_pipeline.Result)
    ]
    parts.append("## Values\n\n" + table(("class", "meaning"), rows))
    return "\n\n".join(parts)


def _public(kind: type) -> Iterator[tuple[str, Any]]:
    for name, member in vars(kind).items():
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            yield name, member


def _call(member: Any) -> str:
    """Return the parameters of a method, without their types; nothing for a property."""
    return "" if isinstance(member, property) else _parameters(member)


def _parameters(function: Callable[..., Any]) -> str:
    parameters = [one for one in signature(function).parameters.values() if one.name != "self"]
    return f"({', '.join(str(one.replace(annotation=one.empty)) for one in parameters)})"


def _documented(kind: type) -> Iterator[tuple[str, str]]:
    """Yield the attributes of a class and their meanings, from its docstring."""
    section = re.search(r"\nAttributes:\n((?:    .*\n?)+)", getdoc(kind) or "")
    for name, meaning in re.findall(
        r"^    (\w+): (.*(?:\n        .*)*)", section[1] if section else "", re.MULTILINE
    ):
        yield f"`{name}`", meaning


def aadsts() -> str:
    """Return the cause and the solution of each known error of Entra."""
    rows = []
    for number, advice in sorted(ADVICE.items()):
        cause, _, solution = advice.partition(": ")
        rows.append((f"`AADSTS{number}`", _upper(_named(cause)), _upper(_named(solution))))
    return table(("code", "cause", "solution"), rows)


_STEPS: Mapping[type, tuple[str, str]] = {
    Split: (
        "The reply would be too large, or the query too expensive.",
        "Nothing: the pipeline cuts the span and asks for smaller parts.",
    ),
    NoAnswer: (
        "The service gave no answer: the query is too large, or the service is down.",
        "Nothing: the pipeline asks for one row, then cuts the span or waits. After exit code 5, run again.",
    ),
    Wait: (
        "The tenant's quota is exhausted: of calls, or of CPU.",
        "Nothing: all processes wait for the time in the reply. After exit code 4, run again later.",
    ),
    Renew: (
        "The service did not accept the token.",
        "The pipeline signs in once more. After a second refusal, check the permission and `HUNTING_SCOPE`.",
    ),
    Retry: (
        "The service or the network failed for a moment.",
        "Nothing: the pipeline tries again a few times. After exit code 5, run again: staged work is kept.",
    ),
}
"""The cause and the solution of each verdict that is no refusal. A refusal has its own message."""


def http_answers() -> str:
    """Return the cause and the solution of each HTTP answer, in the order in which the code compares them."""
    return table(("status", "the answer says", "cause", "solution"), map(_answer_row, TABLE))


def _answer_row(row: tuple[frozenset[int], re.Pattern[str] | None, Callable[..., Verdict]]) -> Sequence[str]:
    statuses, pattern, _ = row
    phrases = _phrases(pattern.pattern) if pattern else []
    is_page = phrases == ["web page"] or 200 in statuses
    status = min(statuses)
    verdict = judge(
        status,
        {"Content-Type": "text/html"} if is_page else {},
        b"" if is_page else f'{{"error": {{"message": "{phrases[0] if phrases else ""}"}}}}'.encode(),
        permission="the application permission",
        now=0.0,
    )
    said = "a web page" if is_page else " or ".join(f"`{phrase}`" for phrase in phrases) or "–"
    shown = "300 to 399" if len(statuses) == 100 else ", ".join(map(str, sorted(statuses)))
    return shown, said, *_advised(verdict, status)


def _advised(verdict: Verdict | None, status: int) -> tuple[str, str]:
    """Return the cause and the solution of a verdict. They are the parts of a refusal's message."""
    text = verdict.message if isinstance(verdict, Refuse) else str(getattr(verdict, "reason", ""))
    if not isinstance(verdict, Refuse) and "; " not in text:
        return _STEPS[type(verdict)]
    said = text.partition("; ")[2] or text
    if said.startswith("grant "):
        return f"{_upper(str(HTTPStatus(status).phrase))}: a permission is missing.", f"{_upper(said)}."
    cause, _, solution = re.sub(rf": {status}.*", "", said).partition(". ")
    if not solution:
        cause, _, solution = cause.partition(": ")
    return _upper(_named(cause)) + ".", _upper(_named(solution)) + "." if solution else _REFUSED.get(
        status, ""
    )


_REFUSED: Mapping[int, str] = {
    400: "The message has the service's text: correct the table, the column or the query.",
    413: "Shorten the query or the list of columns.",
}
"""The solution of each refusal whose message has only a cause."""


def _phrases(pattern: str) -> list[str]:
    """Return the texts that a pattern of `TABLE` accepts: each alternative, and each one in brackets."""
    found = []
    for alternative in re.split(r"\|(?![^(]*\))", pattern.lstrip("^")):
        if group := re.search(r"\((.*)\)", alternative):
            found += [alternative.replace(group[0], word) for word in group[1].split("|")]
        else:
            found.append(alternative)
    return found


BLOCKS: Mapping[str, Callable[[], str]] = {
    "settings_reference": settings_reference,
    "commands": commands,
    "components": components,
    "errors": errors_table,
    "tables": tables,
    "python": python_api,
    "aadsts": aadsts,
    "http": http_answers,
}
"""The blocks of this module, by the name in their marks."""
