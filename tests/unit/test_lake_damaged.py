"""A damaged or foreign file concerns its own partition alone."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lake_damage import DAMAGE, HEALED, HIDDEN, NESTED, damage
from lake_workshop import EVENTS, MIDNIGHT, Workshop, day, reply, text

from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake import derived, read
from hunting_pipeline.lake.archive import load_all, load_archive
from hunting_pipeline.lake.layout import schema_path
from hunting_pipeline.lake.manifest import Manifest
from hunting_pipeline.lake.table_schema import load_schema
from hunting_pipeline.lake.verify import verify
from hunting_pipeline.model import HOUR, Grain, Partition, Window
from hunting_pipeline.pipeline.coverage import archive_of, coverage

DAYS = [day(number) for number in range(3)]
NOW = MIDNIGHT + 5 * 24 * HOUR


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """Return a lake of three days."""
    shop = Workshop(tmp_path / "lake")
    for partition in DAYS:
        shop.land([partition.window.start], columns={"A": text("x")}, partition=partition)
    return shop


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_partition_is_named_and_the_others_are_read(shop: Workshop, name: str) -> None:
    damage(shop.root, DAYS[1], DAMAGE, name)
    before = shop.contents()
    archive = archive_of(shop.store, EVENTS, DAYS)
    assert [*archive.manifests] == [DAYS[0], DAYS[2]]
    ((partition, error),) = archive.damaged.items()
    assert partition == DAYS[1]
    assert "2026-11-21" in str(error)
    assert "out of the lake" in str(error)
    assert shop.contents() == before
    found = coverage(shop.store, EVENTS, [*DAYS, day(3)], now=NOW, retention_days=30)
    assert [one.partition for one in found.archived] == [DAYS[0], DAYS[2]]
    assert [one for one, _ in found.backlog.missing] == [day(3)]
    assert len(found.problems) == 1 + (name in {"a folder with files", "a file as the folder"})


@pytest.mark.parametrize("name", DAMAGE)
def test_a_reader_of_all_rows_refuses_a_damaged_file_and_a_reader_of_others_does_not(
    shop: Workshop, name: str
) -> None:
    damage(shop.root, DAYS[1], DAMAGE, name)
    if "folder" not in name:  # a list of files does not hold folders
        with pytest.raises(CommitRefused, match="2026-11-21"):
            read.dataset(shop.store, EVENTS.name)
        with pytest.raises(CommitRefused, match="2026-11-21"):
            list(load_all(shop.store, EVENTS.name))
    assert read.dataset(shop.store, EVENTS.name, [DAYS[0], DAYS[2]]).count_rows() == 2


@pytest.mark.parametrize("name", HEALED)
def test_a_damaged_manifest_is_replaced_by_the_footer(shop: Workshop, name: str) -> None:
    whole = load_archive(shop.store, EVENTS.name, None)
    damage(shop.root, DAYS[1], HEALED, name)
    found = load_archive(shop.store, EVENTS.name, None)
    assert found == whole


@pytest.mark.parametrize("name", HEALED)
def test_a_text_that_is_not_a_manifest_is_a_value_error(shop: Workshop, name: str) -> None:
    damage(shop.root, DAYS[1], HEALED, name)
    path = shop.root / "_hunting/manifest/DeviceEvents/2026-11/2026-11-21.json"
    if path.is_file():
        with pytest.raises(ValueError, match="not a manifest of this version"):
            Manifest.from_json(path.read_bytes())


def test_a_manifest_that_cannot_be_read_is_replaced_by_the_footer(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> bytes:
        raise PermissionError(13, "Permission denied", path)

    whole = load_archive(shop.store, EVENTS.name, None)
    monkeypatch.setattr(shop.store, "get", refuse)
    monkeypatch.setattr(shop.store, "get_all", lambda entries: {})
    assert load_archive(shop.store, EVENTS.name, None) == whole


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_read_permission_is_named(shop: Workshop) -> None:
    shop.file(DAYS[1]).chmod(0)
    (shop.root / "_hunting/manifest/DeviceEvents/2026-11/2026-11-21.json").unlink()
    assert [*load_archive(shop.store, EVENTS.name, None).damaged] == [DAYS[1]]


@pytest.mark.parametrize("name", {**DAMAGE, **HIDDEN})
def test_verification_names_a_damaged_file_and_reads_the_others(shop: Workshop, name: str) -> None:
    damage(shop.root, DAYS[1], {**DAMAGE, **HIDDEN}, name)
    found = verify(shop.store, EVENTS, archive_of(shop.store, EVENTS, DAYS))
    assert [one.partition for one in found.comparisons] == [DAYS[0], DAYS[2]]
    assert [*found.damaged] == [DAYS[1]]


def test_rows_of_another_time_are_a_difference_and_no_crash(shop: Workshop) -> None:
    shutil.copy(shop.file(DAYS[0]), shop.root / "copy")
    footer = pq.read_metadata(shop.file(DAYS[1])).metadata
    elsewhere = pq.read_table(shop.root / "copy").replace_schema_metadata(footer)
    pq.write_table(elsewhere, shop.file(DAYS[1]))
    found = verify(shop.store, EVENTS, archive_of(shop.store, EVENTS, None))
    assert [one.partition for one in found.comparisons if not one.equal] == [DAYS[1]]


@pytest.mark.parametrize("name", {**DAMAGE, **HIDDEN})
def test_a_missing_schema_is_rebuilt_from_the_files_that_can_be_read(shop: Workshop, name: str) -> None:
    path = shop.root / schema_path(EVENTS.name)
    before = path.read_bytes()
    damage(shop.root, DAYS[2], {**DAMAGE, **HIDDEN}, name)
    path.unlink()
    assert load_schema(shop.store, EVENTS.name) is not None
    assert path.read_bytes() == before


def hour_file(shop: Workshop, number: int) -> Partition:
    """Put an hourly partition of another lake into the table's folder."""
    start = DAYS[number].window.start + 5 * HOUR
    hour = Partition(EVENTS.name, Window(start, start + HOUR))
    other = Workshop(shop.root.parent / "hourly")
    other.land([start], columns={"A": text("x")}, partition=hour)
    shop.file(hour).parent.mkdir(parents=True)
    shutil.copy(other.file(hour), shop.file(hour))
    return hour


def test_a_file_of_another_grain_blocks_only_the_partitions_of_its_span(shop: Workshop) -> None:
    hour = hour_file(shop, 1)
    archive = archive_of(shop.store, EVENTS, None)
    assert [*archive.manifests] == DAYS
    assert [*archive.damaged] == [hour]
    assert "another grain" in str(archive.damaged[hour])
    assert [*archive.blocked([*DAYS, day(3)])] == [DAYS[1]]


def test_a_partition_in_a_linked_folder_is_found_if_it_is_requested(shop: Workshop) -> None:
    for number, partition in enumerate(DAYS):
        folder = shop.file(partition).parent
        folder.rename(shop.root.parent / str(number))
        folder.symlink_to(shop.root.parent / str(number))
    archive = archive_of(shop.store, EVENTS, DAYS)
    assert ([*archive.manifests], archive.damaged) == (DAYS, {})


def test_a_changed_grain_is_refused_for_this_table_only(shop: Workshop) -> None:
    hour_file(shop, 1)
    with pytest.raises(Misconfigured, match="another grain") as caught:
        archive_of(shop.store, replace(EVENTS, grain=Grain.HOUR), [])
    assert not caught.value.everything


def test_files_that_are_not_partitions_are_named_and_skipped_names_are_not(shop: Workshop) -> None:
    folder = shop.root / EVENTS.name
    foreign = [
        "DeviceEvents/backup/date=2026-11-20/DeviceEvents-2026-11-20.parquet",
        "DeviceEvents/date=2026-11-20/copy.parquet",
        "DeviceEvents/date=2026-11-29/part-0.parquet",
        "DeviceEvents/readme.txt",
    ]
    skipped = [".x/copy.parquet", "date=2026-11-20/_copy.parquet", "date=2026-11-20/.copy.parquet"]
    for path in [*foreign, *(f"DeviceEvents/{one}" for one in skipped)]:
        (shop.root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shop.file(), shop.root / path)
    found = coverage(shop.store, EVENTS, DAYS, now=NOW, retention_days=30)
    assert found.foreign == ("DeviceEvents/date=2026-11-20/copy.parquet",), "of the requested days"
    found = coverage(shop.store, EVENTS, None, now=NOW, retention_days=30)
    assert found.foreign == tuple(foreign)
    assert found.damaged == {}
    (error,) = found.problems
    assert all(path in str(error) for path in foreign)
    rows = pq.read_table(folder / "date=2026-11-20", partitioning=None).num_rows
    assert rows == 2, "a reader of the folder doubles the row"
    assert read.dataset(shop.store, EVENTS.name).count_rows() == 3


def test_a_copy_at_the_path_of_another_partition_is_named(shop: Workshop) -> None:
    shop.file(day(3)).parent.mkdir()
    shutil.copy(shop.file(DAYS[0]), shop.file(day(3)))
    archive = archive_of(shop.store, EVENTS, None)
    assert [*archive.damaged] == [day(3)]
    assert "holds the partition DeviceEvents 2026-11-20" in str(archive.damaged[day(3)])


def test_a_damaged_first_file_does_not_make_a_table_a_computed_table(shop: Workshop) -> None:
    shutil.rmtree(shop.root / "_hunting/manifest")
    shop.file(DAYS[0]).write_bytes(b"")
    assert derived.is_archived(shop.store, EVENTS.name)
    with pytest.raises(CommitRefused, match="a pull archived DeviceEvents"):
        derived.write(shop.store, DAYS[1], pa.table({"A": [1]}))


def test_a_nested_lake_file_is_named(shop: Workshop) -> None:
    (shop.root / "_hunting/lake.json").write_text(NESTED)
    with pytest.raises(Misconfigured, match="not a valid lake file"):
        shop.land([DAYS[1].window.start + 1], partition=DAYS[1])


def test_a_commit_onto_a_damaged_file_is_refused_and_the_file_stays(shop: Workshop) -> None:
    for name in DAMAGE:
        other = Workshop(shop.root.parent / name)
        other.land([DAYS[0].window.start])
        damage(other.root, DAYS[0], DAMAGE, name)
        before = other.contents()
        staged = other.stage(reply([DAYS[0].window.start]), DAYS[0].window)
        with pytest.raises(CommitRefused, match="2026-11-20"):
            other.commit(staged, archived=None)
        assert before.items() <= other.contents().items()


def test_an_unreadable_file_is_not_blamed_on_its_time_column(shop: Workshop) -> None:
    pq.write_table(pa.table({"B": [1]}), shop.file(DAYS[1]))
    with pytest.raises(CommitRefused, match="cannot be read"):
        read.archived_ticks(shop.store, DAYS[1], "Timestamp")
