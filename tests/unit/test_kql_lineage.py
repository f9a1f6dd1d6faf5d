"""The lineage of a query: the tables that it reads, and the columns that it hands on unchanged."""

import pytest

from hunting_pipeline.kql.lineage import tables_read, unchanged_columns

TABLES = {"A": {"Timestamp", "X", "Y"}, "B": {"Timestamp", "X", "Z"}, "D": {"Timestamp"}, "E": {"D"}}

READ = {
    "A | where X == 1": ("A",),
    "let C = B | where Z == 1; A | join kind=inner (C) on X": ("A", "B"),
    "union A, B": ("A", "B"),
    "A | where X in ((B | project X))": ("A", "B"),
    "A | where X == 'B' // B": ("A",),
    "Other | take 1": (),
    "let A = B; A": ("B",),
    "E | where D == 1 | project D, X = D.y": ("E",),
    "E | project D | where D in ((D | where 1 == 1))": ("D", "E"),
    "E | join kind=inner D on X": ("D", "E"),
    "E | union D": ("D", "E"),
    "let F = D; E | where X == 1": ("D", "E"),
}

SAME = {"Timestamp": "Timestamp", "X": "X", "Y": "Y"}
HANDED_ON = {
    "A": SAME,
    "A | where X == 1 | sort by Y": SAME,
    "A | project Timestamp, Renamed = X, Made = strlen(Y)": {"Timestamp": "Timestamp", "Renamed": "X"},
    "A | extend X = tolower(X), New = Y": {"Timestamp": "Timestamp", "Y": "Y"},
    "A | extend (X, Y) = f(X)": {},
    "A | project (X, Y) = f(X)": {},
    "A | project-away X": {"Timestamp": "Timestamp", "Y": "Y"},
    "A | project-away X*": {},
    "A | project-keep X": {"X": "X"},
    "A | project-rename X2 = X": {"Timestamp": "Timestamp", "Y": "Y", "X2": "X"},
    "A | project-rename X = Y": {"Timestamp": "Timestamp", "X": "Y"},
    "A | project-rename Y = Undocumented": {"Timestamp": "Timestamp", "X": "X"},
    "A | distinct X": {"X": "X"},
    "A | distinct *": {},
    "A | extend Y = X | project Y": {},
    "A | project X = Y, Y = X": {"X": "Y", "Y": "X"},
    "let X = 5; A | project X, Y": {"Y": "Y"},
    "A | summarize count() by X": {},
    "A | union B": {},
    "A | join kind=inner (B) on X": {},
    "A | mv-expand X": {},
    "A | parse Y with * 'a' X": {},
    "A | invoke f()": {},
    "let A = B | extend X = 1; A": {},
    "Other | project X": {},
}


@pytest.mark.parametrize("text", READ)
def test_the_tables_of_a_query(text: str) -> None:
    assert tables_read(text, TABLES.get) == READ[text]


@pytest.mark.parametrize("text", HANDED_ON)
def test_only_certain_columns_have_a_lineage(text: str) -> None:
    assert unchanged_columns(text, TABLES.get)[1] == HANDED_ON[text]
