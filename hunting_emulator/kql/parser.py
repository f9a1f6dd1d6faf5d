"""The parser: tokens to the syntax tree of a whole query, `let` statements and tabular operators."""

from collections.abc import Callable

from hunting_emulator.kql import syntax as s
from hunting_emulator.kql.expressions import ExpressionParser

_TABULAR_SOURCES = ("union", "print", "datatable", "materialize")


def parse(query: str) -> s.Query:
    """Parse a query into its syntax tree. Raise KqlError with a message like the service's."""
    return _QueryParser(query).query()


class _QueryParser(ExpressionParser):
    def query(self) -> s.Query:
        lets: list[s.Let] = []
        while self.peek_name("let"):
            lets.append(self._let())
        if self.at("end"):
            raise self.error("the query has no tabular expression")
        pipeline = self.pipeline()
        self.accept(";")
        if not self.at("end"):
            raise self.error(f"unexpected '{self.token.text}'")
        return s.Query(tuple(lets), pipeline)

    def _let(self) -> s.Let:
        self.advance()
        name = self.name()
        self.expect("=")
        value: s.Expr | s.Pipeline = self.pipeline() if self._starts_table() else self.expression()
        if isinstance(value, s.Subquery):
            value = value.pipeline
        self.expect(";")
        return s.Let(name, value)

    def _starts_table(self) -> bool:
        if self.token.kind != "name":
            return False
        return self.token.text in _TABULAR_SOURCES or self.ahead().text == "|"

    def pipeline(self) -> s.Pipeline:
        source = self._source()
        operators: list[s.Operator] = []
        while self.accept("|"):
            operators.append(self._operator())
        return s.Pipeline(source, tuple(operators))

    def _source(self) -> s.Name | s.Pipeline | s.Union | s.Print | s.DataTable:
        if self.accept("("):
            inner = self.pipeline()
            self.expect(")")
            return inner
        if self.peek_name("union"):
            self.advance()
            return self._union()
        if self.peek_name("print"):
            self.advance()
            return s.Print(self.items())
        if self.peek_name("datatable"):
            self.advance()
            return self._datatable()
        if self.peek_name("materialize") and self.ahead().text == "(":
            self.advance()
            return self._source()
        return s.Name(self.name())

    def _operator(self) -> s.Operator:
        word = self.token.text
        parse = self._operators().get(word)
        if self.token.kind != "name" or parse is None:
            raise self.error(f"'{word}' is not an operator of this service's dialect")
        self.advance()
        return parse()

    def _operators(self) -> dict[str, Callable[[], s.Operator]]:
        columns = {
            word: lambda word=word: s.Columns(word, self.items())
            for word in ("project", "extend", "distinct", "project-away", "project-keep", "project-rename")
        }
        return {
            "where": self._where,
            "filter": self._where,
            **columns,
            "project-reorder": lambda: s.Columns("project-reorder", self.items()),
            "summarize": self._summarize,
            "count": s.Count,
            "getschema": s.GetSchema,
            "take": self._take,
            "limit": self._take,
            "sort": self._sort,
            "order": self._sort,
            "top": self._top,
            "join": self._join,
            "lookup": lambda: self._join("leftouter", lookup=True),
            "mv-expand": self._expand,
            "union": self._union,
        }

    def _where(self) -> s.Where:
        return s.Where(self.expression())

    def _summarize(self) -> s.Summarize:
        aggregates = () if self.peek_name("by") else self.items()
        by: tuple[s.Item, ...] = ()
        if self.accept_name("by"):
            by = self.items()
        return s.Summarize(aggregates, by)

    def _take(self) -> s.Take:
        return s.Take(self.expression())

    def _sort(self) -> s.Sort:
        self.expect_name("by")
        return s.Sort(self._sort_keys(), None)

    def _top(self) -> s.Sort:
        rows = self.expression()
        self.expect_name("by")
        return s.Sort(self._sort_keys(), rows)

    def _sort_keys(self) -> tuple[s.SortKey, ...]:
        keys = [self._sort_key()]
        while self.accept(","):
            keys.append(self._sort_key())
        return tuple(keys)

    def _sort_key(self) -> s.SortKey:
        expr = self.expression()
        ascending = self.accept_name("asc")
        if not ascending:
            self.accept_name("desc")
        nulls_first = ascending
        if self.accept_name("nulls"):
            nulls_first = self.accept_name("first")
            if not nulls_first:
                self.expect_name("last")
        return s.SortKey(expr, not ascending, nulls_first)

    def _options(self) -> dict[str, str]:
        found: dict[str, str] = {}
        while self.token.kind == "name" and self.ahead().text == "=":
            key = self.name()
            self.expect("=")
            found[key] = self.advance().text
        return found

    def _expand(self) -> s.Expand:
        item, kind = self._item(), "dynamic"
        if self.accept_name("to"):
            self.expect_name("typeof")
            self.expect("(")
            kind = self.name()
            self.expect(")")
        return s.Expand(item, kind)

    def _join(self, default: str = "innerunique", *, lookup: bool = False) -> s.Join:
        kind = self._options().get("kind", default)
        right = s.Pipeline(self._source(), ())
        self.expect_name("on")
        keys = [self._join_key()]
        while self.accept(","):
            keys.append(self._join_key())
        return s.Join(kind, right, tuple(keys), lookup)

    def _join_key(self) -> tuple[str, str]:
        sides: list[tuple[str, str]] = []
        for _ in range(2):
            first = self.name()
            side, key = (first, self.name()) if self.accept(".") else ("", first)
            sides.append((side, key))
            if not self.accept("=="):
                break
        if len(sides) == 1:
            return sides[0][1], sides[0][1]
        ordered = dict(sides)
        if set(ordered) != {"$left", "$right"}:
            raise self.error("join: only column names or '$left.column == $right.column' are allowed")
        return ordered["$left"], ordered["$right"]

    def _union(self) -> s.Union:
        self._options()
        sources = [s.Pipeline(self._source(), ())]
        while self.accept(","):
            sources.append(s.Pipeline(self._source(), ()))
        return s.Union(tuple(sources))

    def _datatable(self) -> s.DataTable:
        self.expect("(")
        columns = []
        while not self.accept(")"):
            name = self.name()
            self.expect(":")
            columns.append((name, self.name()))
            self.accept(",")
        self.expect("[")
        values = []
        while not self.accept("]"):
            values.append(self.literal())
            self.accept(",")
        return s.DataTable(tuple(columns), tuple(values))
