"""Schema drift: a table's schema only grows, a type only widens, and no column changes its name."""

import re
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_workshop import EVENTS, Workshop, day, text

from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake.schema import columns_of, conform, fingerprint, merged
from hunting_pipeline.model import Column, Hunt, TableSpec

FROZEN = TableSpec("DeviceEvents", "Timestamp", evolve=False)


def schema(**types: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, metadata={"kusto": "k"}) for name, kind in types.items()])


def test_new_columns_come_after_the_known_ones_and_rescued_values_last() -> None:
    known = merged(EVENTS, None, [schema(B=pa.string(), A=pa.int32())])
    assert known.names == ["B", "A", "_rescued_data"]
    grown = merged(EVENTS, known, [schema(C=pa.bool_(), A=pa.int32())])
    assert grown.names == ["B", "A", "C", "_rescued_data"]
    assert grown.field("B") == known.field("B")


def test_a_reply_with_rescued_values_is_no_drift() -> None:
    with_rescued = schema(A=pa.int32()).append(pa.field("_rescued_data", pa.string()))
    assert merged(EVENTS, None, [with_rescued, schema(A=pa.int32())]).names == ["A", "_rescued_data"]


@pytest.mark.parametrize(
    ("one", "other", "wide"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.int32(), pa.float64(), pa.float64()),
        (pa.string(), pa.string(), pa.string()),
    ],
)
def test_a_type_widens_in_either_order(one: pa.DataType, other: pa.DataType, wide: pa.DataType) -> None:
    for first, second in ((one, other), (other, one)):
        assert merged(EVENTS, schema(A=first), [schema(A=second)]).field("A").type == wide
        assert merged(EVENTS, None, [schema(A=first), schema(A=second)]).field("A").type == wide


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.int64(), pa.float64()),  # integers above 2^53
        (pa.int32(), pa.string()),
        (pa.bool_(), pa.int32()),
        (pa.timestamp("ns", "UTC"), pa.string()),
        (pa.decimal128(38, 18), pa.float64()),
    ],
)
def test_a_type_that_cannot_widen_stops_the_partition(one: pa.DataType, other: pa.DataType) -> None:
    for first, second in ((one, other), (other, one)):
        with pytest.raises(CommitRefused, match=re.escape(f"column A changed its type from {first}")):
            merged(EVENTS, schema(A=first), [schema(A=second)])


def test_the_message_names_a_remedy_that_the_user_has() -> None:
    """With other `columns`, a table's archive would be refused as archived by another query."""
    known, changed = schema(A=pa.int32()), schema(A=pa.string())
    hunt = replace(EVENTS, hunt=Hunt("DeviceEvents", parts=()))
    for spec, words in (
        (EVENTS, r"Run again .* set lake to a new lake: the old lake keeps"),
        (hunt, r"Run again .* convert the column to k in the hunt's query.*--force"),
        (FROZEN, r"Run again .* set lake to a new lake"),
    ):
        with pytest.raises(CommitRefused, match=words):
            merged(spec, known, [changed])


@pytest.mark.parametrize("kusto", ["dynamic", "some later type"])
def test_text_and_json_do_not_share_a_column(kusto: str) -> None:
    """A reader could not distinguish the text `[1]` from the list."""
    plain = pa.schema([pa.field("A", pa.string(), metadata={"kusto": "string"})])
    json = pa.schema([pa.field("A", pa.string(), metadata={"kusto": kusto})])
    for first, second in ((plain, json), (json, plain)):
        with pytest.raises(CommitRefused, match=r"from string( of JSON)? to string( of JSON)?\. No type"):
            merged(EVENTS, first, [second])


def test_the_time_column_keeps_its_name_beside_one_that_differs_by_case_alone() -> None:
    found = merged(EVENTS, None, [schema(Timestamp=pa.timestamp("ns", "UTC"), timestamp=pa.string())])
    assert found.names == ["Timestamp", "timestamp_1", "_rescued_data"]


def test_freeze_stops_new_columns_and_wider_types_and_fills_missing_ones() -> None:
    known = merged(FROZEN, None, [schema(A=pa.int32(), B=pa.string())])
    assert merged(FROZEN, known, [schema(A=pa.int32())]) == known
    with pytest.raises(CommitRefused, match=r"\(C\) and its policy is freeze"):
        merged(FROZEN, known, [schema(A=pa.int32(), C=pa.string())])
    with pytest.raises(CommitRefused, match=r"\(types\) and its policy is freeze"):
        merged(FROZEN, known, [schema(A=pa.int64())])


def test_rows_are_brought_under_the_merged_schema() -> None:
    whole = merged(EVENTS, None, [schema(A=pa.int32(), B=pa.string()), schema(A=pa.int64(), C=pa.bool_())])
    table = conform(pa.table({"B": ["x"], "A": pa.array([7], pa.int32())}), whole)
    assert table.schema == whole
    assert table.to_pylist() == [{"A": 7, "B": "x", "C": None, "_rescued_data": None}]


def test_columns_that_differ_only_in_case_keep_their_values_over_all_replies() -> None:
    """One reply has `LogonId`, the next one `LogonID`, the third one both."""
    both = pa.table({"LogonID": ["upper"], "LogonId": ["lower"]})
    upper, lower = both.select(["LogonID"]), both.select(["LogonId"])
    known = merged(EVENTS, None, [upper.schema])
    known = merged(EVENTS, known, [lower.schema, both.schema])
    assert [name.lower() for name in known.names] == ["logonid", "logonid_1", "_rescued_data"]
    archived = conform(lower, known)
    for table in (both, upper, lower, archived):
        row = conform(table, known).to_pylist()[0]
        expected = {"upper" if name == "LogonID" else "lower" for name in table.column_names}
        if table is archived:
            expected = {"lower"}
        assert {value for value in row.values() if value} == expected
        assert row["LogonID"] in ("upper", None)
    assert merged(EVENTS, known, [archived.schema]) == known


column_names = st.lists(st.sampled_from(["A", "a", "A_1", "B", "b", "date", "C"]), min_size=1, unique=True)


@given(st.lists(column_names, min_size=1, max_size=4))
def test_every_value_is_found_again_after_any_drift(replies: list[list[str]]) -> None:
    known: pa.Schema | None = None
    home: dict[str, str] = {}
    for number, columns in enumerate(replies):
        table = pa.table({name: [f"{name}{number}"] for name in columns})
        known = merged(EVENTS, known, [table.schema])
        row = conform(table, known).to_pylist()[0]
        for name in columns:
            (place,) = [where for where, value in row.items() if value == f"{name}{number}"]
            assert home.setdefault(name, place) == place, "a column moved"
        assert sum(value is not None for value in row.values()) == len(columns)
        assert len({name.lower() for name in known.names}) == len(known.names)
        assert known.names[-1] == "_rescued_data"


def test_different_schemas_have_different_fingerprints() -> None:
    base = schema(A=pa.int32(), B=pa.string())
    others = [
        schema(B=pa.string(), A=pa.int32()),
        schema(A=pa.int64(), B=pa.string()),
        schema(A=pa.int32(), C=pa.string()),
        schema(A=pa.int32()),
        pa.schema([base.field(0), base.field(1).with_metadata({"kusto": "guid"})]),
    ]
    prints = {fingerprint(other) for other in [base, *others]}
    assert len(prints) == 6
    assert fingerprint(base.append(pa.field("_rescued_data", pa.string()))) == fingerprint(base)


def test_columns_keep_the_type_names_of_kusto() -> None:
    found = columns_of(merged(EVENTS, None, [schema(A=pa.int32())]))
    assert found == (Column("A", "k"),)


def test_the_schema_of_the_lake_follows_drift(tmp_path: Path) -> None:
    """A new column, a missing one and a wider type, one day after the other."""
    shop = Workshop(tmp_path)
    noon = [day(n).window.start + 1 for n in range(3)]
    shop.land([noon[0]], columns={"N": ("int", pa.int32(), [1]), "A": text("x")})
    shop.land([noon[1]], columns={"N": ("long", pa.int64(), [2**60]), "B": text("y")}, partition=day(1))
    receipt = shop.land([noon[2]], columns={"N": ("int", pa.int32(), [3])}, partition=day(2))
    assert [column.name for column in receipt.columns] == ["Timestamp", "N", "A", "B"]
    assert shop.rows(day(2)).schema.field("N").type == pa.int64()
    assert shop.rows(day(1)).select(["N", "A", "B", "_rescued_data"]).to_pylist() == [
        {"N": 2**60, "A": None, "B": "y", "_rescued_data": None}
    ]
    before = shop.contents()
    with pytest.raises(CommitRefused, match="column N changed its type"):
        shop.land([noon[0] + 5, noon[0]], columns={"N": text("1", "2")})
    assert {k: v for k, v in shop.contents().items() if not k.startswith("_hunting/staging")} == before
