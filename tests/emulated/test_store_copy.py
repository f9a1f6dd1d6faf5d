"""A lake that was copied to another store is whole: nothing is fetched again."""

from itertools import pairwise
from pathlib import Path

import pytest
from object_servers import Bucket

from hunting_pipeline.catalog import spec
from places import Folder, Place
from support import days, differences, emulated, window_of_tenant

TABLE = "AlertInfo"
ASKED = days("2026-11-10", "2026-11-14")
NOT_COPIED = ("_hunting/locks/", "_hunting/temporary/")


def copy(source: Place, target: Place) -> None:
    for key in source.objects():
        if not key.startswith(NOT_COPIED):
            target.write(key, source.read(key))


@pytest.mark.parametrize("bucket", ["seaweedfs", "azurite", "gcs"], indirect=True)
def test_a_lake_that_was_copied_to_another_store_is_whole(bucket: Bucket, tmp_path: Path) -> None:
    """The copies have other versions. They are derived again from the files."""
    places = [Folder(tmp_path / "lake"), bucket, bucket.at("copy"), Folder(tmp_path / "back" / "lake")]
    with emulated(tmp_path, rows={TABLE: 3_000}) as tenant:
        tenant.pull(spec(TABLE), ASKED)
        tenant.post("reset")
        for source, target in pairwise(places):
            copy(source, target)
            for _ in range(2):
                report, receipts = tenant.pull(spec(TABLE), ASKED, **target.settings)
                assert (report.calls, receipts, len(report.covered)) == (0, [], 4)
            rows = tenant.landed(TABLE, **target.settings)
            assert differences(rows, window_of_tenant(tenant, TABLE, ASKED)) == (0, 0)
        assert tenant.stats()["calls"] == 0
