"""The structure of a KQL query: its statements, pipelines and operators, with their line numbers.

This module splits the text, but does not interpret it. Text that it does not recognize remains a sequence of
tokens. A caller that needs the meaning of such a sequence must refuse the query.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hunting_pipeline.kql.literals import CLOSES, LEXEME

__all__ = [
    "Item",
    "Operator",
    "Pipeline",
    "Query",
    "Token",
    "Tokens",
    "Unsliceable",
    "applied_operators",
    "called_functions",
    "defined_functions",
    "excerpt",
    "leading_options",
    "only_elements",
    "parse_pipeline",
    "parse_query",
    "piped_operators",
    "split_at",
    "split_items",
]

_WITH_OPTIONS = frozenset({"join", "lookup", "union", "find", "search"})
"""The operators whose options may stand directly before a bracket."""

_WORDS_BEFORE_BRACKETS = frozenset({
    "and", "or", "in", "has_any", "has_all", "between", "by", "on", "with", "as", "of", "to", "from",
    "step", "where", "filter", "extend", "project", "summarize", "distinct", "join", "lookup", "union",
    "search", "find", "print", "parse", "let", "view", "typeof", "contains", "contains_cs", "has",
    "has_cs", "hasprefix", "hasprefix_cs", "hassuffix", "hassuffix_cs", "startswith", "startswith_cs",
    "endswith", "endswith_cs", "regex", "like", "notlike",
})  # fmt: skip
"""The words that may stand before a bracket without calling a function."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"


class Unsliceable(Exception):
    """A query that cannot be archived in partitions.

    Attributes:
        line: the line of the text, from 1.
        reason: a message for the user, with an alternative if there is one.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Token:
    """A string, a word or one mark.

    Attributes:
        text: the text as written.
        index: the number of the token in the query, from 0.
        line: the line on which it starts, from 1.
        space: the white space before it, without comments.
        is_word: whether it is a name, a keyword or a number.
    """

    text: str
    index: int
    line: int
    space: str
    is_word: bool

    @property
    def is_name(self) -> bool:
        """Whether the token can name a table or a column."""
        return self.is_word and re.fullmatch(_NAME, self.text) is not None


Tokens = Sequence[Token]
"""A sequence of tokens."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator after a pipe: `| name words`.

    Attributes:
        name: the operator's name.
        words: the tokens after the name.
        line: the line of the name, from 1.
        last: the index of the last token.
    """

    name: str
    words: Tokens
    line: int
    last: int


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A source and the operators after it."""

    source: Tokens
    operators: tuple[Operator, ...]

    @property
    def tokens(self) -> list[Token]:
        """All tokens except the pipes and the names of operators."""
        return [*self.source, *(token for operator in self.operators for token in operator.words)]


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a list: `name = value`, or only a value."""

    name: str | None
    value: Tokens

    @property
    def column(self) -> str | None:
        """The name of the column if the value is a single column; otherwise None."""
        return self.value[0].text if len(self.value) == 1 and self.value[0].is_name else None


@dataclass(frozen=True, slots=True)
class Query:
    """A query.

    Attributes:
        tokens: all tokens of the text.
        lets: the value of each `let` statement, by its name.
        main: the tokens of the last statement, which yields the result.
    """

    tokens: Tokens
    lets: dict[str, Tokens]
    main: Tokens


def parse_query(text: str) -> Query:
    """Split a query into its statements.

    Raises:
        Unsliceable: the text does not have the structure of a query.
    """
    found = list(_tokens(text))
    _refuse_open_ends(found)
    statements = [statement for statement in split_at(found, ";") if statement]
    if not statements:
        raise Unsliceable(1, "there is no query: write a query below the header")
    *before, main = statements
    if main[0].text == "let":
        raise Unsliceable(
            main[0].line, "the query ends with a `let` and has no result: add the query that uses it"
        )
    return Query(found, dict(_let(statement) for statement in before), main)


def _tokens(text: str) -> Iterator[Token]:
    space, line, index = "", 1, 0
    for match in LEXEME.finditer(text):
        if match.lastgroup in ("blank", "comment"):
            space += match[0] if match.lastgroup == "blank" else ""
        else:
            yield Token(match[0], index, line, _narrow(space), match.lastgroup == "word")
            space, index = "", index + 1
        line += match[0].count("\n")


def _narrow(space: str) -> str:
    """Reduce white space to a line break with its indentation, or to a blank. Only ASCII blanks remain."""
    space = "".join(blank if blank.isascii() else " " for blank in space)
    return "\n" + space.rpartition("\n")[2] if "\n" in space else space[:1]


def _refuse_open_ends(tokens: Tokens) -> None:
    still_open: list[Token] = []
    for token in tokens:
        if token.text in "([{":
            still_open.append(token)
        elif token.text in CLOSES:
            if not still_open or still_open.pop().text != CLOSES[token.text]:
                raise Unsliceable(token.line, f"{token.text!r} closes a bracket that is not open: remove it")
        elif token.text in ("'", '"'):
            raise Unsliceable(token.line, "a quote is not closed: close it on the same line")
    if still_open:
        raise Unsliceable(still_open[-1].line, f"{still_open[-1].text!r} is not closed: close the bracket")


def _let(statement: Tokens) -> tuple[str, Tokens]:
    match [token.text for token in statement[:3]]:
        case ["let", name, "="] if len(statement) > 3:
            return name, statement[3:]
    raise Unsliceable(
        statement[0].line, f"{excerpt(statement)}: only `let` statements may stand before the query"
    )


def split_at(tokens: Tokens, mark: str) -> list[Tokens]:
    """Split tokens at each occurrence of a mark or word outside all brackets."""
    parts, depth, start = [], 0, 0
    for place, token in enumerate(tokens):
        depth += (token.text in "([{") - (token.text in CLOSES)
        if depth == 0 and token.text == mark:
            parts.append(tokens[start:place])
            start = place + 1
    return [*parts, tokens[start:]]


def parse_pipeline(tokens: Tokens) -> Pipeline:
    """Split tokens into a source and its operators.

    Raises:
        Unsliceable: there is nothing before a pipe or after a pipe.
    """
    source, *others = split_at(tokens, "|")
    if not source or not all(others):
        near = tokens[0].line if tokens else 1
        raise Unsliceable(near, "a pipe has nothing on one of its sides: remove the pipe")
    return Pipeline(source, tuple(Operator(o[0].text, o[1:], o[0].line, o[-1].index) for o in others))


def split_items(tokens: Tokens) -> list[Item]:
    """Split a list at its commas. A name may be written `['name']`."""
    return [_item(part) for part in split_at(tokens, ",") if part]


def _item(part: Tokens) -> Item:
    quoted = len(part) > 4 and (part[0].text, part[2].text) == ("[", "]")
    after = 3 if quoted else 1
    if len(part) > after + 1 and part[after].text == "=" and part[after + 1].text not in "=~":
        return Item(part[1 if quoted else 0].text.strip("\"'"), part[after + 1 :])
    return Item(None, part)


def leading_options(tokens: Tokens) -> tuple[dict[str, str], Tokens]:
    """Return the leading `name = value` pairs, such as `kind=inner`, and the tokens after them.

    The name of `hint.strategy=broadcast` is `strategy`.
    """
    found: dict[str, str] = {}
    while True:
        dotted = 2 if len(tokens) > 1 and tokens[1].text == "." else 0
        if len(tokens) < dotted + 4 or not tokens[0].is_name or tokens[dotted + 1].text != "=":
            return found, tokens
        found[tokens[dotted].text] = tokens[dotted + 2].text
        tokens = tokens[dotted + 3 :]


def piped_operators(tokens: Tokens) -> Iterator[tuple[Token, Tokens]]:
    """Yield the name and the words of every operator after a pipe, at any depth of brackets."""
    for place, token in enumerate(tokens[:-1]):
        if token.text == "|":
            yield tokens[place + 1], _up_to_end(tokens[place + 2 :])


def applied_operators(tokens: Tokens) -> Iterator[Token]:
    """Yield the name of the first operator of every subquery `mv-apply … on (…)`. No pipe precedes it."""
    for name, words in piped_operators(tokens):
        subquery = split_at(words, "on")[-1]
        if name.text == "mv-apply" and len(subquery) > 1 and subquery[0].text == "(":
            yield subquery[1]


def _up_to_end(tokens: Tokens) -> Tokens:
    """Return the tokens before the pipe, semicolon or bracket that ends their operator."""
    depth = 0
    for place, token in enumerate(tokens):
        depth += (token.text in "([{") - (token.text in CLOSES)
        if depth < 0 or (depth == 0 and token.text in "|;"):
            return tokens[:place]
    return tokens


def called_functions(tokens: Tokens) -> Iterator[Token]:
    """Yield the name of every function that is called, at any depth of brackets.

    A name may be written `['name']`. `datetime(now)` calls `now`. The plugin of `| evaluate` is left out.
    """
    others = _options_and_plugins(tokens)
    for place, (token, follower) in enumerate(pairwise(tokens)):
        before = [earlier.text for earlier in tokens[max(0, place - 2) : place]]
        if token.text == "now" and before in (["datetime", "("], ["date", "("]):
            yield token
        elif follower.text != "(" or before[-1:] == ["|"] or token.index in others:
            continue
        elif token.text == "]" and before[:1] == ["["]:
            yield replace(tokens[place - 1], text=before[1].strip("\"'"))
        elif token.is_name and token.text not in _WORDS_BEFORE_BRACKETS:
            yield token


def _options_and_plugins(tokens: Tokens) -> set[int]:
    """Return the indexes of operators' options, as in `join kind=inner (…)`, and of plugins.

    The plugin of `| evaluate` is checked with its operator.
    """
    found = set()
    for place, token in enumerate(tokens):
        plugin = token.text == "evaluate" and place > 0 and tokens[place - 1].text == "|"
        if plugin or token.text in _WITH_OPTIONS:
            after = tokens[place + 1 :]
            rest = leading_options(after)[1]
            found |= {option.index for option in after[: len(after) - len(rest) + plugin]}
    return found


def only_elements(tokens: Tokens) -> Iterator[Tokens]:
    """Yield the element of every list with one element: `X in (element)`, `X has_any (element)`."""
    for place, token in enumerate(tokens):
        if token.text in ("in", "has_any", "has_all"):
            start = place + 1 + (tokens[place + 1 : place + 2] != [] and tokens[place + 1].text == "~")
            if tokens[start : start + 1] and tokens[start].text == "(":
                elements = split_at(_up_to_end(tokens[start + 1 :]), ",")
                if len(elements) == 1 and elements[0]:
                    yield elements[0]


def defined_functions(tokens: Tokens) -> set[str]:
    """Return the names of the functions that a `let` defines, at any depth: `let f = (x: long) { x + 1 }`."""
    found = set()
    for place, token in enumerate(tokens):
        match [following.text for following in tokens[place + 1 : place + 5]]:
            case [name, "=", "(", _] | [name, "=", "view", "("] if token.text == "let":
                start = place + 3 + (tokens[place + 3].text == "view")
                after = len(_up_to_end(tokens[start + 1 :])) + start + 2
                if tokens[after : after + 1] and tokens[after].text == "{":
                    found.add(name)
    return found


def excerpt(tokens: Tokens) -> str:
    """Quote the first six tokens, for a message."""
    return "`" + "".join(token.space + token.text for token in tokens[:6]).strip() + "`"
