"""KQL has the same meaning in the emulator as in Kusto."""

from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from hunting_emulator import ticks
from hunting_emulator.kql.compiler import Catalogue, compile_query
from hunting_emulator.kql.errors import KqlError
from hunting_emulator.kql.typed import MACROS

NOW = ticks.parse("2026-11-20T12:00:00Z")
Ask = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    database = duckdb.connect()
    for macro in MACROS:
        database.execute(f"CREATE MACRO {macro}")

    def evaluate(sql: str) -> object:
        return database.execute(sql).fetchall()[0][0]

    return Catalogue(lambda name: None, NOW, evaluate)


@pytest.fixture(scope="module")
def ask(catalogue: Catalogue) -> Ask:
    database = duckdb.connect()
    for macro in MACROS:
        database.execute(f"CREATE MACRO {macro}")

    def run(query: str) -> list[tuple[Any, ...]]:
        compiled = compile_query(query, catalogue)
        refs = ", ".join(column.ref for column in compiled.columns)
        order = " ORDER BY ord" if compiled.ordered else ""
        return database.execute(f"SELECT {refs} FROM ({compiled.sql}){order}").fetchall()

    return run


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("tolong(datetime(0001-01-01))", 0),
        ("tolong(datetime(1970-01-01))", 621_355_968_000_000_000),
        ("tolong(datetime(2026-11-20T10:00:00.1234567Z) - datetime(2026-11-20T10:00:00.1234566Z))", 1),
        ("tolong(datetime(2026-11-20T10:00:00.1Z) - datetime(2026-11-20T10:00:00Z))", 1_000_000),
        ("tostring(datetime(2026-11-20 10:00))", "2026-11-20T10:00:00.0000000Z"),
        ("tostring(bin(datetime(2026-11-20T10:44:59.9999999Z), 15m))", "2026-11-20T10:30:00.0000000Z"),
        ("tolong(bin(datetime(2026-11-20T10:00:00.0000007Z), 1tick) - datetime(2026-11-20T10:00:00Z))", 7),
        ("tolong(time(00:00:00.0000001))", 1),
        ("tolong(1microsecond)", 10),
        ("tolong(1.5h)", 54_000_000_000),
        ("tostring(1d + 2h)", "1.02:00:00"),
        ("tostring(-15m)", "-00:15:00"),
        ("1h / 15m", 4.0),
        ("tostring(ago(1d))", "2026-11-19T12:00:00.0000000Z"),
        ("tostring(startofday(now()))", "2026-11-20T00:00:00.0000000Z"),
        ("5 / 2", 2),
        ("5 / 2.0", 2.5),
        ("7 % 3", 1),
        ("-7 + 2 * 3", -1),
        ("bin(-3, 5)", -5),
        ("bin(7, 5)", 5),
        ("isnull(bin(long(null), 5))", True),
        ("isnull(datetime(null))", True),
        ("isnull('')", False),
        ("isempty('')", True),
        ("isempty(tostring(long(null)))", True),
        ("int(null) == 1", False),
        ("int(null) != 1", True),
        ("iff(int(null) > 1, 'yes', 'no')", "no"),
        ("case(1 > 2, 'a', 3 > 2, 'b', 'c')", "b"),
        ("'Foo Bar' has 'bar'", True),
        ("'FooBar' has 'bar'", False),
        ("'Foo Bar' has_cs 'bar'", False),
        ("'Foo Bar' !has 'baz'", True),
        ("'FooBar' contains 'OBA'", True),
        ("'FooBar' contains_cs 'OBA'", False),
        ("'FooBar' startswith 'foo' and 'FooBar' endswith 'BAR'", True),
        ("'abc' == 'ABC'", False),
        ("'abc' =~ 'ABC' and 'abc' !~ 'abd'", True),
        ("'abc' in ('x', 'abc')", True),
        ("'abc' in~ ('X', 'ABC')", True),
        ("'abc' !in (dynamic(['abc']))", False),
        ("'10.1.2.3' matches regex @'^10\\.'", True),
        ("3 between (1 .. 3) and 3 !between (4 .. 5)", True),
        ("now() between (ago(1h) .. 2h)", True),
        ('parse_json(\'{"a":[1,{"b":"x"}]}\').a[1].b == \'x\'', True),
        ("tolong(parse_json('{\"a\":9007199254740993}').a)", 9_007_199_254_740_993),
        ("strcat('a', 1, tostring(true))", "a1true"),
        ("strlen('日本')", 2),
        ("estimate_data_size('日本', 1, int(2))", 18),
        ("tolong('12x')", None),
        ("toint('12')", 12),
        ("1 // a comment with a ' quote and a | pipe\n + 1", 2),
    ],
)
def test_expressions(ask: Ask, expression: str, value: object) -> None:
    assert ask(f"print {expression}") == [(value,)]


def test_a_histogram_counts_and_sums_ticks(ask: Ask) -> None:
    rows = ask(
        """datatable(Timestamp: datetime) [
            datetime(2026-11-20T10:00:00Z), datetime(2026-11-20T10:14:59.9999999Z),
            datetime(2026-11-20T10:15:00Z), datetime(null)]
        | where (Timestamp >= datetime(2026-11-20T10:00:00Z) and Timestamp < datetime(2026-11-20T10:15:00Z))
            or (Timestamp >= datetime(2026-11-20T10:15:00Z) and Timestamp < datetime(2026-11-20T11:00:00Z))
        | summarize Rows = count(), Checksum = sum(tolong(Timestamp) % 1000000007)
            by Span = case(Timestamp < datetime(2026-11-20T10:15:00Z), 0,
                           Timestamp < datetime(2026-11-20T11:00:00Z), 1, 2),
               Bin = bin(Timestamp, 15m)
        | sort by Bin asc"""
    )
    ten = ticks.parse("2026-11-20T10:00:00Z")
    quarter = 15 * ticks.MINUTE
    first = ten % 1_000_000_007 + (ten + quarter - 1) % 1_000_000_007
    assert rows == [(0, ten, 2, first), (1, ten + quarter, 1, (ten + quarter) % 1_000_000_007)]


def test_hash_buckets_split_the_rows_and_keep_equal_rows_together(ask: Ask) -> None:
    table = "datatable(a: long, b: string)[1, 'x', 1, 'x', 2, 'y', 3, '', 4, 'z', 1, 'x']"
    buckets = ask(f"{table} | summarize Rows = count() by Bucket = hash(tostring(pack_all()), 8)")
    assert sum(rows for _, rows in buckets) == 6
    for bucket, rows in buckets:
        assert ask(f"{table} | where hash(tostring(pack_all()), 8) == {bucket} | count") == [(rows,)]


def test_names_that_differ_in_case_only_are_two_columns(ask: Ask) -> None:
    table = "datatable(LogonId: long, LogonID: long)[1, 2]"
    assert ask(f"{table} | project LogonID, LogonId | extend LogonID = LogonID + 10") == [(12, 1)]
    with pytest.raises(KqlError, match="named 'logonid'"):
        ask(f"{table} | project logonid")


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("T | where b != 'x' | project a | sort by a asc", [(None,), (2,), (3,)]),
        ("T | summarize sum(a), min(a), max(a), countif(a > 1), dcount(b)", [(6, 1, 3, 2, 4)]),
        ("T | where false | summarize count(), sum(a), max(a)", [(0, 0, None)]),
        ("T | where false | summarize count() by b", []),
        ("T | top 1 by a desc", [(3, "z")]),
        ("T | sort by a desc | take 2 | project b", [("z",), ("y",)]),
        ("T | distinct a | count", [(4,)]),
        ("let n = 1; let U = T | where a > n; U | count", [(2,)]),
        ("T | where a in ((T | where b == 'z' | project a)) | project b", [("z",)]),
        ("T | where a > toscalar(T | summarize min(a)) | count", [(2,)]),
        ("T | join kind=inner (T | project a, c = b) on a | count", [(3,)]),
        ("T | join kind=leftanti (T | where a > 1) on a | project b | sort by b asc", [("",), ("x",)]),
        ("union T, (T | take 1) | count", [(5,)]),
        ("T | project-away b | project-rename c = a | where isnull(c) | count", [(1,)]),
        ("T | take 0", []),
    ],
)
def test_operators(ask: Ask, query: str, rows: list[tuple[Any, ...]]) -> None:
    table = "let T = datatable(a: long, b: string)[1, 'x', 2, 'y', 3, 'z', long(null), ''];\n"
    assert ask(table + query) == rows


def test_getschema_names_the_types(ask: Ask) -> None:
    table = "datatable(a: long, t: datetime, d: dynamic, f: bool)[]"
    assert ask(f"{table} | getschema") == [
        ("a", 0, "System.Int64", "long"),
        ("t", 1, "System.DateTime", "datetime"),
        ("d", 2, "System.Object", "dynamic"),
        ("f", 3, "System.SByte", "bool"),
    ]


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("print 1 | summarize count()", "count_"),
        ("print x = 1 | summarize sum(x)", "sum_x"),
        ("print x = now() | summarize by bin(x, 1h)", "x"),
        ("print x = 1 | summarize dcount(x)", "dcount_x"),
        ("print x = 1 | project x + 1", "Column1"),
        ("print x = 1 | count", "Count"),
        ("print x = 1 | summarize make_set(x)", "set_x"),
    ],
)
def test_unnamed_results_get_kustos_names(catalogue: Catalogue, query: str, title: str) -> None:
    assert compile_query(query, catalogue).columns[0].name == title


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("Nope", "Failed to resolve table or column expression named 'Nope'"),
        (
            "print a = 1 | where b == 1",
            "'where' operator: Failed to resolve column or scalar expression named 'b'",
        ),
        ("print a = 1 | evaluate pivot(a)", "Syntax error: 'evaluate' is not an operator"),
        ("print a = frobnicate(1)", "Unknown function: 'frobnicate'"),
        ("print a = 1 | where a ==", "Syntax error"),
        ("print a = 1 | where", "Syntax error"),
        ("print a = (1", "Syntax error"),
        ("print a = 'open", "Syntax error"),
        ("print a = datetime(2026-13-45)", "is not a valid datetime literal"),
        ("print a = 'x' > 1", "Cannot compare values of types string and long"),
        ("print a = 'x' + 1", "Operator '\\+' cannot be applied"),
        ("print a = count()", "cannot be invoked in current context"),
        ("let x = 1;", "Syntax error"),
        ("", "Syntax error"),
        ("print a = 1 ; print b = 2", "Syntax error"),
    ],
)
def test_errors_have_the_words_of_the_service(ask: Ask, query: str, message: str) -> None:
    with pytest.raises(KqlError, match=message):
        ask(query)


def test_many_branches_have_the_meaning_of_few(ask: Ask) -> None:
    bounds = range(10, 100, 10)
    tests = ", ".join(f"x < {bound}, {at}" for at, bound in enumerate(bounds))
    values = [-5, 9, 10, 11, 55, 89, 90, 1000]
    table = f"datatable(x: long)[{', '.join(map(str, values))}, long(null)]"
    found = dict(ask(f"{table} | extend y = case({tests}, 9) | project x, y"))
    assert found == {value: sum(value >= bound for bound in bounds) for value in values} | {None: 9}


PEOPLE = """datatable(K: string, N: long, L: dynamic)
    ['a', 1, dynamic([1, 2]), 'b', 2, dynamic([]), 'a', 3, dynamic(null)]"""


def test_a_list_is_expanded_row_by_row(ask: Ask) -> None:
    """Check that a null stays a row and an empty list gives no row."""
    assert ask(f"{PEOPLE} | mv-expand E = L to typeof(long) | project N, E | sort by N asc, E asc") == [
        (1, 1),
        (1, 2),
        (3, None),
    ]
    with pytest.raises(KqlError, match="cannot be expanded"):
        ask(f"{PEOPLE} | mv-expand N")


def test_the_row_of_an_extreme(ask: Ask) -> None:
    assert ask(f"{PEOPLE} | summarize arg_max(N, *) by K | project K, N | sort by K asc") == [
        ("a", 3),
        ("b", 2),
    ]
    assert ask(f"{PEOPLE} | summarize Least = arg_min(N, K) | project Least, K") == [(1, "a")]


def test_a_lookup_has_its_keys_once(ask: Ask, catalogue: Catalogue) -> None:
    query = "| lookup (datatable(K: string, V: long) ['a', 7]) on K"
    assert ask(f"{PEOPLE} {query} | project N, V | sort by N asc") == [(1, 7), (2, None), (3, 7)]
    assert [c.name for c in compile_query(f"{PEOPLE} {query}", catalogue).columns] == ["K", "N", "L", "V"]


def test_a_named_table_is_a_set(ask: Ask) -> None:
    few = "let few = datatable(K: string) ['b'];"
    assert ask(f"{few} {PEOPLE} | where K in (few) | project N") == [(2,)]
