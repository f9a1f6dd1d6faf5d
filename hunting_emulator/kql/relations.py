# ruff: noqa: S608 - this module generates SQL; it defines all names, and one function quotes the literals
"""Relations: SQL with named and typed columns, and the operators that only rearrange columns or rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from hunting_emulator.kql import syntax as s
from hunting_emulator.kql.errors import KqlError
from hunting_emulator.kql.typed import STORAGE, Column, Typed, literal

_JOINS = {
    "inner": "JOIN",
    "innerunique": "JOIN",
    "leftouter": "LEFT JOIN",
    "rightouter": "RIGHT JOIN",
    "fullouter": "FULL JOIN",
    "leftsemi": "SEMI JOIN",
    "leftanti": "ANTI JOIN",
    "anti": "ANTI JOIN",
}


@dataclass(frozen=True, slots=True)
class Relation:
    """SQL with the columns c0, c1, ... and, if `ordered`, the rank `ord`.

    `time_column` is set while only `where` operators follow the table.
    """

    sql: str
    columns: tuple[Column, ...]
    ordered: bool = False
    time_column: str | None = None

    def refs(self) -> str:
        """Return the SQL names of all columns, for a select list."""
        return ", ".join(column.ref for column in self.columns)

    def selecting(self, items: Sequence[tuple[str, Typed]]) -> "Relation":
        """Select new columns, computed from the columns of this relation. The order of rows is kept."""
        rank = ["ord"] if self.ordered else []
        chosen = [f"{typed.sql} AS c{at}" for at, (_, typed) in enumerate(items)]
        columns = tuple(Column(name, typed.type, f"c{at}") for at, (name, typed) in enumerate(items))
        return Relation(f"SELECT {', '.join([*chosen, *rank])} FROM ({self.sql})", columns, self.ordered)

    def limited(self, rows: int) -> "Relation":
        """Limit the rows: the first rows of a sorted relation, or arbitrary rows of any other relation."""
        order = " ORDER BY ord" if self.ordered else ""
        return Relation(f"SELECT * FROM ({self.sql}){order} LIMIT {rows}", self.columns, self.ordered)


def numbered(items: Sequence[tuple[str, Typed]]) -> list[tuple[str, Typed]]:
    """Rename repeated names of items with a number, as Kusto does."""
    seen: dict[str, int] = {}
    found = []
    for name, typed in items:
        count = seen.get(name, 0)
        seen[name] = count + 1
        found.append((f"{name}{count}" if count else name, typed))
    return found


def reshape(relation: Relation, op: str, items: Sequence[s.Item]) -> Relation:
    """Apply `project-away`, `project-keep`, `project-rename` or `project-reorder`."""
    columns = {column.name: Typed(column.ref, column.type) for column in relation.columns}
    if op == "project-rename":
        renamed = {_existing(item, columns, op): item.name for item in items}
        return relation.selecting([(renamed.get(name) or name, typed) for name, typed in columns.items()])
    named = [_existing(item, columns, op) for item in items]
    if op == "project-reorder":
        rest = [name for name in columns if name not in named]
        return relation.selecting([(name, columns[name]) for name in [*named, *rest]])
    keep = op == "project-keep"
    return relation.selecting([pair for pair in columns.items() if (pair[0] in named) == keep])


def _existing(item: s.Item, columns: dict[str, Typed], op: str) -> str:
    name = item.expr.name if isinstance(item.expr, s.Name) else ""
    if name not in columns:
        raise KqlError(f"'{op}' operator: Failed to resolve column named '{name}'")
    return name


def datatable(table: s.DataTable) -> Relation:
    """Compile a table that is written in the query."""
    for _, kind in table.columns:
        if kind not in STORAGE:
            raise KqlError(f"Syntax error: unknown type '{kind}'")
    width = len(table.columns)
    if len(table.values) % width:
        raise KqlError("datatable: the number of values is not a multiple of the number of columns")
    cells = [literal(table.columns[at % width][1], value.value).sql for at, value in enumerate(table.values)]
    rows = [f"({', '.join(cells[at : at + width])})" for at in range(0, len(cells), width)]
    columns = tuple(Column(name, kind, f"c{at}") for at, (name, kind) in enumerate(table.columns))
    chosen = ", ".join(f"v.c{at}::{STORAGE[kind]} AS c{at}" for at, (_, kind) in enumerate(table.columns))
    blank = f"({', '.join(f'NULL::{STORAGE[kind]}' for _, kind in table.columns)})"
    body = f"SELECT * FROM (VALUES {', '.join(rows or [blank])}) AS v({', '.join(c.ref for c in columns)})"
    return Relation(f"SELECT {chosen} FROM ({body}) v" + ("" if rows else " WHERE false"), columns)


def union(parts: Sequence[Relation]) -> Relation:
    """Combine all rows of several relations.

    If a column has different types, each type gets its own column, such as `Name_long` and `Name_string`.
    """
    kinds: dict[str, list[str]] = {}
    for part in parts:
        for column in part.columns:
            if column.type not in kinds.setdefault(column.name, []):
                kinds[column.name].append(column.type)
    titles = [
        (name if len(types) == 1 else f"{name}_{kind}", name, kind)
        for name, types in kinds.items()
        for kind in types
    ]
    bodies = []
    for part in parts:
        mine = {(column.name, column.type): column.ref for column in part.columns}
        cells = [
            f"{mine.get((name, kind)) or literal(kind, None).sql} AS c{at}"
            for at, (_, name, kind) in enumerate(titles)
        ]
        bodies.append(f"SELECT {', '.join(cells)} FROM ({part.sql})")
    columns = tuple(Column(title, kind, f"c{at}") for at, (title, _, kind) in enumerate(titles))
    return Relation(" UNION ALL ".join(bodies), columns)


def elements(lists: str) -> str:
    """Return SQL that expands a JSON list into its elements. Any other value stays one value."""
    of_list = f"CASE WHEN json_type({lists}) = 'ARRAY' THEN json_extract({lists}, '$[*]') END"
    return f"unnest(coalesce({of_list}, [{lists}::JSON]))::VARCHAR"


def join(
    left: Relation, right: Relation, kind: str, keys: Sequence[tuple[str, str]], *, lookup: bool = False
) -> Relation:
    """Join rows with equal keys. A lookup keeps only the left keys. Equal names get a 1 on the right side."""
    if kind not in _JOINS:
        raise KqlError(f"'join' operator: unknown kind '{kind}'")
    left_refs = {column.name: column.ref for column in left.columns}
    right_refs = {column.name: column.ref for column in right.columns}
    for mine, theirs in keys:
        if mine not in left_refs or theirs not in right_refs:
            missing = theirs if mine in left_refs else mine
            raise KqlError(f"'join' operator: Failed to resolve column named '{missing}'")
    test = " AND ".join(f"l.{left_refs[mine]} = r.{right_refs[theirs]}" for mine, theirs in keys)
    mine_sql = f"({left.sql})"
    if kind == "innerunique":
        mine_sql = (
            f"(SELECT DISTINCT ON ({', '.join(left_refs[key] for key, _ in keys)}) * FROM ({left.sql}))"
        )
    one_sided = kind in ("leftsemi", "leftanti", "anti")
    made = [(c.name, _filled(f"l.{c.ref}", c.type)) for c in left.columns]
    if not one_sided:
        taken = set(left_refs)
        made += [
            (f"{c.name}1" if c.name in taken else c.name, _filled(f"r.{c.ref}", c.type))
            for c in right.columns
            if not (lookup and c.name in {theirs for _, theirs in keys})
        ]
    columns = tuple(Column(name, typed.type, f"c{at}") for at, (name, typed) in enumerate(made))
    chosen = ", ".join(f"{typed.sql} AS c{at}" for at, (_, typed) in enumerate(made))
    return Relation(f"SELECT {chosen} FROM {mine_sql} l {_JOINS[kind]} ({right.sql}) r ON {test}", columns)


def _filled(ref: str, kind: str) -> Typed:
    return Typed(f"coalesce({ref}, '')" if kind == "string" else ref, kind)
