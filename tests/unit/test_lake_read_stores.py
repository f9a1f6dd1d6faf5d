"""Reading a lake in an object store: the rows of a folder, only the needed bytes, one version a file."""

from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from lake_workshop import Workshop, day, text
from object_servers import Bucket, Proxy, watch
from test_lake_read import land_without_a_time

from hunting_pipeline.lake.layout import data_path
from hunting_pipeline.lake.read import dataset, frame
from hunting_pipeline.lake.stores import Conflict, Store, open_store
from hunting_pipeline.model import NULL_TIME, Partition, TableSpec
from hunting_pipeline.settings import Settings

EMAILS = TableSpec("EmailEvents", "Timestamp")
DAYS, ROWS = 8, 3_000
CHOSEN = day(3, EMAILS.name)
WITHOUT_A_DAY = data_path(Partition(EMAILS.name, NULL_TIME))
ON_CHOSEN = pc.field("date") == date(2026, 11, 20) + timedelta(days=3)

BIG_CLOUDS = pytest.mark.parametrize("bucket", ["seaweedfs", "azurite"], indirect=True)


def drawn(*seed: object) -> str:
    """Return a text that compression does not shorten much, so a file is longer than Arrow's first read."""
    return sha256(str(seed).encode()).hexdigest()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Commit eight days and a row without a time. The last day has one more column."""
    shop = Workshop(tmp_path_factory.mktemp("read") / "lake", EMAILS)
    for number in range(DAYS):
        start = day(number).window.start
        columns = {name: text(*(drawn(name, number, row) for row in range(ROWS))) for name in "ABC"}
        if number == DAYS - 1:
            columns["New"] = text(*["n"] * ROWS)
        ticks = [start + row for row in range(ROWS)]
        shop.land(ticks, columns=columns, partition=day(number, EMAILS.name))
    land_without_a_time(shop)
    return shop


def opened(bucket: Bucket) -> Store:
    settings = Settings(**bucket.settings)
    return open_store(settings.lake, settings.store_options)


def copied(local: Workshop, bucket: Bucket) -> Store:
    """Copy the lake into a bucket. The first reader derives the versions of its files."""
    bucket.upload(local.root)
    store = opened(bucket)
    assert dataset(store, EMAILS.name).count_rows() == DAYS * ROWS + 1
    return store


def in_order(rows: pa.Table) -> pa.Table:
    return rows.sort_by([(name, "ascending") for name in ("Timestamp", "A")]).combine_chunks()


@BIG_CLOUDS
def test_a_table_is_read_like_from_a_folder(local: Workshop, bucket: Bucket) -> None:
    """The schemas differ, one row has no time, and a reader may choose columns and rows."""
    near, far = (dataset(store, EMAILS.name) for store in (local.store, copied(local, bucket)))
    assert far.schema == near.schema
    assert "New" in far.schema.names
    assert in_order(far.to_table()) == in_order(near.to_table())
    some = pc.field("A").isin([drawn("A", 2, 9), drawn("A", 7, 0), "-"])
    columns = ["Timestamp", "A", "New", "date"]
    (chosen, expected) = (in_order(one.to_table(columns=columns, filter=some)) for one in (far, near))
    assert chosen == expected
    assert [str(one) for one in chosen["date"].to_pylist()] == ["2026-11-22", "2026-11-27", "None"]
    undated = frame(opened(bucket), EMAILS.name, [Partition(EMAILS.name, NULL_TIME)])
    assert undated["A"].to_list() == ["-"]


def paths(proxy: Proxy, bucket: Bucket, *kinds: str) -> set[str]:
    return {
        request.path.partition(f"/{bucket.name}/lake/")[2] for request in proxy.seen if request.kind in kinds
    }


def received(proxy: Proxy) -> int:
    return sum(request.received for request in proxy.seen if request.kind == "GET")


@BIG_CLOUDS
def test_one_day_of_many_is_read_without_a_byte_of_another_day(local: Workshop, bucket: Bucket) -> None:
    with watch(bucket) as (near, proxy):
        copied(local, near)
        proxy.clear()
        assert dataset(opened(near), EMAILS.name, [CHOSEN]).to_table().num_rows == ROWS
        files = [path for path in paths(proxy, bucket, "GET", "HEAD") if path.endswith(".parquet")]
        assert set(files) - {WITHOUT_A_DAY} == {data_path(CHOSEN)}
        everything = dataset(opened(near), EMAILS.name)
        proxy.clear()
        assert everything.to_table(columns=["Timestamp"], filter=ON_CHOSEN).num_rows == ROWS
        assert paths(proxy, bucket, "GET", "HEAD", "LIST") == {data_path(CHOSEN), WITHOUT_A_DAY}
        assert received(proxy) < local.file(CHOSEN).stat().st_size / 2


@BIG_CLOUDS
def test_a_scan_asks_for_no_size_that_a_manifest_holds(local: Workshop, bucket: Bucket) -> None:
    with watch(bucket) as (near, proxy):
        everything = dataset(copied(local, near), EMAILS.name)
        proxy.clear()
        assert everything.to_table().num_rows == DAYS * ROWS + 1
        assert proxy.count("GET") <= 2 * (DAYS + 1)
        assert proxy.count() == proxy.count("GET")


@BIG_CLOUDS
def test_a_dataset_never_reads_a_file_that_was_replaced_after_it_was_opened(
    local: Workshop, bucket: Bucket, tmp_path: Path
) -> None:
    """Arrow keeps the footer of the old file, and would read the new file with it."""
    everything = dataset(copied(local, bucket), EMAILS.name)
    assert everything.count_rows() == DAYS * ROWS + 1
    bucket.write(data_path(CHOSEN), local.file(day(4, EMAILS.name)).read_bytes())
    with pytest.raises(Conflict, match=r"another run replaced or removed .*2026-11-23.parquet.*Run again"):
        everything.to_table()
