"""A whole pull into a store that is no folder. A pull needs only the protocol of stores."""

from dataclasses import replace
from pathlib import Path

from memory_store import MemoryStore

from hunting_pipeline.catalog import spec
from hunting_pipeline.lake import read
from hunting_pipeline.window import partitions_in
from support import days, differences, emulated, window_of_tenant

TABLE = "AlertInfo"
ASKED = days("2026-11-10", "2026-11-14")


def test_a_pull_into_memory_archives_the_rows_of_the_tenant(tmp_path: Path) -> None:
    store, table = MemoryStore(), spec(TABLE)
    partitions = partitions_in(table, ASKED)
    with emulated(tmp_path, rows={TABLE: 3_000}) as tenant:
        with tenant.open() as opened:
            pipeline = replace(opened, store=store)
            with pipeline.pull(table, partitions) as pulling:
                receipts = list(pulling)
            assert [receipt.partition for receipt in receipts] == list(partitions)
            with pipeline.pull(table, partitions) as pulling:
                assert list(pulling) == []
            assert len(pipeline.coverage(table, partitions).archived) == len(partitions)
        landed = read.dataset(store, TABLE).to_table().drop_columns(["date"])
        assert landed.num_rows > 100
        assert differences(landed, window_of_tenant(tenant, TABLE, ASKED)) == (0, 0)
    assert not (tmp_path / "lake").exists()
