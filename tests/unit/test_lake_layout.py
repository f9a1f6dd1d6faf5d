"""Paths of files and names of columns: each can be read back, and no two are equal."""

from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hunting_pipeline.lake.layout import (
    data_path,
    lake_names,
    lock_path,
    manifest_path,
    partition_from_path,
    staging_path,
)
from hunting_pipeline.model import (
    DAY,
    HOUR,
    NULL_TIME,
    Bucket,
    Column,
    Partition,
    Window,
    partition_from_key,
    ticks_of,
)

FIRST, LAST = ticks_of(date(1, 1, 1)) // DAY, ticks_of(date(9999, 12, 30)) // DAY


@st.composite
def partitions(draw: st.DrawFn) -> Partition:
    if draw(st.integers(0, 9)) == 0:
        return Partition("T", NULL_TIME)
    start = draw(st.integers(FIRST, LAST)) * DAY
    if draw(st.booleans()):
        return Partition("T", Window(start, start + DAY))
    start += draw(st.integers(0, 23)) * HOUR
    return Partition("T", Window(start, start + HOUR))


@given(partitions())
def test_a_partition_is_found_again_by_its_key_and_by_its_file(partition: Partition) -> None:
    assert partition_from_key("T", partition.key) == partition
    assert partition_from_path("T", data_path(partition)) == partition


@given(partitions(), partitions())
def test_keys_and_files_sort_and_differ_as_partitions_do(one: Partition, other: Partition) -> None:
    assert (data_path(one) == data_path(other)) == (one == other)
    if one.window.ticks == other.window.ticks and not (one.null_time or other.null_time):
        assert (one.key < other.key) == (one < other)
        assert (data_path(one) < data_path(other)) == (one < other)


def test_paths_are_those_that_the_page_shows() -> None:
    start = ticks_of(date(2026, 11, 20))
    day = Partition("DeviceEvents", Window(start, start + DAY))
    hour = Partition("DeviceEvents", Window(start + 5 * HOUR, start + 6 * HOUR))
    assert data_path(day) == "DeviceEvents/date=2026-11-20/DeviceEvents-2026-11-20.parquet"
    assert data_path(hour) == "DeviceEvents/date=2026-11-20/hour=05/DeviceEvents-2026-11-20T05.parquet"
    assert manifest_path(day) == "_hunting/manifest/DeviceEvents/2026-11/2026-11-20.json"
    assert staging_path(day, Window(1, 2), None) == "_hunting/staging/DeviceEvents/2026-11-20/1-2.arrow"
    assert staging_path(day, Window(1, 2), Bucket(3, 16)).endswith("/1-2-3of16.arrow")
    assert staging_path(day, None, None).endswith("/snapshot.arrow")
    null_time = Partition("DeviceEvents", NULL_TIME)
    assert data_path(null_time) == "_hunting/null_time/DeviceEvents/DeviceEvents-null_time.parquet"
    assert manifest_path(null_time) == "_hunting/manifest/DeviceEvents/null_time.json"
    assert staging_path(null_time, None, None) == "_hunting/staging/DeviceEvents/null_time/snapshot.arrow"
    assert lock_path("DeviceEvents") == "_hunting/locks/DeviceEvents.lock"


@pytest.mark.parametrize(
    "key",
    ["", "2026", "2026-11", "2026-13-01", "2026-02-30", "2026-11-20T24", "2026-11-20T5", "2026-11-20 05",
     "2026-11-20\n", "20261120", "-2026-11-20", "2026-11-20T05:00", "٢٠٢٦-11-20", "0000-01-01"],
)  # fmt: skip
def test_a_text_that_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        partition_from_key("T", key)


@pytest.mark.parametrize(
    "path",
    ["T/date=2026-11-20/part-0.parquet", "T/date=2026-11-21/T-2026-11-20.parquet", "T/T-2026-11-20.parquet",
     "T/date=2026-11-20/T-2026-11-20T05.parquet", "T/date=2026-11-20/2026-11-20.parquet",
     "T/T-null_time.parquet", "T/date=__HIVE_DEFAULT_PARTITION__/T-null_time.parquet"],
)  # fmt: skip
def test_a_foreign_file_has_no_partition(path: str) -> None:
    assert partition_from_path("T", path) is None


names = st.lists(
    st.one_of(
        st.sampled_from(["A", "a", "a_1", "A_1", "A_2", "B", "b", "Date", "date", "hour", "_Rescued_data"]),
        st.text("aAbB_1", min_size=1, max_size=4),
    ),
    unique=True,
    max_size=8,
)


def called(names: list[str], known: dict[str, str] | None = None) -> dict[str, str]:
    found = lake_names([Column(name, "string") for name in names], known)
    return dict(zip(names, found, strict=True))


@given(names)
@example(["A", "a", "a_1"])
def test_no_two_columns_have_names_that_are_equal_without_case(columns: list[str]) -> None:
    found = [name.lower() for name in called(columns).values()]
    assert len(set(found)) == len(found)
    assert not {"date", "hour", "_rescued_data"} & set(found)


@given(names.flatmap(lambda columns: st.tuples(st.just(columns), st.permutations(columns))))
def test_names_do_not_depend_on_the_order_of_the_schema(drawn: tuple[list[str], list[str]]) -> None:
    assert called(drawn[0]) == called(drawn[1])


@given(names)
def test_a_column_that_clashes_with_none_keeps_its_name(columns: list[str]) -> None:
    lower = [column.lower() for column in columns]
    for column, name in called(columns).items():
        if lower.count(column.lower()) == 1 and column.lower() not in {"date", "hour", "_rescued_data"}:
            assert name == column
        assert name == column or name.startswith(f"{column}_")


@given(names, st.data())
def test_a_name_once_given_stays_when_columns_are_added(columns: list[str], data: st.DataObject) -> None:
    before = columns[: data.draw(st.integers(0, len(columns)))]
    known = called(before)
    after = called(columns, known)
    assert {name: after[name] for name in before} == known
    assert len({name.lower() for name in after.values()}) == len(after)


def test_the_known_clash_is_resolved_as_documented() -> None:
    assert called(["LogonID", "LogonId"]) == {"LogonId": "LogonId", "LogonID": "LogonID_1"}
