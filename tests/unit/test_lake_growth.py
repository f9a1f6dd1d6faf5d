"""What a command costs depends on the requested partitions, not on the age of the archive."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from lake_workshop import EVENTS, MIDNIGHT, Workshop, day, reply, text
from memory_store import MemoryStore
from test_lake_two_writers import Interrupted

from benchmarks.support.archives import extend
from benchmarks.support.counting import CountingStore
from hunting_pipeline.decode.kinds import _KINDS, kind_of
from hunting_pipeline.errors import CommitRefused
from hunting_pipeline.lake import derived, read
from hunting_pipeline.lake.archive import load_archive, newest_archived
from hunting_pipeline.lake.layout import (
    KUSTO_TYPE_KEY,
    SOURCE_NAME_KEY,
    manifest_path,
    schema_path,
)
from hunting_pipeline.lake.listing import archived_partitions
from hunting_pipeline.lake.manifest import load
from hunting_pipeline.lake.stores import Store, open_store
from hunting_pipeline.lake.table_schema import TableSchema, load_schema
from hunting_pipeline.model import DAY, HOUR, NULL_TIME, RESCUED, Grain, Partition, Window
from hunting_pipeline.pipeline.coverage import archive_of, coverage, refuse_other_query
from hunting_pipeline.window import partitions_in

HOURLY = replace(EVENTS, grain=Grain.HOUR)
YEARS = 3 * 365
NOW = MIDNIGHT + DAY
ASKED = partitions_in(HOURLY, Window(NOW - 30 * DAY, NOW))
CONSTANT = {schema_path(EVENTS.name), manifest_path(Partition(EVENTS.name, NULL_TIME))}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> MemoryStore:
    """Return a lake with 26,280 hourly partitions that end now, and null-time rows."""
    shop = Workshop(tmp_path_factory.mktemp("unused"), HOURLY)
    shop.store = store = MemoryStore()
    newest = ASKED[-1]
    shop.land([newest.window.start], columns={"A": text("x")}, partition=newest)
    nowhere = Partition(EVENTS.name, NULL_TIME)
    without = replace(HOURLY, time_column=None)
    shop.spec = without
    shop.commit(shop.stage(reply(None, {"A": text("y")}), partitions=[nowhere]), nowhere)
    template = load(store, newest)
    assert template is not None
    extend(store.put, template, partitions_in(HOURLY, Window(NOW - YEARS * DAY, newest.window.start)))
    return store


@pytest.fixture
def counted(old: MemoryStore) -> CountingStore:
    return CountingStore(old)


def cost(store: CountingStore) -> tuple[int, int, int]:
    """Return the number of reads, lists and lookups."""
    return len(store.read), len(store.listed), len(store.looked_up)


def test_thirty_days_of_three_years_cost_thirty_days(counted: CountingStore) -> None:
    found = coverage(counted, HOURLY, ASKED, now=NOW + HOUR, retention_days=30)
    assert (len(found.archived), found.backlog.missing, found.problems) == (720, (), [])
    months = {partition.key[:7] for partition in ASKED}
    reads, lists, lookups = cost(counted)
    assert reads == len(ASKED) + 2, "and the schema and the null-time manifest"
    assert lists == 2 * len(months)
    assert lookups == 3, "the schema, the null-time file and its manifest"
    assert {*counted.read} == {manifest_path(partition) for partition in ASKED} | CONSTANT
    assert counted.written == []


@pytest.mark.parametrize("asked", [ASKED[-1:], ASKED[:2], ASKED[100:130], [ASKED[-1], ASKED[0]]])
def test_a_request_reads_its_own_manifests_only(counted: CountingStore, asked: Sequence[Partition]) -> None:
    archive = archive_of(counted, HOURLY, asked)
    assert {*archive.manifests} == {*asked, Partition(EVENTS.name, NULL_TIME)}
    assert {*counted.read} == {manifest_path(partition) for partition in asked} | CONSTANT
    assert len(counted.listed) == 2 * len({partition.key[:7] for partition in asked})


def test_a_pull_knows_the_newest_query_without_reading_the_archive(counted: CountingStore) -> None:
    archive = archive_of(counted, HOURLY, ASKED)
    before = cost(counted)
    refuse_other_query(counted, HOURLY, ASKED, archive, now=NOW)
    assert cost(counted) == before, "the newest partition is among the requested ones"
    other = replace(HOURLY, where="x")
    early = partitions_in(HOURLY, Window(NOW - 400 * DAY, NOW - 399 * DAY))
    gap = [*early, Partition(EVENTS.name, Window(NOW, NOW + HOUR))]
    for asked, archived in ((early, archive), ([], archive), (gap, archive_of(counted, HOURLY, gap))):
        none = replace(archived, manifests={})
        before = cost(counted)
        refuse_other_query(counted, HOURLY, asked, none, now=NOW)
        assert [after - one for after, one in zip(cost(counted), before, strict=True)] == [1, 2, 1]
        with pytest.raises(CommitRefused, match=f"{ASKED[-1].key} was archived by another query"):
            refuse_other_query(counted, other, asked, none, now=NOW)


def test_readers_and_computed_tables_do_not_list_the_archive(counted: CountingStore) -> None:
    assert derived.is_archived(counted, EVENTS.name)
    assert cost(counted) == (0, 0, 1)
    assert archived_partitions(counted, EVENTS.name, ASKED[:5]) == list(ASKED[:5])
    assert cost(counted) == (0, 1, 2)
    with suppress(CommitRefused):  # the files of this lake hold no rows
        read.dataset(counted, EVENTS.name, ASKED[:5])
    assert cost(counted)[1] == 3


def test_a_computed_table_is_recognized_by_one_of_its_files(tmp_path: Path) -> None:
    store = CountingStore(MemoryStore())
    for number in range(40):
        derived.write(store, day(number, "computed"), pa.table({"A": [number]}))
    store = CountingStore(store)
    assert not derived.is_archived(store, "computed")
    assert (len(store.listed), store.read) == (3, ["a file, by Arrow"])


def test_folders_outside_the_requested_days_are_not_touched(tmp_path: Path) -> None:
    """Other days and months are links to themselves, which the local store cannot even look at."""
    shop = Workshop(tmp_path / "lake")
    asked = [day(), day(1)]
    for partition in asked:
        shop.land([partition.window.start], columns={"A": text("x")}, partition=partition)
    whole = load_archive(shop.store, EVENTS.name, asked)
    days, months = shop.root / EVENTS.name, shop.root / "_hunting/manifest" / EVENTS.name
    for folder in (days / "date=2026-11-19", days / "date=2026-11-22", days / "backup", months / "2026-10"):
        folder.symlink_to(folder.name)
    assert load_archive(shop.store, EVENTS.name, asked) == whole
    assert read.dataset(shop.store, EVENTS.name, asked).count_rows() == 2


@pytest.fixture(params=["folder", "memory"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "lake")) if request.param == "folder" else MemoryStore()


def test_a_list_has_the_objects_between_two_paths(any_store: Store) -> None:
    paths = ["T/a", "T/b-/x", "T/b/x", "T/b/y/z", "T/b0", "T/c/x", "U/x"]
    for path in paths:
        any_store.put(path, b"")
    limits = ["", "T/", "T/a", "T/b", "T/b-", "T/b/", "T/b/x", "T/b/y", "T/b/y/z", "T/b0", "T/c", "T/d", "V"]
    for start in limits:
        for end in limits:
            found = [entry.path for entry in any_store.list("T", start=start, end=end)]
            assert found == [p for p in paths[:-1] if start <= p and (not end or p < end)], (start, end)
    assert [*any_store.folders("T")] == ["b", "b-", "c"]
    assert [*any_store.folders("nowhere")] == []
    listed = any_store.list("T/b")
    any_store.delete("T/b/x")
    assert any_store.get_all(listed) == {"T/b/y/z": b""}


def test_links_in_a_circle_are_followed_once(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("T/a/x", b"")
    (tmp_path / "T/a/up").symlink_to(tmp_path / "T")
    assert [entry.path for entry in store.list("T")] == ["T/a/up/a/x", "T/a/x"]


# the schema of a table


def test_a_schema_holds_all_types_and_names() -> None:
    kinds = {kind_of(wire) for wire in _KINDS}
    fields = [
        pa.field(f"c{n}_1", kind.arrow, metadata={KUSTO_TYPE_KEY: kind.kusto, SOURCE_NAME_KEY: f"C{n}"})
        for n, kind in enumerate(sorted(kinds, key=lambda kind: (kind.kusto, str(kind.arrow))))
    ]
    plain = pa.field("Ü", pa.string(), metadata={KUSTO_TYPE_KEY: "string"})
    schema = TableSchema(Grain.HOUR, pa.schema([*fields, plain, pa.field(RESCUED, pa.string())]))
    again = TableSchema.from_json(schema.to_json())
    assert again == schema
    assert again.schema.equals(schema.schema, check_metadata=True)


@pytest.mark.parametrize(
    "text_",
    ["", "[]", "{}", "[" * 200_000, '{"version": 1, "grain": "day", "columns": [["a", "a", "int", "list"]]}',
     '{"version": 1, "grain": "week", "columns": []}', '{"version": 2, "grain": "day", "columns": []}',
     '{"version": 1, "grain": "day", "columns": [["a", "a", "int", "int32"], ["a", "b", "int", "int32"]]}',
     '{"version": 1, "grain": "day", "columns": [["a", 5, "int", "int32"]]}'],
)  # fmt: skip
def test_a_damaged_schema_is_rebuilt(tmp_path: Path, text_: str) -> None:
    shop = Workshop(tmp_path / "lake")
    shop.land([MIDNIGHT], columns={"A": text("x")})
    before = shop.contents()
    shop.store.put(schema_path(EVENTS.name), text_.encode())
    assert load_schema(shop.store, EVENTS.name) is not None
    assert shop.contents() == before
    shop.store.put(schema_path(EVENTS.name), text_.encode())
    shop.land([MIDNIGHT + DAY], columns={"B": text("x")}, partition=day(1))
    found = load_schema(shop.store, EVENTS.name)
    assert found is not None
    assert found.schema.names == ["Timestamp", "A", "B", RESCUED]


def test_a_schema_that_is_rebuilt_holds_the_columns_of_all_files(tmp_path: Path) -> None:
    shop = Workshop(tmp_path / "lake")
    for number, column in enumerate("ABC"):
        shop.store.delete(schema_path(EVENTS.name))
        for path in shop.store.list(EVENTS.name):  # each file alone, as if three machines wrote at once
            shop.store.put(f"hidden/{path.path}", Path(shop.root / path.path).read_bytes())
            shop.store.delete(path.path)
        shop.land([day(number).window.start], columns={column: text("x")}, partition=day(number))
    for entry in shop.store.list("hidden"):
        shop.store.put(entry.path.removeprefix("hidden/"), Path(shop.root / entry.path).read_bytes())
    shop.store.delete(schema_path(EVENTS.name))
    found = load_schema(shop.store, EVENTS.name)
    assert found is not None
    assert {*found.schema.names} == {"Timestamp", "A", "B", "C", RESCUED}


def source_of(field: pa.Field) -> bytes:
    return (field.metadata or {}).get(SOURCE_NAME_KEY, field.name.encode())


def test_two_machines_that_add_a_column_at_once_agree_on_its_name_and_type(tmp_path: Path) -> None:
    """The second machine commits another partition before every step of the first one's commit."""
    for step in range(1, 100):
        shop = Workshop(tmp_path / str(step))
        shop.land([MIDNIGHT], columns={"A": text("x")})
        upper, lower = ("string", pa.string(), ["x"]), ("long", pa.int64(), [1])
        first = shop.stage(reply([MIDNIGHT + DAY], {"LogonId": upper, "N": ("int", pa.int32(), [1])}),
                           day(1).window, partitions=[day(1)])  # fmt: skip
        plain = shop.store

        def second(shop: Workshop = shop, plain: Store = plain, lower=lower) -> None:
            shop.store = plain
            shop.land([MIDNIGHT + 2 * DAY], columns={"LogonID": ("string", pa.string(), ["y"]), "N": lower},
                      partition=day(2))  # fmt: skip

        interrupted = Interrupted(plain, step, second)
        shop.store = interrupted
        shop.commit(first, day(1))
        if not interrupted.happened:
            assert step > 10
            return
        found = load_schema(plain, EVENTS.name)
        assert found is not None
        for partition in (day(1), day(2)):
            for field in shop.rows(partition).schema:
                known = found.schema.field(field.name)
                assert source_of(field) == source_of(known), step
                assert field.type in (known.type, pa.int32())
        assert found.schema.field("N").type == pa.int64()
        logons = sorted(name.lower() for name in found.schema.names if name.startswith("Logon"))
        assert logons == ["logonid", "logonid_1"], step
        assert read.dataset(plain, EVENTS.name).count_rows() == 3
    raise AssertionError("the first run did not end")


def test_the_newest_partition_that_can_be_read_is_found(tmp_path: Path) -> None:
    shop = Workshop(tmp_path / "lake")
    nothing = load_archive(shop.store, EVENTS.name, [])
    assert newest_archived(shop.store, EVENTS.name, nothing) is None
    for number in range(3):
        shop.land([day(number).window.start], partition=day(number))
    shop.file(day(2)).write_bytes(b"")
    found = newest_archived(shop.store, EVENTS.name, nothing)
    assert found is not None
    assert found.partition == day(1)


def test_file_and_manifest_paths_of_a_request_are_in_its_ranges(old: MemoryStore) -> None:
    """Days at the edges of months and years."""
    for first in (NOW - YEARS * DAY, NOW - 330 * DAY, NOW - 31 * DAY):
        for hours in (1, 25, 24 * 32):
            asked = partitions_in(HOURLY, Window(first, min(NOW, first + hours * HOUR)))
            found = load_archive(old, EVENTS.name, asked)
            assert [one for one in found.manifests if not one.null_time] == list(asked)
