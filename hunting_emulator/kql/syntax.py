"""The syntax tree: frozen nodes, expressions first, then tabular operators."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Literal:
    """A value with its Kusto type; datetime and timespan are ticks, None is null."""

    type: str
    value: object


@dataclass(frozen=True, slots=True)
class Name:
    """A column, a `let` scalar or a table."""

    name: str


@dataclass(frozen=True, slots=True)
class Star:
    """`*`, as in `estimate_data_size(*)`."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an aggregate."""

    name: str
    args: tuple["Expr", ...]


@dataclass(frozen=True, slots=True)
class Binary:
    """`left op right`: arithmetic, comparison, string operators, `and`, `or`."""

    op: str
    left: "Expr"
    right: "Expr"


@dataclass(frozen=True, slots=True)
class Negative:
    """Unary minus."""

    value: "Expr"


@dataclass(frozen=True, slots=True)
class Among:
    """`in`, `in~`, `has_any`, `has_all` and their negations."""

    op: str
    value: "Expr"
    items: tuple["Expr", ...]


@dataclass(frozen=True, slots=True)
class Between:
    """`value between (low .. high)`, inclusive at both ends."""

    value: "Expr"
    low: "Expr"
    high: "Expr"
    negated: bool


@dataclass(frozen=True, slots=True)
class Path:
    """A member or an element of a dynamic value."""

    base: "Expr"
    key: "Expr"


@dataclass(frozen=True, slots=True)
class Subquery:
    """A parenthesised tabular expression inside an expression."""

    pipeline: "Pipeline"


Expr = Literal | Name | Star | Call | Binary | Negative | Among | Between | Path | Subquery


@dataclass(frozen=True, slots=True)
class Item:
    """An expression with the name given to it, if any."""

    name: str | None
    expr: Expr


@dataclass(frozen=True, slots=True)
class Where:
    """Rows for which the predicate is true; null counts as false."""

    predicate: Expr


@dataclass(frozen=True, slots=True)
class Columns:
    """`project`, `extend`, `distinct` and the other `project-` forms, by `op`."""

    op: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Summarize:
    """Aggregates by groups."""

    aggregates: tuple[Item, ...]
    by: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """`| count`."""


@dataclass(frozen=True, slots=True)
class GetSchema:
    """`| getschema`."""


@dataclass(frozen=True, slots=True)
class Take:
    """`| take n`: any n rows."""

    rows: Expr


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of `sort`. Nulls come first or last."""

    expr: Expr
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Sort:
    """`| sort by`, and `| top` with a bound."""

    keys: tuple[SortKey, ...]
    rows: Expr | None


@dataclass(frozen=True, slots=True)
class Join:
    """`| join kind=... (right) on keys`. A key is two column names. `lookup` keeps only the left keys."""

    kind: str
    right: "Pipeline"
    keys: tuple[tuple[str, str], ...]
    lookup: bool = False


@dataclass(frozen=True, slots=True)
class Union:
    """Rows of several pipelines; as a source or after a pipe."""

    sources: tuple["Pipeline", ...]


@dataclass(frozen=True, slots=True)
class Print:
    """`print a = 1`: one row."""

    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class DataTable:
    """`datatable(name: type, ...) [values]`."""

    columns: tuple[tuple[str, str], ...]
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Expand:
    """`| mv-expand name = list to typeof(type)`: a row for each element."""

    item: Item
    type: str


Operator = Where | Columns | Summarize | Count | GetSchema | Take | Sort | Join | Union | Expand


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A source and the operators after it. A single name may also be a scalar."""

    source: "Name | Pipeline | Union | Print | DataTable"
    operators: tuple[Operator, ...]


@dataclass(frozen=True, slots=True)
class Let:
    """`let name = value;`, a scalar or a pipeline."""

    name: str
    value: Expr | Pipeline


@dataclass(frozen=True, slots=True)
class Query:
    """The `let` statements in order, then the one tabular statement."""

    lets: tuple[Let, ...]
    pipeline: Pipeline
