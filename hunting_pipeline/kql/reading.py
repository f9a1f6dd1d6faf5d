"""The shape of a KQL query: its statements, pipelines and operators, and the lines they stand on.

It is read, not understood: what is unknown stays a run of tokens, and whoever needs its meaning must refuse.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hunting_pipeline.kql.literals import CLOSES, LEXEME

__all__ = [
    "Item",
    "Operator",
    "Pipeline",
    "Query",
    "Token",
    "Unsliceable",
    "calls",
    "items",
    "options",
    "piped",
    "pipeline",
    "query",
    "split",
    "told",
]

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


class Unsliceable(Exception):
    """A query that cannot be archived by partitions: why, and on which line.

    Attributes:
        line: of the text that was read, from 1.
        reason: for a person, with what to write instead where there is such a thing.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Token:
    """A string, a word or one mark.

    Attributes:
        text: as written.
        at: its number among the query's tokens.
        line: from 1.
        gap: what parts it from the token before, comments left out.
        word: whether it is a name, a keyword or a number.
    """

    text: str
    at: int
    line: int
    gap: str
    word: bool

    @property
    def name(self) -> bool:
        """Whether it can name a table or a column."""
        return self.word and re.fullmatch(_NAME, self.text) is not None


Tokens = Sequence[Token]


@dataclass(frozen=True, slots=True)
class Operator:
    """`| name words`."""

    name: str
    words: Tokens
    line: int
    last: int


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A source and the operators behind it."""

    source: Tokens
    operators: tuple[Operator, ...]

    @property
    def tokens(self) -> list[Token]:
        """All of them but pipes and operators' names."""
        return [*self.source, *(token for operator in self.operators for token in operator.words)]


@dataclass(frozen=True, slots=True)
class Item:
    """`name = value`, or a value alone."""

    name: str | None
    value: Tokens

    @property
    def column(self) -> str | None:
        """The column that the value is, if it is one as it stands."""
        return self.value[0].text if len(self.value) == 1 and self.value[0].name else None


@dataclass(frozen=True, slots=True)
class Query:
    """The tokens of a query; of each `let`, its value; of the last statement, its words."""

    tokens: Tokens
    lets: dict[str, Tokens]
    main: Tokens


def query(text: str) -> Query:
    """Read a query.

    Raises:
        Unsliceable: it has no shape of a query.
    """
    found = list(_tokens(text))
    _refuse_open_ends(found)
    statements = [statement for statement in split(found, ";") if statement]
    if not statements:
        raise Unsliceable(1, "there is no query")
    *before, main = statements
    if main[0].text == "let":
        raise Unsliceable(main[0].line, "the query ends with a `let`: what shall be archived?")
    return Query(found, dict(_let(statement) for statement in before), main)


def _tokens(text: str) -> Iterator[Token]:
    gap, line, at = "", 1, 0
    for match in LEXEME.finditer(text):
        if match.lastgroup in ("blank", "comment"):
            gap += match[0] if match.lastgroup == "blank" else ""
        else:
            yield Token(match[0], at, line, _narrow(gap), match.lastgroup == "word")
            gap, at = "", at + 1
        line += match[0].count("\n")


def _narrow(gap: str) -> str:
    """One line break with its indentation, or one blank."""
    return "\n" + gap.rpartition("\n")[2] if "\n" in gap else gap[:1]


def _refuse_open_ends(tokens: Tokens) -> None:
    still_open: list[Token] = []
    for token in tokens:
        if token.text in "([{":
            still_open.append(token)
        elif token.text in CLOSES:
            if not still_open or still_open.pop().text != CLOSES[token.text]:
                raise Unsliceable(token.line, f"a {token.text!r} closes what is not open")
        elif token.text in ("'", '"'):
            raise Unsliceable(token.line, "a quote stays open")
    if still_open:
        raise Unsliceable(still_open[-1].line, f"a {still_open[-1].text!r} stays open")


def _let(statement: Tokens) -> tuple[str, Tokens]:
    match [token.text for token in statement[:3]]:
        case ["let", name, "="] if len(statement) > 3:
            return name, statement[3:]
    raise Unsliceable(
        statement[0].line, f"{told(statement)}: only `let` statements may stand before the query"
    )


def split(tokens: Tokens, mark: str) -> list[Tokens]:
    """The runs between the marks or words that stand outside all brackets."""
    parts, depth, start = [], 0, 0
    for place, token in enumerate(tokens):
        depth += (token.text in "([{") - (token.text in CLOSES)
        if depth == 0 and token.text == mark:
            parts.append(tokens[start:place])
            start = place + 1
    return [*parts, tokens[start:]]


def pipeline(tokens: Tokens) -> Pipeline:
    """A source and its operators.

    Raises:
        Unsliceable: nothing stands before a pipe, or behind one.
    """
    source, *others = split(tokens, "|")
    if not source or not all(others):
        near = tokens[0].line if tokens else 1
        raise Unsliceable(near, "a pipe has nothing on one of its sides")
    return Pipeline(source, tuple(Operator(o[0].text, o[1:], o[0].line, o[-1].at) for o in others))


def items(tokens: Tokens) -> list[Item]:
    """What commas part. A name may be written `['name']`."""
    return [_item(part) for part in split(tokens, ",") if part]


def _item(part: Tokens) -> Item:
    quoted = len(part) > 4 and (part[0].text, part[2].text) == ("[", "]")
    after = 3 if quoted else 1
    if len(part) > after + 1 and part[after].text == "=" and part[after + 1].text not in "=~":
        return Item(part[1 if quoted else 0].text.strip("\"'"), part[after + 1 :])
    return Item(None, part)


def options(tokens: Tokens) -> tuple[dict[str, str], Tokens]:
    """Leading `name = value` pairs, such as `kind=inner` or `hint.strategy=broadcast`, and what follows."""
    found: dict[str, str] = {}
    while True:
        dotted = 2 if len(tokens) > 1 and tokens[1].text == "." else 0
        if len(tokens) < dotted + 4 or tokens[dotted + 1].text != "=":
            return found, tokens
        found[tokens[dotted].text] = tokens[dotted + 2].text
        tokens = tokens[dotted + 3 :]


def piped(tokens: Tokens) -> Iterator[tuple[Token, Tokens]]:
    """Every operator at any depth: its name, and its words."""
    for place, token in enumerate(tokens[:-1]):
        if token.text == "|":
            yield tokens[place + 1], _own(tokens[place + 2 :])


def _own(tokens: Tokens) -> Tokens:
    """The tokens before the pipe, semicolon or bracket that ends their operator."""
    depth = 0
    for place, token in enumerate(tokens):
        depth += (token.text in "([{") - (token.text in CLOSES)
        if depth < 0 or (depth == 0 and token.text in "|;"):
            return tokens[:place]
    return tokens


def calls(tokens: Tokens) -> Iterator[Token]:
    """The name of every function that is called, at any depth."""
    for token, follower in pairwise(tokens):
        if token.name and follower.text == "(":
            yield token


def told(tokens: Tokens) -> str:
    """The first few of them, for a message."""
    return "`" + "".join(token.gap + token.text for token in tokens[:6]).strip() + "`"
