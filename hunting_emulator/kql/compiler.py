# ruff: noqa: S608 - this module generates SQL; it defines all names, and one function quotes the literals
"""The compiler from a syntax tree to one DuckDB query. Each operator uses the SQL before it as a subquery.

In SQL, the names of columns are c0, c1, ... by position, because DuckDB does not distinguish `LogonId` and
`LogonID`. A sorted relation has its rank in a column `ord`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from hunting_emulator.kql import bounds, functions, relations
from hunting_emulator.kql import syntax as s
from hunting_emulator.kql.aggregates import RESULT_PREFIX
from hunting_emulator.kql.errors import KqlError
from hunting_emulator.kql.parser import parse
from hunting_emulator.kql.relations import Relation, numbered
from hunting_emulator.kql.scalars import Scope, boolean, compile_scalar
from hunting_emulator.kql.typed import Column, Typed, convert, literal

_NET_TYPES = {
    "string": "System.String",
    "datetime": "System.DateTime",
    "timespan": "System.TimeSpan",
    "bool": "System.SByte",
    "int": "System.Int32",
    "long": "System.Int64",
    "real": "System.Double",
    "decimal": "System.Data.SqlTypes.SqlDecimal",
    "guid": "System.Guid",
    "dynamic": "System.Object",
}


class Source(Protocol):
    """A table of the tenant."""

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """The names and Kusto types of the columns."""

    @property
    def time_column(self) -> str | None:
        """The column that the spans of `scan` refer to."""

    def scan(self, spans: bounds.Spans) -> str:
        """Return SQL of c0, c1, ... with at least all rows that are in the spans or have a null time."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The environment of a query: its tables, the current instant in ticks, and an evaluator of constants."""

    table: Callable[[str], Source | None]
    now: int
    evaluate: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Compiled:
    """SQL with `columns` in this order; `tables` are the names of the tables that it reads."""

    sql: str
    columns: tuple[Column, ...]
    ordered: bool
    tables: tuple[str, ...]


def compile_query(query: str, catalogue: Catalogue) -> Compiled:
    """Compile a KQL text to one DuckDB query. Raise KqlError with a message like the service's."""
    compiler = _Compiler(catalogue)
    relation = compiler.query(parse(query))
    return Compiled(relation.sql, relation.columns, relation.ordered, tuple(compiler.tables))


class _Compiler:
    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._scalars: dict[str, Typed] = {}
        self._pipelines: dict[str, s.Pipeline] = {}
        self.tables: list[str] = []

    def query(self, query: s.Query) -> Relation:
        for let in query.lets:
            self._let(let)
        return self.pipeline(query.pipeline)

    def _let(self, let: s.Let) -> None:
        if isinstance(let.value, s.Pipeline):
            self._pipelines[let.name] = let.value
        elif isinstance(let.value, s.Name) and let.value.name not in self._scalars:
            self._pipelines[let.name] = s.Pipeline(let.value, ())
        else:
            self._scalars[let.name] = compile_scalar(let.value, self._scope("let", ()))

    def _scope(self, operator: str, columns: tuple[Column, ...], *, aggregating: bool = False) -> Scope:
        return Scope(
            operator,
            columns,
            self._scalars,
            self._catalogue.now,
            self._subquery,
            self._catalogue.evaluate,
            aggregating,
        )

    def _subquery(self, pipeline: s.Pipeline) -> tuple[str, tuple[Column, ...]]:
        relation = self.pipeline(pipeline)
        return relation.sql, relation.columns

    def pipeline(self, pipeline: s.Pipeline) -> Relation:
        relation = self._source(pipeline)
        for operator in pipeline.operators:
            relation = self._apply(relation, operator)
        return relation

    def _source(self, pipeline: s.Pipeline) -> Relation:
        match pipeline.source:
            case s.Pipeline() as inner:
                return self.pipeline(inner)
            case s.Union(sources):
                return relations.union([self.pipeline(source) for source in sources])
            case s.Print(items):
                return self._project(Relation("SELECT 1", ()), items, "print")
            case s.DataTable() as table:
                return relations.datatable(table)
            case s.Name(name):
                return self._table(name, pipeline.operators)

    def _table(self, name: str, operators: tuple[s.Operator, ...]) -> Relation:
        if name in self._pipelines:
            return self.pipeline(self._pipelines[name])
        source = self._catalogue.table(name)
        if source is None:
            raise KqlError(f"Failed to resolve table or column expression named '{name}'")
        self.tables.append(name)
        columns = tuple(Column(title, kind, f"c{at}") for at, (title, kind) in enumerate(source.columns))
        sql = source.scan(self._spans(source, operators, columns))
        return Relation(sql, columns, time_column=source.time_column)

    def _spans(
        self, source: Source, operators: tuple[s.Operator, ...], columns: tuple[Column, ...]
    ) -> bounds.Spans:
        """Return the spans that are allowed by the `where`s directly after the table."""
        allowed = bounds.ALWAYS
        if source.time_column is None:
            return allowed
        for operator in operators:
            if not isinstance(operator, s.Where):
                break
            found = bounds.spans(
                operator.predicate, source.time_column, lambda expr: self._instant(expr, columns)
            )
            allowed = bounds.intersect(allowed, found)
        return allowed

    def _instant(self, expr: s.Expr, columns: tuple[Column, ...]) -> int | None:
        if isinstance(expr, s.Name) and expr.name not in self._scalars:
            return None
        made = compile_scalar(expr, self._scope("where", columns))
        if not made.constant or made.type != "datetime":
            return None
        value = made.value if made.value is not None else self._catalogue.evaluate(f"SELECT {made.sql}")
        return value if isinstance(value, int) else None

    def _apply(self, relation: Relation, operator: s.Operator) -> Relation:  # noqa: C901, PLR0911 - one answer per kind of operator
        match operator:
            case s.Where(predicate):
                return self._where(relation, predicate)
            case s.Columns(op, items):
                return self._columns(relation, op, items)
            case s.Summarize(measures, by):
                return self._summarize(relation, measures, by)
            case s.Count():
                return Relation(
                    f"SELECT count(*) AS c0 FROM ({relation.sql})", (Column("Count", "long", "c0"),)
                )
            case s.GetSchema():
                return _getschema(relation)
            case s.Take(rows):
                return relation.limited(self._number(rows, "take"))
            case s.Sort(keys, rows):
                return self._sort(relation, keys, rows)
            case s.Join(kind, right, keys, lookup):
                return relations.join(relation, self.pipeline(right), kind, keys, lookup=lookup)
            case s.Expand(item, kind):
                return self._expand(relation, item, kind)
            case s.Union(sources):
                return relations.union([relation, *(self.pipeline(source) for source in sources)])

    def _where(self, relation: Relation, predicate: s.Expr) -> Relation:
        test = boolean(predicate, self._scope("where", relation.columns)).sql
        for column in relation.columns:
            if column.name == relation.time_column:
                arguments = (predicate, column.name, lambda expr: self._instant(expr, relation.columns))
                if bounds.exact(*arguments):
                    test = bounds.sql(column.ref, bounds.spans(*arguments))
        return replace(relation, sql=f"SELECT * FROM ({relation.sql}) WHERE {test}")

    def _number(self, expr: s.Expr, operator: str) -> int:
        made = compile_scalar(expr, self._scope(operator, ()))
        value = self._catalogue.evaluate(f"SELECT {made.sql}")
        if not isinstance(value, int) or value < 0:
            raise KqlError(f"'{operator}' operator: the number of rows must be a non-negative integer")
        return value

    def _columns(self, relation: Relation, op: str, items: tuple[s.Item, ...]) -> Relation:
        if op == "project":
            return self._project(relation, items, op)
        if op == "extend":
            return self._extend(relation, items)
        if op == "distinct":
            made = self._project(relation, self._starred(relation, items), op)
            return Relation(f"SELECT DISTINCT {made.refs()} FROM ({made.sql})", made.columns)
        return relations.reshape(relation, op, items)

    def _starred(self, relation: Relation, items: tuple[s.Item, ...]) -> tuple[s.Item, ...]:
        if items == (s.Item(None, s.Star()),):
            return tuple(s.Item(None, s.Name(column.name)) for column in relation.columns)
        return items

    def _project(self, relation: Relation, items: tuple[s.Item, ...], op: str) -> Relation:
        scope = self._scope(op, relation.columns)
        made = [
            (self._title(item, at, op), compile_scalar(item.expr, scope)) for at, item in enumerate(items)
        ]
        return relation.selecting(numbered(made))

    def _extend(self, relation: Relation, items: tuple[s.Item, ...]) -> Relation:
        scope = self._scope("extend", relation.columns)
        made = {column.name: Typed(column.ref, column.type) for column in relation.columns}
        for at, item in enumerate(items):
            made[self._title(item, at, "extend")] = compile_scalar(item.expr, scope)
        return relation.selecting(list(made.items()))

    def _title(self, item: s.Item, at: int, op: str) -> str:
        """Return the name of a result column: the given name, or the name that Kusto derives."""
        prefix = "print_" if op == "print" else "Column"
        return item.name or _derived(item.expr) or f"{prefix}{at if op == 'print' else at + 1}"

    def _summarize(
        self, relation: Relation, measures: tuple[s.Item, ...], by: tuple[s.Item, ...]
    ) -> Relation:
        grouping = self._scope("summarize", relation.columns)
        measuring = replace(grouping, aggregating=True)
        made = [
            (self._title(item, at, "summarize"), compile_scalar(item.expr, grouping))
            for at, item in enumerate(by)
        ]
        for at, item in enumerate(measures):
            if isinstance(item.expr, s.Call) and item.expr.name in ("arg_max", "arg_min"):
                made += self._of_extreme(item, relation, taken=[title for title, _ in made])
            else:
                made.append((self._title(item, at, "summarize"), compile_scalar(item.expr, measuring)))
        groups = f" GROUP BY {', '.join(str(at + 1) for at in range(len(by)))}" if by else ""
        unsorted = replace(relation, ordered=False).selecting(numbered(made))
        return replace(unsorted, sql=unsorted.sql + groups)

    def _of_extreme(self, item: s.Item, relation: Relation, taken: Sequence[str]) -> list[tuple[str, Typed]]:
        """Compile `arg_max(by, columns)`: the greatest value and columns of its row. `*` means all others."""
        assert isinstance(item.expr, s.Call)  # noqa: S101 - by `_summarize`
        name, (by, *others) = item.expr.name, item.expr.args
        scope = self._scope("summarize", relation.columns)
        key = compile_scalar(by, scope)
        found = [(item.name or _derived(by) or f"{name}_", Typed(f"{name[4:]}({key.sql})", key.type))]
        known = {*taken, found[0][0]}
        for other in others:
            wanted = (
                [s.Name(c.name) for c in relation.columns if c.name not in known]
                if other == s.Star()
                else [other]
            )
            for expr in wanted:
                made = compile_scalar(expr, scope)
                value = f"arg_{name[4:]}({made.sql}, {key.sql})"
                filled = f"coalesce({value}, '')" if made.type == "string" else value
                found.append((_derived(expr) or "Column1", Typed(filled, made.type)))
        return found

    def _expand(self, relation: Relation, item: s.Item, kind: str) -> Relation:
        """Expand lists to rows. A null gives one row with a null, an empty list gives no row."""
        lists = compile_scalar(item.expr, self._scope("mv-expand", relation.columns))
        if lists.type != "dynamic":
            raise KqlError(f"'mv-expand' operator: a value of type {lists.type} cannot be expanded")
        title = self._title(item, 0, "mv-expand")
        rows = f"SELECT *, {relations.elements(lists.sql)} AS element FROM ({relation.sql})"
        made = {column.name: Typed(column.ref, column.type) for column in relation.columns}
        made[title] = convert(Typed("element", "dynamic"), kind)
        return replace(relation, sql=rows, time_column=None).selecting(list(made.items()))

    def _sort(self, relation: Relation, keys: tuple[s.SortKey, ...], rows: s.Expr | None) -> Relation:
        scope = self._scope("sort" if rows is None else "top", relation.columns)
        order = ", ".join(
            f"{compile_scalar(key.expr, scope).sql} {'DESC' if key.descending else 'ASC'}"
            f" NULLS {'FIRST' if key.nulls_first else 'LAST'}"
            for key in keys
        )
        bare = f"SELECT {relation.refs()} FROM ({relation.sql})"
        if rows is not None:
            bare += f" ORDER BY {order} LIMIT {self._number(rows, 'top')}"
        return Relation(
            f"SELECT *, row_number() OVER (ORDER BY {order}) AS ord FROM ({bare})", relation.columns, True
        )


def _derived(expr: s.Expr) -> str | None:
    match expr:
        case s.Name(name):
            return name
        case s.Path(_, s.Literal("string", key)):
            return str(key)
        case s.Call(name, args) if name in functions.KEEPS_NAME and args:
            return _derived(args[0])
        case s.Call(name, args) if name in ("count", "sum", "min", "max", "avg", "dcount", "countif") or (
            name in RESULT_PREFIX
        ):
            inner = (_derived(args[0]) or "") if args else ""
            prefix = RESULT_PREFIX.get(name, name)
            return f"{prefix}_{inner}" if prefix else inner
        case _:
            return None


def _getschema(relation: Relation) -> Relation:
    titles = (
        ("ColumnName", "string"),
        ("ColumnOrdinal", "int"),
        ("DataType", "string"),
        ("ColumnType", "string"),
    )
    rows = ", ".join(
        f"({literal('string', column.name).sql}, {at}, '{_NET_TYPES[column.type]}', '{column.type}')"
        for at, column in enumerate(relation.columns)
    )
    columns = tuple(Column(title, kind, f"c{at}") for at, (title, kind) in enumerate(titles))
    return Relation(f"SELECT * FROM (VALUES {rows}) AS v(c0, c1, c2, c3)", columns)
