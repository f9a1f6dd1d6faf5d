"""The precedence parser for expressions. The tabular parser extends it."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence

from hunting_emulator.kql import syntax as s
from hunting_emulator.kql.errors import KqlError
from hunting_emulator.kql.lexer import Token, tokens

_SET_OPERATORS = ("in", "in~", "!in", "!in~", "has_any", "has_all")
_COMPARISONS = (
    *("==", "!=", "<>", "=~", "!~", "<", "<=", ">", ">="),
    *("has", "!has", "has_cs", "!has_cs", "contains", "!contains", "contains_cs", "!contains_cs"),
    *("startswith", "!startswith", "startswith_cs", "!startswith_cs"),
    *("endswith", "!endswith", "endswith_cs", "!endswith_cs", "matches"),
)


class ExpressionParser(ABC):
    """A cursor over the tokens with one method per level of precedence."""

    def __init__(self, query: str) -> None:
        self._query = query
        self._tokens = tokens(query)
        self._next = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._next]

    def ahead(self) -> Token:
        return self._tokens[min(self._next + 1, len(self._tokens) - 1)]

    def advance(self) -> Token:
        token = self.token
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def at(self, kind: str) -> bool:
        return self.token.kind == kind

    def peek_name(self, text: str) -> bool:
        return self.token.kind == "name" and self.token.text == text

    def accept(self, op: str) -> bool:
        if self.token.kind == "op" and self.token.text == op:
            self.advance()
            return True
        return False

    def accept_name(self, text: str) -> bool:
        if self.peek_name(text):
            self.advance()
            return True
        return False

    def expect(self, op: str) -> None:
        if not self.accept(op):
            raise self.error(f"expected '{op}' instead of '{self.token.text}'")

    def expect_name(self, text: str) -> None:
        if not self.accept_name(text):
            raise self.error(f"expected '{text}' instead of '{self.token.text}'")

    def error(self, reason: str) -> KqlError:
        line = self._query.count("\n", 0, self.token.at) + 1
        column = self.token.at - (self._query.rfind("\n", 0, self.token.at) + 1) + 1
        return KqlError(f"Syntax error: {reason} [line:position={line}:{column}]")

    def name(self) -> str:
        if self.token.kind == "name":
            return self.advance().text
        if self.token.text == "[" and self.ahead().value is not None:
            self.advance()
            value = self.advance().value
            self.expect("]")
            return str(value[1]) if value else ""
        raise self.error(f"expected a name instead of '{self.token.text}'")

    def literal(self) -> s.Literal:
        value = self.expression()
        if isinstance(value, s.Negative) and isinstance(value.value, s.Literal):
            number = value.value.value
            value = s.Literal(value.value.type, -number if isinstance(number, int | float) else number)
        if not isinstance(value, s.Literal):
            raise self.error("expected a literal")
        return value

    @abstractmethod
    def pipeline(self) -> s.Pipeline:
        """Parse a tabular expression in parentheses. The subclass for tabular operators implements this."""

    def items(self) -> tuple[s.Item, ...]:
        found = [self._item()]
        while self.accept(","):
            found.append(self._item())
        return tuple(found)

    def _item(self) -> s.Item:
        if self.accept("*"):
            return s.Item(None, s.Star())
        if self.token.kind == "name" and self.ahead().text == "=":
            name = self.name()
            self.expect("=")
            return s.Item(name, self.expression())
        expr = self.expression()
        if isinstance(expr, s.Name) and self.accept("="):
            return s.Item(expr.name, self.expression())
        return s.Item(None, expr)

    def expression(self) -> s.Expr:
        parts = [self._and()]
        while self.accept_name("or"):
            parts.append(self._and())
        return _balanced("or", parts)

    def _and(self) -> s.Expr:
        parts = [self._comparison()]
        while self.accept_name("and"):
            parts.append(self._comparison())
        return _balanced("and", parts)

    def _comparison(self) -> s.Expr:
        left = self._sum()
        op = self._comparison_operator()
        if op in ("between", "!between"):
            self.expect("(")
            low = self._sum()
            self.expect("..")
            high = self._sum()
            self.expect(")")
            return s.Between(left, low, high, op.startswith("!"))
        if op in _SET_OPERATORS:
            return s.Among(op, left, self._set_items())
        if op == "matches":
            self.expect_name("regex")
        return s.Binary("!=" if op == "<>" else op, left, self._sum()) if op else left

    def _comparison_operator(self) -> str:
        text = self.token.text
        if self.token.kind not in ("name", "op"):
            return ""
        if text == "in" and self.ahead().text == "~":
            self.advance()
            text = "in~"
        if text in _COMPARISONS or text in _SET_OPERATORS or text in ("between", "!between"):
            self.advance()
            return text
        return ""

    def _set_items(self) -> tuple[s.Expr, ...]:
        self.expect("(")
        if self.token.kind == "name" and (self.ahead().text == "|" or self.token.text == "union"):
            items: tuple[s.Expr, ...] = (s.Subquery(self.pipeline()),)
        else:
            listed = [self.expression()]
            while self.accept(","):
                listed.append(self.expression())
            items = tuple(listed)
        self.expect(")")
        return items

    def _sum(self) -> s.Expr:
        left = self._product()
        while self.token.kind == "op" and self.token.text in ("+", "-"):
            left = s.Binary(self.advance().text, left, self._product())
        return left

    def _product(self) -> s.Expr:
        left = self._unary()
        while self.token.kind == "op" and self.token.text in ("*", "/", "%"):
            left = s.Binary(self.advance().text, left, self._unary())
        return left

    def _unary(self) -> s.Expr:
        if self.accept("-"):
            return s.Negative(self._unary())
        self.accept("+")
        return self._postfix()

    def _postfix(self) -> s.Expr:
        base = self._primary()
        while True:
            if self.accept("."):
                base = s.Path(base, s.Literal("string", self.name()))
            elif self.accept("["):
                base = s.Path(base, self.expression())
                self.expect("]")
            else:
                return base

    def _primary(self) -> s.Expr:  # noqa: PLR0911 - one answer per kind of token
        token = self.token
        if token.value is not None:
            self.advance()
            return s.Literal(*token.value)
        if token.text == "(":
            return self._parenthesised()
        if token.text == "[":
            return s.Name(self.name())
        if token.kind != "name":
            raise self.error(f"unexpected '{token.text}'")
        self.advance()
        if token.text in ("true", "false"):
            return s.Literal("bool", token.text == "true")
        if token.text == "dynamic" and self.token.text == "(":
            return s.Literal("dynamic", self._dynamic())
        if token.text == "toscalar" and self.accept("("):
            pipeline = self.pipeline()
            self.expect(")")
            return s.Call("toscalar", (s.Subquery(pipeline),))
        if self.accept("("):
            return s.Call(token.text, self._arguments())
        return s.Name(token.text)

    def _parenthesised(self) -> s.Expr:
        self.expect("(")
        if self.token.kind == "name" and (
            self.ahead().text == "|" or self.token.text in ("union", "datatable")
        ):
            inner: s.Expr = s.Subquery(self.pipeline())
        else:
            inner = self.expression()
        self.expect(")")
        return inner

    def _arguments(self) -> tuple[s.Expr, ...]:
        found: list[s.Expr] = []
        while not self.accept(")"):
            found.append(s.Star() if self.accept("*") else self.expression())
            if self.token.text != ")":
                self.expect(",")
        return tuple(found)

    def _dynamic(self) -> str | None:
        """Return the JSON text between the parentheses of `dynamic(...)`."""
        self.expect("(")
        start, depth = self.token.at, 1
        while True:
            depth += {"(": 1, ")": -1}.get(self.token.text, 0) if self.token.kind == "op" else 0
            if depth == 0:
                break
            if self.at("end"):
                raise self.error("expected ')' after a dynamic literal")
            self.advance()
        body = self._query[start : self.token.at].strip()
        self.expect(")")
        try:
            value = json.loads(body)
        except ValueError:
            try:
                value = json.loads(body.replace("'", '"'))
            except ValueError:
                raise self.error("the dynamic literal is not JSON") from None
        return None if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _balanced(op: str, parts: Sequence[s.Expr]) -> s.Expr:
    """Join the parts as a balanced tree. Hundreds of parts would otherwise make a deep tree."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return s.Binary(op, _balanced(op, parts[:middle]), _balanced(op, parts[middle:]))
