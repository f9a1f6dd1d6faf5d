"""The origin of a query's time is traced exactly, or the query is refused with its line and reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hunting_pipeline.hunt import Bound, Hunt
from hunting_pipeline.kql import queries
from hunting_pipeline.kql.functions import FUNCTIONS, FunctionRule, Rounding
from hunting_pipeline.kql.hunts import read_hunt
from hunting_pipeline.kql.operators import JOIN_KINDS, OPERATORS, Effect, Sides
from hunting_pipeline.kql.reading import Unsliceable, parse_query
from hunting_pipeline.model import DAY, HOUR, Proof, Slice, TableSpec, Window

COLUMNS = {
    "A": frozenset({"Timestamp", "DeviceId", "X"}),
    "B": frozenset({"Timestamp", "DeviceId", "Y"}),
    "Inventory": frozenset({"DeviceId", "Owner"}),
}


def hunt(text: str, time: str | None = "Timestamp", *, settled: bool = False) -> Hunt:
    return read_hunt(text, time, COLUMNS.get, settled=settled)


def marked(found: Hunt) -> str:
    """Return the text with each bound as `<column>`."""
    first, *others = found.parts
    bounds = [f"<{bound.column}>" for bound in found.bounds]
    return first + "".join(b + part for b, part in zip(bounds, others, strict=True))


PUSHED = {
    "A": "A<Timestamp>",
    "A | where X == 'a | b; // c' // | take 5\n;\n": "A<Timestamp> | where X == 'a | b; // c'",
    "A\n\n// nothing\n| where X has @'\\'\n\n| extend Y = 1;": (
        "A<Timestamp>\n| where X has @'\\'\n| extend Y = 1"
    ),
    "A | extend T = Timestamp | project-away X | project Timestamp = T": (
        "A<Timestamp> | extend T = Timestamp | project-away X | project Timestamp = T"
    ),
    "A | parse X with * 'a' Rest | mv-expand Rest | sort by X": (
        "A<Timestamp> | parse X with * 'a' Rest | mv-expand Rest | sort by X"
    ),
    "let a = A | where X > 1;\nlet unused = B;\na | distinct Timestamp, X": (
        "let a = A<Timestamp> | where X > 1;\nlet unused = B;\na | distinct Timestamp, X"
    ),
    "let a = A | where X > 1;\na | where X in (a)": "let a = A | where X > 1;\na<Timestamp> | where X in (a)",
    "let a = materialize(A | where X > 1); a": "let a = materialize(A<Timestamp> | where X > 1); a",
    "union withsource=S A, (B | where Y > 1) | where S != ''": (
        "union withsource=S (A<Timestamp>), (B<Timestamp> | where Y > 1) | where S != ''"
    ),
    "A | where X > 1 | union kind=outer B": "(A<Timestamp>) | where X > 1 | union kind=outer (B<Timestamp>)",
    "union A, Inventory | where X > 1": "union A, Inventory<Timestamp> | where X > 1",
    "union Device* | where X > 1": "union Device*<Timestamp> | where X > 1",
    "union *, | where X > 1": "union *,<Timestamp> | where X > 1",
    "A | join kind=inner (B) on DeviceId": "A<Timestamp> | join kind=inner (B) on DeviceId",
    "A | join kind=leftanti hint.strategy=broadcast B on DeviceId": (
        "A<Timestamp> | join kind=leftanti hint.strategy=broadcast B on DeviceId"
    ),
    "Inventory | join kind=inner B on DeviceId": "Inventory | join kind=inner (B<Timestamp>) on DeviceId",
    "A | summarize N = count() by DeviceId | join kind=rightouter (B | where Y > 1) on DeviceId": (
        "A | summarize N = count() by DeviceId"
        " | join kind=rightouter (B<Timestamp> | where Y > 1) on DeviceId"
    ),
    "A | lookup Inventory on DeviceId": "A<Timestamp> | lookup Inventory on DeviceId",
    "A | join kind=fullouter B on DeviceId": "A | join kind=fullouter B on DeviceId<Timestamp>",
    "A | evaluate bag_unpack(X) : (Timestamp: datetime, Y: string)": (
        "A | evaluate bag_unpack(X) : (Timestamp: datetime, Y: string)<Timestamp>"
    ),
    "A | evaluate hint.distribution=single bag_unpack(X) : (*, Y: string)": (
        "A | evaluate hint.distribution=single bag_unpack(X) : (*, Y: string)<Timestamp>"
    ),
    "A | mv-apply E = X on (top 1 by E)": "A | mv-apply E = X on (top 1 by E)<Timestamp>",
    "A | mv-apply E = X on (where E > 1)": "A | mv-apply E = X on (where E > 1)<Timestamp>",
}

LAGGING = {
    "A | project-rename T = Timestamp, Timestamp = X": "A<X> | project-rename T = Timestamp, Timestamp = X",
    "A | extend Timestamp = todatetime(X) | where X > 1": (
        "A | extend Timestamp = todatetime(X)<Timestamp> | where X > 1"
    ),
    "A | extend ['Timestamp'] = todatetime(X)": "A | extend ['Timestamp'] = todatetime(X)<Timestamp>",
    "A | project-rename ['Timestamp'] = X": "A<X> | project-rename ['Timestamp'] = X",
    "A | parse X with * ['Timestamp']": "A | parse X with * ['Timestamp']<Timestamp>",
    "A | project Timestamp = TimeGenerated": "A<TimeGenerated> | project Timestamp = TimeGenerated",
    "Unknown | project Timestamp = FirstSeen": "Unknown<FirstSeen> | project Timestamp = FirstSeen",
    "Unknown | evaluate bag_unpack(X) : (Timestamp: datetime)": (
        "Unknown | evaluate bag_unpack(X) : (Timestamp: datetime)<Timestamp>"
    ),
    "A | project X | evaluate bag_unpack(X) : (Timestamp: datetime)": (
        "A | project X | evaluate bag_unpack(X) : (Timestamp: datetime)<Timestamp>"
    ),
    "A | evaluate bag_unpack(X, columnsConflict='replace_source') : (*)": (
        "A | evaluate bag_unpack(X, columnsConflict='replace_source') : (*)<Timestamp>"
    ),
    "A | mv-apply X on (extend Timestamp = Timestamp - 5h)": (
        "A | mv-apply X on (extend Timestamp = Timestamp - 5h)<Timestamp>"
    ),
    "let a = A | extend Timestamp = Timestamp - 5h; union a, B": (
        "let a = A | extend Timestamp = Timestamp - 5h<Timestamp>; union a, (B<Timestamp>)"
    ),
    "A | extend Timestamp = Timestamp - 5h | join kind=fullouter B on DeviceId": (
        "A | extend Timestamp = Timestamp - 5h | join kind=fullouter B on DeviceId<Timestamp>"
    ),
} | {
    f"A | extend Timestamp = {value}": f"A | extend Timestamp = {value}<Timestamp>"
    for value in (
        "Timestamp - 5h",
        "datetime_utc_to_local(Timestamp, 'America/New_York')",
        "todatetime(strcat(substring(tostring(Timestamp), 0, 13), ':00:00Z'))",
        "unixtime_seconds_todatetime(tolong(X) / 3600 * 3600)",
        "datetime_add('hour', -hourofday(Timestamp), Timestamp)",
        "datetime(1970-01-01) + totimespan(tolong(Timestamp - datetime(1970-01-01)) / 36000 * 36000)",
        "iff(X > 1, Timestamp, bin(Timestamp, 1d))",
        "startofday(Timestamp, -1)",
    )
}  # fmt: skip


@pytest.mark.parametrize("text", PUSHED)
def test_bounds_go_as_far_up_as_they_are_exact(text: str) -> None:
    assert marked(hunt(text)) == PUSHED[text]


@pytest.mark.parametrize("text", LAGGING)
def test_a_time_that_is_not_a_tables_time_needs_a_delay_that_the_user_chose(text: str) -> None:
    """A row comes hours after such a time, when its partition is already archived."""
    with pytest.raises(Unsliceable, match=r"so a row can come long after .* set `settle` to"):
        hunt(text)
    assert marked(hunt(text, settled=True)) == LAGGING[text]


def test_a_table_without_the_usual_time_has_its_own() -> None:
    columns = {"Calls": {"ActivityTimestamp", "CallId"}}.get
    assert read_hunt("Calls | where CallId != ''", "ActivityTimestamp", columns).bounds == (
        Bound("ActivityTimestamp"),
    )


@pytest.mark.parametrize(
    ("text", "time", "step"),
    [
        ("A | summarize count() by bin(Timestamp, 1h), X", "Timestamp", HOUR),
        ("let s = 15m; A | summarize count() by T = bin(Timestamp, s)", "T", HOUR // 4),
        ("A | extend T = startofday(Timestamp) | summarize count() by X, T", "T", DAY),
        ("A | summarize by T = bin(Timestamp, 1h) | summarize count() by T = bin(T, 6h)", "T", 6 * HOUR),
        ("A | summarize arg_max(X, *) by Timestamp", "Timestamp", 1),
    ],
)
def test_the_step_is_the_bin_that_a_row_represents(text: str, time: str, step: int) -> None:
    found = hunt(text, time)
    assert found.step == step
    assert found.bounds == (Bound("Timestamp", step),)


REFUSED = {
    "A\n| where X > 1\n| take 10": (3, "`take`"),
    "A | limit 5": (1, "`limit`"),
    "A | sample 5": (1, "`sample`"),
    "A\n| top 5 by X": (2, "`top`"),
    "A | serialize | extend N = row_number()": (1, "`serialize`"),
    "A | extend N = row_number()": (1, "row_number(): its value depends"),
    "A | sort by X | extend P = prev(X)": (1, "prev()"),
    "let t = 7d;\nA\n| where Timestamp > ago(t)": (3, "ago()"),
    "A | extend Age = now() - Timestamp": (1, "now()"),
    "A | extend R = rand()": (1, "rand()"),
    "A | summarize take_any(X) by Timestamp": (1, "take_any()"),
    "A | render timechart": (1, "`render`"),
    "A | invoke FileProfile(SHA1)": (1, "`invoke` is not supported"),
    "A | extend Y = FileProfile(SHA1)": (1, "FileProfile(): it reads data outside"),
    "A | partition by X (take 1)": (1, "`partition` is not supported"),
    "let f = (T:(X: long)) { T };\nA | invoke f()": (2, "`invoke` is not supported"),
    "A | evaluate autocluster()": (1, "`evaluate autocluster` is not supported"),
    "A | evaluate pivot(X)": (1, "`evaluate pivot` is not supported"),
    "A | evaluate": (1, "`evaluate ` is not supported"),
    "A | evaluate bag_unpack(X)": (1, "`evaluate bag_unpack` without a schema"),
    "A | where X in ((evaluate http_request('https://lists.example')))": (
        1,
        "http_request(): it is not known",
    ),
    "A | where X in (_GetWatchlist('vip'))": (1, "_GetWatchlist(): it reads data outside"),
    "A\n| where X in ((externaldata(Y: string)['https://lists.example']))": (2, "externaldata(): it reads"),
    "A | where X in ((cluster('c').database('d').T | project Y))": (1, "cluster(): it reads"),
    "let w = 1h;\nA | where Timestamp > ['ago'](w)": (2, "ago(): it changes"),
    'A | extend Y = ["rand"]()': (1, "rand(): it returns"),
    "A | where Timestamp > ago\u200b(1d)": (1, "ago(): it changes"),
    "A | where Timestamp < datetime(now)": (1, "now(): it changes"),
    "A | where Timestamp < datetime ( now )": (1, "now(): it changes"),
    "A | where union == now (1d)": (1, "now(): it changes"),
    "let f = (x: long) { x + rand() };\nA | extend Y = f(X)": (1, "rand(): it returns"),
    "let ago = (x: timespan) { x };\nA | extend Y = ago(1d)": (2, "ago(): it changes"),
    "let f = (A);\nA | extend Y = f(X)": (2, "f(): it is not known"),
    "A | extend Y = saved_function(X)": (1, "saved_function(): it is not known"),
    "A | mv-apply E = X on (take 1)": (1, "`take`"),
    "A | mv-apply E = X to typeof(long) on\n(sample 1)": (2, "`sample`"),
    "A\n| join (B) on DeviceId": (2, "innerunique"),
    "A | where X in ((B | join kind=innerunique A on DeviceId | project X))": (1, "innerunique"),
    "A | project X": (1, "`project` removes Timestamp"),
    "A | project-away Timestamp": (1, "removes Timestamp"),
    "A | project-keep X": (1, "removes Timestamp"),
    "A | project-rename T = Timestamp": (1, "removes Timestamp"),
    "A | distinct X": (1, "removes Timestamp"),
    "A | count": (1, "`count` removes Timestamp"),
    "A\n| summarize count() by X": (2, "does not group by Timestamp"),
    "A | summarize arg_max(Timestamp, *) by X": (1, "does not group by Timestamp"),
    "A | summarize Timestamp = max(Timestamp) by X": (1, "does not group by Timestamp"),
    "A | summarize L = max(Timestamp) by X\n| extend Timestamp = L": (1, "does not group by L"),
    "A | summarize L = max(Timestamp) by X\n| extend Timestamp = L + 1h": (2, "the origin of"),
    "A | summarize N = count() by Timestamp = bin(Timestamp, 1.5h)": (
        1,
        "the length of the groups is not clear",
    ),
    "A | summarize N = count() by bin(Timestamp, 7d)": (1, "do not divide a day"),
    "A | summarize N = count() by T = bin(Timestamp, 5h)\n| extend Timestamp = T": (1, "do not divide a day"),
    "let t = datetime(2026-11-20);\nA | summarize count() by Timestamp = t": (
        2,
        "the length of the groups is not clear",
    ),
    "A | extend (Timestamp, Y) = series_stats(X)": (1, "has no name: give the value a name"),
    "A | extend bin(Timestamp, 1h)": (1, "has no name: give the value a name"),
    "A | project todatetime(Timestamp)": (1, "has no name: give the value a name"),
    "(A | summarize arg_max(Timestamp, *) by X) | join kind=inner B on X": (1, "the origin of"),
    "let f = (x: int) { A | where X == x };\nf(1)": (2, "`f(1)` is not a table"),
    "search 'x' | where X > 1": (1, "is not a table"),
    "search x | where X > 1": (1, "is not a table"),
    "search * | where X > 1": (1, "is not a table"),
    "let a = a | where X > 1; a": (1, "refers to itself"),
    "Inventory | where Owner != ''": (1, "Inventory has no column Timestamp"),
    "union Inventory, (A | project X)": (1, "`union` removes Timestamp"),
    "Inventory | join kind=inner (A | project X, DeviceId) on DeviceId": (1, "`join` removes Timestamp"),
    "Inventory | join kind=leftsemi A on DeviceId": (1, "`join` removes Timestamp"),
    "A | where X == 'open": (1, "a quote is not closed"),
    "A\n| where (X > 1": (2, "'(' is not closed"),
    "A | where X > 1)": (1, "closes a bracket that is not open"),
    "A | | where X": (1, "nothing on one of its sides"),
    "let a = A;": (1, "ends with a `let`"),
    "set notruncation; A": (1, "only `let` statements"),
    "// only words\n": (1, "there is no query"),
    "union withsource=Timestamp A, B": (1, "holds the name of a table"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_query_whose_result_can_change_is_refused_with_its_line(text: str) -> None:
    line, words = REFUSED[text]
    with pytest.raises(Unsliceable) as caught:
        hunt(text)
    assert (caught.value.line, words in caught.value.reason) == (line, True), caught.value


def operators_with(effect: Effect) -> list[str]:
    return [name for name, rule in OPERATORS.items() if rule.effect is effect]


@pytest.mark.parametrize("name", OPERATORS)
def test_the_name_of_an_operator_is_one_word(name: str) -> None:
    assert [token.text for token in parse_query(f"A|{name} X").tokens] == ["A", "|", name, "X"]


@pytest.mark.parametrize("name", [name for name, rule in OPERATORS.items() if rule.refused])
def test_no_hunt_uses_an_operator_whose_result_is_not_defined(name: str) -> None:
    for time in ("Timestamp", None):
        with pytest.raises(Unsliceable) as caught:
            hunt(f"A\n| {name} X", time)
        assert (caught.value.line, caught.value.reason) == (2, f"`{name}`: {OPERATORS[name].refused}")


@pytest.mark.parametrize("name", [name for name, rule in OPERATORS.items() if rule.refused_by_time])
def test_only_a_snapshot_uses_an_operator_that_depends_on_all_rows(name: str) -> None:
    with pytest.raises(Unsliceable) as caught:
        hunt(f"A\n| {name} X")
    assert (caught.value.line, caught.value.reason) == (2, f"`{name}`: {OPERATORS[name].refused_by_time}")
    assert hunt(f"A\n| {name} X", None).bounds == ()


@pytest.mark.parametrize("name", operators_with(Effect.PASSES_ALL))
def test_a_bound_passes_an_operator_that_keeps_every_column(name: str) -> None:
    assert marked(hunt(f"A | {name} Timestamp, X")) == f"A<Timestamp> | {name} Timestamp, X"
    right = f"Inventory | {name} X | join kind=inner A on DeviceId"
    assert marked(hunt(right)) == right.replace("A on", "(A<Timestamp>) on"), "the left side has no time"


@pytest.mark.parametrize("name", operators_with(Effect.PASSES_UNNAMED))
def test_a_bound_passes_an_operator_that_does_not_name_the_time(name: str) -> None:
    assert marked(hunt(f"A | {name} X")) == f"A<Timestamp> | {name} X"
    stopped = hunt(f"A | {name} 'Timestamp'", settled=True)
    assert marked(stopped) == f"A | {name} 'Timestamp'<Timestamp>"


@pytest.mark.parametrize("name", [name for name, rule in OPERATORS.items() if rule.rewrites])
def test_late_rows_change_the_rows_of_an_operator_that_combines_rows(name: str) -> None:
    assert hunt(f"A | {name} X", None).late_rows_rewrite


@pytest.mark.parametrize("name", [name for name, rule in OPERATORS.items() if rule.gathers])
def test_a_computed_time_after_an_operator_that_combines_rows_is_refused(name: str) -> None:
    with pytest.raises(Unsliceable, match="the origin of Timestamp is not clear"):
        hunt(f"A | {name} L = max(Timestamp) by X | extend Timestamp = L + 1h")


@pytest.mark.parametrize("kind", [kind for kind, rule in JOIN_KINDS.items() if not rule.refused])
def test_a_bound_passes_a_join_to_the_side_that_its_kind_allows(kind: str) -> None:
    rule = JOIN_KINDS[kind]
    for side, text, bounded in (
        (Sides.LEFT, f"A | join kind={kind} Inventory on DeviceId", "A<Timestamp> |"),
        (Sides.RIGHT, f"Inventory | join kind={kind} A on DeviceId", "(A<Timestamp>) on"),
    ):
        if side is Sides.RIGHT and side not in rule.columns:
            with pytest.raises(Unsliceable, match="`join` removes Timestamp"):
                hunt(text)
        else:
            assert (bounded in marked(hunt(text))) is (side in rule.bounds)


@pytest.mark.parametrize("name", [name for name, rule in FUNCTIONS.items() if rule.refused])
def test_no_hunt_calls_a_function_whose_value_is_not_defined(name: str) -> None:
    for time in ("Timestamp", None):
        with pytest.raises(Unsliceable) as caught:
            hunt(f"A\n| extend Y = {name}(X)", time)
        assert (caught.value.line, caught.value.reason) == (2, f"{name}(): {FUNCTIONS[name].refused}")


@pytest.mark.parametrize("name", [name for name, rule in FUNCTIONS.items() if rule.refused_by_time])
def test_only_a_snapshot_calls_a_function_whose_value_changes_with_the_clock(name: str) -> None:
    with pytest.raises(Unsliceable) as caught:
        hunt(f"A\n| extend Y = {name}(X)")
    assert (caught.value.line, caught.value.reason) == (2, f"{name}(): {FUNCTIONS[name].refused_by_time}")
    assert hunt(f"A\n| extend Y = {name}(X)", None).bounds == ()


@pytest.mark.parametrize("name", [name for name, rule in FUNCTIONS.items() if rule.rounding])
def test_a_time_is_rounded_by_a_function_whose_spans_are_known(name: str) -> None:
    arguments = "(Timestamp, 6h)" if FUNCTIONS[name].rounding is Rounding.TO_LENGTH else "(Timestamp)"
    step = DAY if FUNCTIONS[name].rounding is Rounding.TO_DAY else 6 * HOUR
    assert hunt(f"A | extend Day = {name}{arguments}", "Day").bounds == (Bound("Timestamp", step),)


@pytest.mark.parametrize("name", [name for name, rule in FUNCTIONS.items() if rule == FunctionRule()])
def test_a_steady_function_is_called_in_any_spelling(name: str) -> None:
    for call in (f"{name}(X)", f"{name} (X)", f"['{name}'](X)"):
        assert not hunt(f"A | extend Y = {call}").late_rows_rewrite


def test_words_before_brackets_are_not_functions() -> None:
    text = (
        "let f = (x: string, y: long) { let g = view () { y }; g() + strlen(x) };\n"
        "union isfuzzy=true kind=outer withsource=S (A), (B)\n"
        "| where (X in ('a')) and not(X has_any ('b')) or (X matches regex ('c')) and X between (1 .. 2)\n"
        "| extend Y = f(tostring(X), 1), Z = X in~ ('d')\n"
        "| join kind=inner hint.strategy=broadcast (Inventory) on (DeviceId)"
    )
    assert hunt(text).read_whole


@pytest.mark.parametrize("blank", ["\u200b", "\ufeff", "\u200c", "\u200d", "\u2060", "\u00a0", "\u3000"])
def test_a_blank_without_a_width_is_a_blank(blank: str) -> None:
    text = f"{blank}A{blank}|{blank}where X == '{blank}'\n{blank}| where{blank}X > 1{blank}"
    assert hunt(text).text == f"A | where X == '{blank}'\n | where X > 1"


def test_a_snapshot_may_use_the_clock_but_no_random_number() -> None:
    text = "A | where Timestamp > ago(1d) | summarize arg_max(Timestamp, *) by X | top 5 by X"
    assert hunt(text, None) == Hunt(text, (text,), late_rows_rewrite=True)
    with pytest.raises(Unsliceable, match="take_any"):
        hunt("A | summarize take_any(X)", None)


@pytest.mark.parametrize(
    ("text", "unseen"),
    [
        ("A | where X in ((B | project Y)) | extend Z = 1", False),
        ("union A, (B | where Y > 1) | distinct Timestamp", False),
        ("A | summarize count() by Timestamp", True),
        ("A | join kind=inner B on DeviceId", True),
        ("A | extend Known = X in ((B | project Y))", True),
        ("let b = B | project Y; A | where X in (b)", True),
        ("A | where X > toscalar(B | project Y)", True),
        ("A | distinct Timestamp, Known = X in ((B | project Y))", True),
        ("A | extend Known = X in (B)", True),
        ("A | extend Known = X !in~ ((B))", True),
        ("let b = B; A | extend Known = X in (b)", True),
        ("let b = b; A | extend Known = X in (b)", True),
        ("let b = materialize(B); A | project Timestamp, Known = X has_any (b)", True),
        ("let b = B; A | where X in (b)", False),
        ("let b = dynamic(['x']); A | extend Known = X in (b)", False),
        ("A | extend Known = X in ('x'), Named = X has_any (Fields.Names)", False),
        ("A | extend Known = X in (DeviceId, Y)", False),
    ],
)
def test_queries_whose_values_change_without_their_counts_are_recognized(text: str, unseen: bool) -> None:
    assert hunt(text).late_rows_rewrite is unseen


@pytest.mark.parametrize(
    "operator",
    [
        "join kind=fullouter (B | project DeviceId) on DeviceId",
        "evaluate bag_unpack(Fields) : (Day: datetime, Name: string)",
        "mv-apply X = Fields on (project X)",
        "mv-expand Day",
        "union (B | project Z)",
    ],
)
def test_a_time_that_passes_an_operator_stays_rounded(operator: str) -> None:
    """Otherwise, the rows of a day that come after its first pull would count as fetched."""
    found = hunt(f"A | extend Day = startofday(Timestamp) | {operator}", "Day", settled=True)
    assert (found.step, found.bounds) == (DAY, (Bound("Day"),))


@pytest.mark.parametrize(
    "value",
    ["startofday(Timestamp) + 0h", "startofweek(Timestamp)", "bin_at(Timestamp, 1d, datetime(2026-01-01))",
     "bin(todatetime(Timestamp), 1d)", "todatetime(format_datetime(Timestamp, 'yyyy-MM-dd'))"],
)  # fmt: skip
def test_a_time_that_is_rounded_in_an_unknown_way_is_refused(value: str) -> None:
    for operator in ("extend", "project DeviceId,", "distinct DeviceId,"):
        with pytest.raises(Unsliceable, match=f"`{operator.split()[0]}` computes Day, so a row can come"):
            hunt(f"A | {operator} Day = {value}", "Day")


def test_comments_and_blank_lines_do_not_change_a_query() -> None:
    one = hunt("A // x\n\n\n| where X > 1 // y\n;")
    other = hunt("A\n| where X > 1")
    assert one.text == other.text == "A\n| where X > 1"


@given(
    st.integers(0, 100 * DAY), st.integers(1, 3 * DAY), st.sampled_from([1, HOUR // 4, HOUR, 6 * HOUR, DAY])
)
def test_rounded_bounds_keep_exactly_the_rows_of_the_window(start: int, ticks: int, step: int) -> None:
    """A row at `t` belongs to the window if its rounded time does. The test tries times near the edges."""
    window = Window(start, start + ticks)
    low, high = (-(-edge // step) * step for edge in (window.start, window.end))
    near = (start, start + ticks, low, high)
    for t in {edge + d for edge in near for d in (-step, -1, 0, 1, step) if edge + d >= 0}:
        assert (low <= t < high) == (window.start <= t // step * step < window.end)


def test_a_hunt_is_queried_like_a_table() -> None:
    spec = TableSpec("hunt-h", "T", hunt=hunt("A | summarize N = count() by T = bin(Timestamp, 1h)", "T"))
    window = Window(HOUR // 2, 2 * HOUR)
    slice_ = Slice("hunt-h", window, Proof(0, 0))
    assert queries.rows_query(spec, slice_) == (
        "A\n| where Timestamp >= datetime(1970-01-01T01:00:00Z)"
        " and Timestamp < datetime(1970-01-01T02:00:00Z)"
        " | summarize N = count() by T = bin(Timestamp, 1h)"
        "\n| where T >= datetime(1970-01-01T00:30:00Z) and T < datetime(1970-01-01T02:00:00Z)"
    )
    assert "or isnull(Timestamp)" in queries.histogram_query(spec, [window], HOUR, null_time=True)
    assert queries.schema_query(spec) == "A | summarize N = count() by T = bin(Timestamp, 1h)\n| take 0"
