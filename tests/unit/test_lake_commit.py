"""A partition's file appears complete or not at all, never loses rows, and contains its own proof."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_workshop import (
    EVENTS,
    MIDNIGHT,
    NOON,
    SNAPSHOT,
    TENANT,
    Workshop,
    day,
    files_no_longer_than,
    reply,
    text,
)

from hunting_pipeline.errors import CommitRefused, Misconfigured
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.lake.commit import claim, owner
from hunting_pipeline.lake.layout import FOOTER_KEY, LAKE_FILE, data_path, manifest_path, schema_path
from hunting_pipeline.lake.manifest import Manifest, load
from hunting_pipeline.lake.sources import StagedRefused
from hunting_pipeline.lake.stores import ANY, Expected
from hunting_pipeline.lake.stores.local import LocalStore
from hunting_pipeline.model import (
    DAY,
    HOUR,
    Bucket,
    Column,
    Partition,
    Proof,
    TableSpec,
    Window,
    merge_windows,
)
from places import Folder, Place, open_place

WHOLE = day().window
MORNING, AFTERNOON = Window(MIDNIGHT, NOON), Window(NOON, WHOLE.end)
OTHER_TENANT = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "lake")


def archive(shop: Workshop) -> dict[str, bytes]:
    """Return every file that is not staged."""
    return {path: data for path, data in shop.contents().items() if not path.startswith("_hunting/staging/")}


# the files of a commit


def test_a_commit_leaves_the_file_its_manifest_the_schema_and_nothing_else(shop: Workshop) -> None:
    receipt = shop.land([NOON + 1, NOON, MIDNIGHT])
    assert list(shop.contents()) == [
        "DeviceEvents/date=2026-11-20/DeviceEvents-2026-11-20.parquet",
        "_hunting/lake.json",
        "_hunting/manifest/DeviceEvents/2026-11/2026-11-20.json",
        "_hunting/schema/DeviceEvents.json",
    ]
    assert receipt.path == "DeviceEvents/date=2026-11-20/DeviceEvents-2026-11-20.parquet"
    assert (receipt.proof.rows, receipt.slices, receipt.previous_rows) == (3, 1, None)
    assert receipt.covered == (WHOLE,)
    assert receipt.time_range == (MIDNIGHT, NOON + 1)
    assert receipt.file_bytes == shop.file().stat().st_size
    assert receipt.columns == (Column("Timestamp", "datetime"),)
    assert shop.ticks() == [MIDNIGHT, NOON, NOON + 1]


def test_the_manifest_and_the_footer_say_the_same(shop: Workshop) -> None:
    receipt = shop.land([NOON], columns={"A": text("x")})
    manifest = load(shop.store, day())
    assert manifest is not None
    assert (manifest.proof, manifest.covered) == (receipt.proof, receipt.covered)
    assert (manifest.tenant, manifest.run_id, manifest.query_hash) == (TENANT, "run", EVENTS.query_hash)
    assert manifest.fingerprint == receipt.fingerprint
    footer = Manifest.from_json(pq.read_metadata(shop.file()).metadata[FOOTER_KEY])
    known_later = {"file_bytes": receipt.file_bytes, "file_version": manifest.file_version}
    assert replace(footer, **known_later) == manifest


def test_100_ns_ticks_survive(shop: Workshop) -> None:
    ticks = [MIDNIGHT, MIDNIGHT + 1, NOON + 1_234_567, WHOLE.end - 1]
    shop.land(ticks)
    assert shop.ticks() == ticks
    assert shop.rows().schema.field("Timestamp").type == pa.timestamp("ns", "UTC")


def test_identical_rows_are_kept(shop: Workshop) -> None:
    shop.land([NOON] * 5, columns={"A": text(*"xxxxy")})
    assert sorted(shop.rows()["A"].to_pylist()) == list("xxxxy")


def test_an_empty_partition_has_its_file_and_its_schema(shop: Workshop) -> None:
    receipt = shop.land([], columns={"A": text()})
    assert (receipt.proof, receipt.time_range) == (Proof(0, 0), None)
    assert shop.rows().num_rows == 0
    assert shop.rows().schema.names == ["Timestamp", "A", "_rescued_data"]
    assert shop.land([NOON], columns={"A": text("late")}).previous_rows == 0


def test_rescued_values_are_kept_and_counted(shop: Workshop) -> None:
    staged = shop.stage(reply([MIDNIGHT, NOON, NOON], {"A": text("x", "y", "z")}, rescued=2), WHOLE)
    assert shop.commit(staged).rescued == 2
    assert shop.rows().schema.names[-1] == "_rescued_data"
    assert shop.rows()["_rescued_data"].null_count == 1
    (shop.root / manifest_path(day())).unlink()
    from_the_footer = load(shop.store, day())
    assert from_the_footer is not None
    assert from_the_footer.rescued == 2


def test_rows_are_sorted_by_time_over_all_slices(shop: Workshop) -> None:
    quarter = WHOLE.ticks // 4
    spans = [Window(MIDNIGHT + n * quarter, MIDNIGHT + (n + 1) * quarter) for n in range(4)]
    staged = [
        segment for span in reversed(spans) for segment in shop.stage(reply([span.end - 1, span.start]), span)
    ]
    shop.commit(staged)
    assert shop.ticks() == [tick for span in spans for tick in (span.start, span.end - 1)]


def test_row_groups_are_bounded_and_can_be_skipped_by_time(shop: Workshop) -> None:
    rows, parts = 300_000, 6
    step = WHOLE.ticks // rows
    staged = []
    for part in range(parts):
        first = part * rows // parts
        ticks = [MIDNIGHT + n * step for n in range(first, first + rows // parts)]
        staged += shop.stage(reply(ticks), Window(ticks[0], MIDNIGHT + (first + rows // parts) * step))
    shop.commit(staged)
    metadata = pq.read_metadata(shop.file())
    groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
    assert metadata.num_rows == rows
    assert all(group.num_rows <= 131_072 for group in groups)
    assert [group.num_rows for group in groups] == [131_072, 18_928, 131_072, 18_928]
    ranges = [(group.column(0).statistics.min, group.column(0).statistics.max) for group in groups]
    assert all(one[1] < other[0] for one, other in itertools.pairwise(ranges))


# commits that extend or replace


def test_a_second_commit_replaces_what_it_covers(shop: Workshop) -> None:
    shop.land([NOON], columns={"A": text("old")})
    receipt = shop.land([NOON, NOON], columns={"A": text("new", "new")})
    assert (receipt.previous_rows, receipt.proof.rows) == (1, 2)
    assert shop.rows()["A"].to_pylist() == ["new", "new"]


def test_an_extension_keeps_the_archived_rows_outside_the_staged_spans(shop: Workshop) -> None:
    first = shop.land([MIDNIGHT, NOON - 1], MORNING, {"A": text("x", "y")})
    assert first.covered == (MORNING,)
    second = shop.land([NOON], AFTERNOON, {"A": text("z")})
    assert (second.covered, second.previous_rows, second.slices) == ((WHOLE,), 2, 2)
    assert second.proof == first.proof + Proof(1, second.proof.checksum - first.proof.checksum)
    assert shop.ticks() == [MIDNIGHT, NOON - 1, NOON]
    assert shop.rows()["A"].to_pylist() == ["x", "y", "z"]
    assert second.body_bytes == 300


def test_only_rescued_values_that_are_still_in_the_file_are_counted(shop: Workshop) -> None:
    shop.commit([*shop.stage(reply([MIDNIGHT], rescued=1), MORNING), *shop.stage(reply([NOON]), AFTERNOON)])
    assert shop.commit(shop.stage(reply([NOON, NOON], rescued=1), AFTERNOON)).rescued == 2
    assert shop.commit(shop.stage(reply([MIDNIGHT]), MORNING)).rescued == 1


@st.composite
def histories(draw: st.DrawFn) -> list[list[tuple[int, int]]]:
    """Draw spans of a day in random order, committed in groups one after another."""
    edges = sorted(draw(st.sets(st.integers(1, 23), max_size=5)) | {0, 24})
    spans = list(itertools.pairwise(edges))
    commits = []
    for span in draw(st.permutations(spans)):
        if commits and draw(st.booleans()):
            commits[-1].append(span)
        else:
            commits.append([span])
    return commits


@settings(max_examples=25, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_a_day_has_every_row_once_for_any_sequence_of_commits(
    tmp_path_factory: pytest.TempPathFactory, history: list[list[tuple[int, int]]], chance: random.Random
) -> None:
    shop = Workshop(tmp_path_factory.mktemp("day"))
    landed: list[int] = []
    covered: list[Window] = []
    for spans in history:
        staged = []
        for first, end in spans:
            span = Window(MIDNIGHT + first * HOUR, MIDNIGHT + end * HOUR)
            ticks = [
                chance.choice([span.start, span.end - 1, span.start + 1]) for _ in range(chance.randrange(4))
            ]
            staged += shop.stage(reply(ticks, {"A": text(*map(str, ticks))}), span)
            landed += ticks
            covered.append(span)
        receipt = shop.commit(staged)
        assert receipt.covered == merge_windows(covered)
        assert shop.ticks() == sorted(landed)
        assert shop.rows()["A"].to_pylist() == [str(tick) for tick in sorted(landed)]
        assert receipt.proof.rows == len(landed)
    assert receipt.covered == (WHOLE,)


def test_part_of_an_archived_slice_can_be_replaced(shop: Workshop) -> None:
    """The rest of the slice is kept and counted again."""
    shop.land([MIDNIGHT, NOON, NOON + 1, WHOLE.end - 1], columns={"A": text("a", "b", "c", "d")})
    inner = Window(NOON, NOON + 10)
    receipt = shop.commit(shop.stage(reply([NOON, NOON + 1, NOON + 2], {"A": text("B", "C", "new")}), inner))
    assert shop.rows()["A"].to_pylist() == ["a", "B", "C", "new", "d"]
    assert (receipt.covered, receipt.proof.rows, receipt.slices) == ((WHOLE,), 5, 3)
    manifest = load(shop.store, day())
    assert manifest is not None
    assert [segment.proof.rows for segment in manifest.segments] == [1, 3, 1]
    assert [segment.span for segment in manifest.segments] == [
        Window(MIDNIGHT, NOON), inner, Window(NOON + 10, WHOLE.end)
    ]  # fmt: skip


def test_all_buckets_of_one_tick_are_kept(shop: Workshop) -> None:
    tick = Window(NOON, NOON + 1)
    before, after = Window(MIDNIGHT, NOON), Window(NOON + 1, WHOLE.end)
    staged = [
        *shop.stage(reply([NOON] * 3, {"A": text("0", "0", "0")}), tick, bucket=Bucket(0, 2)),
        *shop.stage(reply([NOON] * 2, {"A": text("1", "1")}), tick, bucket=Bucket(1, 32)),
        *shop.stage(reply([NOON] * 1, {"A": text("17")}), tick, bucket=Bucket(17, 32)),
        *shop.stage(reply([MIDNIGHT], {"A": text("-")}), before),
        *shop.stage(reply([WHOLE.end - 1], {"A": text("+")}), after),
    ]
    assert shop.commit(staged).proof.rows == 8
    assert sorted(shop.rows()["A"].to_pylist()) == ["+", "-", "0", "0", "0", "1", "1", "17"]
    extended = shop.commit(shop.stage(reply([MIDNIGHT, MIDNIGHT], {"A": text("-", "-")}), before))
    assert extended.proof.rows == 9, "buckets of the archive were lost or read twice"


def test_a_snapshot_is_replaced_whole(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, SNAPSHOT)
    half = [shop.stage(reply(None, {"A": text(str(n))}), bucket=Bucket(n, 2))[0] for n in range(2)]
    first = shop.commit(half)
    assert (first.proof, first.covered, first.time_range) == (Proof(2, 0), (WHOLE,), None)
    assert sorted(shop.rows()["A"].to_pylist()) == ["0", "1"]
    shop.land(None, columns={"A": text("new", "newer")})
    assert shop.rows()["A"].to_pylist() == ["new", "newer"]


# refused commits: no byte of the old file changes


def refused(shop: Workshop, words: str, **land: object) -> None:
    before = archive(shop)
    with pytest.raises(CommitRefused, match=words):
        shop.land(**land)  # type: ignore[arg-type]
    assert archive(shop) == before
    assert not list(shop.root.rglob("*.tmp"))


def test_fewer_rows_are_refused_unless_forced(shop: Workshop) -> None:
    shop.land([MIDNIGHT, NOON])
    refused(shop, "holds 1 rows, and 2 are archived.*--force", ticks=[NOON])
    assert shop.land([NOON], force=True).proof.rows == 1


def test_new_hours_do_not_make_up_for_rows_lost_in_old_ones(shop: Workshop) -> None:
    """The partition would have more rows than before, but one archived row would be lost."""
    shop.land([MIDNIGHT, MIDNIGHT + 1], MORNING)
    refused(shop, "holds 1 rows, and 2 are archived", ticks=[MIDNIGHT, NOON, NOON + 1], window=WHOLE)


def test_less_time_is_refused_even_with_force(shop: Workshop) -> None:
    shop.land([MIDNIGHT])
    staged = shop.stage(reply([MIDNIGHT, MIDNIGHT]), MORNING)
    other_query = replace(EVENTS, where="true")
    before = archive(shop)
    with pytest.raises(CommitRefused, match="no longer cover 2026-11-20T00:00:00Z … 2026-11-21"):
        shop.commit(staged, spec=other_query, force=True)
    assert archive(shop) == before


def test_rows_of_different_queries_are_not_mixed(shop: Workshop) -> None:
    """A file with all rows of the morning and filtered rows of the afternoon matches no query."""
    shop.land([MIDNIGHT], MORNING)
    shop.land([NOON], AFTERNOON)
    refused(shop, "no longer cover", ticks=[NOON, NOON], window=AFTERNOON, spec=replace(EVENTS, where="true"))
    assert shop.land([MIDNIGHT, NOON], spec=replace(EVENTS, where="true")).slices == 1


def test_a_commit_of_nothing_does_not_replace_an_archive(shop: Workshop) -> None:
    shop.land([MIDNIGHT])
    before = archive(shop)
    with pytest.raises(CommitRefused, match="nothing is staged"):
        shop.commit([], spec=replace(EVENTS, where="true"))
    assert archive(shop) == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((WHOLE, None), (AFTERNOON, None)),
        ((MORNING, None), (Window(NOON - 1, WHOLE.end), None)),
        ((WHOLE, Bucket(1, 2)), (WHOLE, Bucket(3, 4))),
        ((WHOLE, Bucket(0, 2)), (WHOLE, None)),
        ((WHOLE, Bucket(0, 2)), (AFTERNOON, Bucket(1, 2))),
    ],
)
def test_segments_that_would_double_rows_are_refused_and_removed(
    shop: Workshop, one: tuple[Window, Bucket | None], other: tuple[Window, Bucket | None]
) -> None:
    staged = [
        segment for span, bucket in (one, other) for segment in shop.stage(reply([]), span, bucket=bucket)
    ]
    with pytest.raises(CommitRefused, match="would duplicate rows"):
        shop.commit(staged)
    assert list(shop.contents()) == [LAKE_FILE]


def test_rows_that_another_run_archived_meanwhile_are_not_replaced_by_fewer(shop: Workshop) -> None:
    shop.land([MIDNIGHT], MORNING)
    planned_with = load(shop.store, day())
    shop.land([NOON, NOON + 1], AFTERNOON)
    for force in (False, True):  # --force was meant for the rows before
        words, more = "holds 2 rows, and 3 are", {"force": force}
        refused(shop, words, ticks=[NOON], window=AFTERNOON, archived=planned_with, **more)
        refused(shop, words, ticks=[MIDNIGHT, NOON], archived=None, **more)


def test_a_file_of_another_tenant_is_left_as_it_is(shop: Workshop) -> None:
    shop.land([MIDNIGHT])
    (shop.root / LAKE_FILE).unlink()
    shop.tenant = OTHER_TENANT
    before = shop.file().read_bytes()
    with pytest.raises(CommitRefused, match=f"rows of tenant {TENANT}, not of {OTHER_TENANT}"):
        shop.land([MIDNIGHT, NOON])
    assert shop.file().read_bytes() == before


def test_another_tenants_lake_is_refused(shop: Workshop) -> None:
    shop.land([MIDNIGHT])
    before = archive(shop)
    shop.tenant = OTHER_TENANT
    with pytest.raises(Misconfigured, match=f"holds tenant {TENANT}.*lake or tenant_id"):
        shop.land([MIDNIGHT, NOON])
    assert archive(shop) == before


def test_a_lake_belongs_to_the_tenant_that_writes_first(shop: Workshop) -> None:
    claim(shop.store, TENANT, write=False)
    assert shop.contents() == {}
    claim(shop.store, TENANT, write=True)
    claim(shop.store, TENANT.upper(), write=False)
    assert json.loads(shop.contents()[LAKE_FILE]) == {"tenant": TENANT, "layout": 2}


@pytest.mark.parametrize(
    ("text_", "words"),
    [
        ("", "not a valid lake file"),
        ("[]", "not a valid lake file"),
        ("null", "not a valid lake file"),
        ('{"tenant": "x"}', "not a valid lake file"),
        (f'{{"tenant": "{TENANT}", "layout": 3}}', "layout version 3"),
    ],
)
def test_a_lake_of_unknown_layout_is_refused(shop: Workshop, text_: str, words: str) -> None:
    shop.store.put(LAKE_FILE, text_.encode())
    with pytest.raises(Misconfigured, match=words):
        claim(shop.store, TENANT, write=True)
    assert shop.contents() == {LAKE_FILE: text_.encode()}


@pytest.mark.parametrize("write", [True, False])
def test_a_lake_of_layout_version_1_is_refused_by_name_and_unchanged(shop: Workshop, write: bool) -> None:
    shop.root.mkdir()
    (shop.root / "_lake.json").write_text(f'{{"tenant": "{TENANT}", "layout": 1}}')
    before = shop.contents()
    words = f"{shop.root} has layout version 1.* needs version 2.*No request was sent.*lake to a new folder"
    with pytest.raises(Misconfigured, match=words):
        claim(shop.store, TENANT, write=write)
    with pytest.raises(Misconfigured, match=words):
        owner(shop.store)
    assert shop.contents() == before


def damage(kind: str, shop: Workshop) -> None:
    path = shop.file()
    data = path.read_bytes()
    match kind:
        case "cut short":
            path.write_bytes(data[: len(data) // 2])
        case "empty":
            path.write_bytes(b"")
        case "no Parquet":
            path.write_bytes(b"something else altogether")
        case "another program's":
            pq.write_table(pa.table({"A": [1]}), path)
        case "broken footer":
            path.write_bytes(data[:-60] + b"\xff" * 51 + data[-10:])
        case "of another day":
            shop.land([day(1).window.start], partition=day(1))
            path.write_bytes(shop.file(day(1)).read_bytes())


KINDS = ["cut short", "empty", "no Parquet", "another program's", "broken footer", "of another day"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("manifest", [True, False])
def test_a_damaged_or_foreign_file_is_named_and_left_as_it_is(
    shop: Workshop, kind: str, manifest: bool
) -> None:
    shop.land([MIDNIGHT, NOON])
    damage(kind, shop)
    if not manifest:
        (shop.root / manifest_path(day())).unlink()
    before = shop.file().read_bytes()
    with pytest.raises(CommitRefused, match="was not changed"):
        load(shop.store, day())
    with pytest.raises(CommitRefused, match="was not changed"):
        shop.commit(shop.stage(reply([MIDNIGHT]), WHOLE), archived=None)
    assert shop.file().read_bytes() == before


def test_a_flipped_bit_in_archived_rows_is_detected_when_they_are_copied(shop: Workshop) -> None:
    noise = [str(n * 7919 % 10_007) for n in range(5_000)]
    shop.land([MIDNIGHT] * 5_000, MORNING, {"A": text(*noise)})
    column = pq.read_metadata(shop.file()).row_group(0).column(1)
    data = bytearray(shop.file().read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    shop.file().write_bytes(data)
    load(shop.store, day())  # now the manifest has the version of the damaged file
    refused(shop, "cannot be read", ticks=[NOON], window=AFTERNOON, columns={"A": text("z")})


def test_a_staged_segment_that_is_damaged_is_removed(shop: Workshop) -> None:
    """Its span is named, so the run fetches it again. Otherwise every run would fail."""
    (segment,) = shop.stage(reply([NOON] * 1000, {"A": text(*map(str, range(1000)))}), WHOLE)
    path = shop.root / segment.path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(StagedRefused, match=r"missing or damaged.*Run again") as refusal:
        shop.commit([segment])
    assert refusal.value.spans == {WHOLE}
    assert list(shop.contents()) == [LAKE_FILE]


def number(*values: int) -> tuple[str, pa.DataType, Sequence[Any]]:
    return "int", pa.int32(), values


def test_the_segment_that_contradicts_the_archive_is_removed_and_the_other_stays(shop: Workshop) -> None:
    shop.land([NOON + DAY], columns={"A": number(1)}, partition=day(1))
    before = shop.contents()
    (odd,) = shop.stage(reply([MIDNIGHT], {"A": text("1")}), MORNING)
    (good,) = shop.stage(reply([NOON], {"A": number(2)}), AFTERNOON)
    with pytest.raises(StagedRefused, match="column A changed its type from int32 to string") as refusal:
        shop.commit([odd, good])
    assert refusal.value.spans == {MORNING}
    assert shop.contents().keys() == {*before, good.path}
    (again,) = shop.stage(reply([MIDNIGHT], {"A": number(1)}), MORNING)
    assert shop.commit([again, good]).proof.rows == 2


def test_two_segments_that_contradict_each_other_are_both_removed(shop: Workshop) -> None:
    (one,) = shop.stage(reply([MIDNIGHT], {"A": text("1")}), MORNING)
    (other,) = shop.stage(reply([NOON], {"A": number(2)}), AFTERNOON)
    with pytest.raises(StagedRefused, match="column A changed its type") as refusal:
        shop.commit([one, other])
    assert refusal.value.spans == {MORNING, AFTERNOON}
    assert list(shop.contents()) == [LAKE_FILE]


def test_all_buckets_of_a_refused_span_are_removed(shop: Workshop) -> None:
    """Buckets are complete only together, and the span is cut again."""
    shop.land([NOON + DAY], columns={"A": number(1)}, partition=day(1))
    before = shop.contents()
    (odd,) = shop.stage(reply([NOON], {"A": text("1")}), WHOLE, bucket=Bucket(0, 2))
    (good,) = shop.stage(reply([NOON], {"A": number(2)}), WHOLE, bucket=Bucket(1, 2))
    with pytest.raises(StagedRefused):
        shop.commit([odd, good])
    assert shop.contents() == before


def test_a_segment_that_a_frozen_schema_refuses_is_removed(shop: Workshop) -> None:
    shop.land([NOON + DAY], columns={"A": number(1)}, partition=day(1))
    before = shop.contents()
    segments = shop.stage(reply([NOON], {"A": number(1), "B": number(1)}), WHOLE)
    with pytest.raises(StagedRefused, match=r"schema changed \(B\).*`policy: evolve`") as refusal:
        shop.commit(segments, spec=replace(EVENTS, evolve=False))
    assert refusal.value.spans == {WHOLE}
    assert shop.contents() == before


def test_a_segment_whose_rows_differ_from_its_proof_is_removed(shop: Workshop) -> None:
    (segment,) = shop.stage(reply([NOON, NOON + 1]), WHOLE)
    lying = replace(segment, proof=Proof(2, segment.proof.checksum + 1))
    with pytest.raises(CommitRefused, match=r"the new file holds .* manifest says"):
        shop.commit([lying])
    assert list(shop.contents()) == [LAKE_FILE, schema_path(EVENTS.name)]


# disk errors


def test_a_disk_that_fills_during_a_commit_leaves_the_old_file(shop: Workshop) -> None:
    shop.land([MIDNIGHT], MORNING, {"A": text("x")})
    before = archive(shop)
    noise = [f"{n * 7919 % 10_007}-{n}" for n in range(20_000)]
    staged = shop.stage(reply([NOON] * 20_000, {"A": text(*noise)}), AFTERNOON)
    with files_no_longer_than(10_000), pytest.raises(Misconfigured, match="full"):
        shop.commit(staged)
    assert archive(shop) == before
    assert shop.commit(staged).proof.rows == 20_001, "the staged rows are still valid"


def test_a_path_that_cannot_be_written_is_named_and_staged_rows_stay(shop: Workshop) -> None:
    staged = shop.stage(reply([MIDNIGHT]), WHOLE)
    in_the_way = shop.root / "DeviceEvents"
    in_the_way.write_text("in the way")
    with pytest.raises(CommitRefused, match="Not a directory"):
        shop.commit(staged, archived=None)
    in_the_way.unlink()
    assert shop.commit(staged).proof.rows == 1


# manifests


def test_a_manifest_that_was_never_written_is_restored_from_the_footer(shop: Workshop) -> None:
    """This is the state after a kill between the file and its manifest."""
    shop.land([MIDNIGHT, NOON])
    path = shop.root / manifest_path(day())
    whole = path.read_bytes()
    path.unlink()
    (found,) = load_all(shop.store, EVENTS.name)
    assert found.proof.rows == 2
    assert path.read_bytes() == whole


def test_a_manifest_of_the_previous_file_is_restored_from_the_footer(shop: Workshop) -> None:
    shop.land([MIDNIGHT], MORNING)
    path = shop.root / manifest_path(day())
    old = path.read_bytes()
    shop.land([NOON], AFTERNOON)
    new = path.read_bytes()
    path.write_bytes(old)
    assert load(shop.store, day()) == Manifest.from_json(new)
    assert path.read_bytes() == new


@pytest.mark.parametrize(
    "bad", [b"", b"null", b"[]", b"7", b"{}", b'{"version": 2}', b"\xff", b'{"version": 1}']
)
def test_an_invalid_manifest_is_restored_from_the_footer(shop: Workshop, bad: bytes) -> None:
    shop.land([MIDNIGHT])
    path = shop.root / manifest_path(day())
    whole = path.read_bytes()
    path.write_bytes(bad)
    assert load(shop.store, day()) is not None
    assert path.read_bytes() == whole


def test_a_manifest_of_another_partition_is_ignored(shop: Workshop) -> None:
    shop.land([MIDNIGHT])
    shop.land([day(1).window.start], partition=day(1))
    entry = shop.store.stat(data_path(day()))
    assert entry is not None
    stranger = json.loads((shop.root / manifest_path(day(1))).read_text()) | {"file_version": entry.version}
    (shop.root / manifest_path(day())).write_text(json.dumps(stranger))
    found = load(shop.store, day())
    assert found is not None
    assert found.partition == day()


def test_a_manifest_without_its_file_is_ignored(shop: Workshop) -> None:
    shop.land([MIDNIGHT])
    shop.file().unlink()
    assert load(shop.store, day()) is None
    assert list(load_all(shop.store, EVENTS.name)) == []


class ReadOnly(LocalStore):
    """A lake without write access."""

    def put(self, path: str, data: bytes, *, expected: Expected = ANY) -> str:
        raise Misconfigured("read-only")


def test_a_read_only_lake_can_be_read(shop: Workshop) -> None:
    shop.land([MIDNIGHT])
    (shop.root / manifest_path(day())).unlink()
    (found,) = load_all(ReadOnly(shop.root), EVENTS.name)
    assert found.proof.rows == 1
    assert not (shop.root / manifest_path(day())).exists()


def test_foreign_files_are_ignored(shop: Workshop) -> None:
    shop.land([MIDNIGHT])
    (shop.root / "_hunting" / "manifest" / "DeviceEvents" / "notes.json").write_text("{}")
    (shop.root / "DeviceEvents" / "date=2026-11-20" / "part-0.parquet").write_bytes(b"")
    assert [manifest.partition for manifest in load_all(shop.store, EVENTS.name)] == [day()]


def test_partitions_come_oldest_first(shop: Workshop) -> None:
    for number in (2, 0, 1):
        shop.land([day(number).window.start], partition=day(number))
    assert [manifest.partition for manifest in load_all(shop.store, EVENTS.name)] == [day(0), day(1), day(2)]


spans = st.tuples(st.integers(0, 30), st.integers(1, 9)).map(lambda pair: Window(pair[0], sum(pair)))


@given(st.lists(spans, max_size=8))
def test_merged_windows_hold_the_same_instants_in_as_few_as_possible(windows: list[Window]) -> None:
    merged = merge_windows(windows)
    instants = {instant for window in windows for instant in range(window.start, window.end)}
    assert instants == {instant for window in merged for instant in range(window.start, window.end)}
    assert all(one.end < other.start for one, other in itertools.pairwise(merged))


# killed writers


@pytest.mark.slow
def test_a_commit_killed_at_any_file_operation_leaves_one_state_and_is_repaired() -> None:
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, str(here / "lake_killed.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    points = [int(word) for word in done.stdout.split()]
    assert len(points) == 2
    assert min(points) > 10, "the kills did not happen where files are touched"


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from lake_workshop import *
from hunting_pipeline.lake.stores import open_store
from hunting_pipeline.settings import Settings
settings = Settings()
shop = Workshop(Path(sys.argv[1]))
shop.store = open_store(settings.lake, settings.store_options)
print("ready", flush=True)
sys.stdin.readline()
found = load(shop.store, day())
generation = found.proof.rows - 1000 if found else 0
while True:
    generation += 1
    rows = 1000 + generation
    shop.now = MIDNIGHT + 2 * DAY + generation * 100_000_000
    shop.land([MIDNIGHT + n for n in range(rows)], columns={"G": ("int", pa.int32(), [generation] * rows)})
"""

KILLS, READS, MOST_KILLS = 6, 25, 40
"""Least kills, least reads, and most kills. A busy machine needs more kills until enough was read."""


@pytest.mark.stores
def test_readers_see_whole_files_while_writers_are_killed(tmp_path: Path, place: Place) -> None:
    """Each file has 1000 + g rows with the value g. So a torn or mixed file is detected."""
    key = data_path(day())

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(Path(__file__).parent)],
            env={**os.environ, **place.variables},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def read() -> int:
        return _read_whole(_file_of(place, key, tmp_path), with_duckdb=reads % 2 == 1)

    store, chance = open_place(place), random.Random(7)
    waiting = start()
    reads = kills = 0
    seen: set[int] = set()
    while (kills < KILLS or reads < READS or len(seen) < 4) and kills < MOST_KILLS:
        writer, waiting = waiting, start()
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "ready\n"
        writer.stdin.write("go\n")
        writer.stdin.flush()
        dies = time.monotonic() + chance.uniform(0.02, 0.5)
        while time.monotonic() < dies:
            if seen or key in place.objects():
                seen.add(read())
                reads += 1
        assert writer.poll() is None, "the writer ended by itself"
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
        kills += 1
        before, manifest = {read()} if seen else set(), load(store, day())
        # a store may complete the last PUT of a killed writer
        assert manifest is None or manifest.proof.rows - 1000 in before | {read()}
    waiting.kill()
    waiting.communicate()
    assert (reads >= READS, len(seen) >= 4) == (True, True), (reads, seen)


def _file_of(place: Place, key: str, folder: Path) -> Path:
    """Return the file itself, or its whole content as a reader of an object store gets it."""
    if isinstance(place, Folder):
        return place.root / key
    copy = folder / "copy.parquet"
    copy.write_bytes(place.read(key))
    return copy


def _read_whole(path: Path, *, with_duckdb: bool) -> int:
    if with_duckdb:
        query = f"SELECT min(G), max(G), count(*) FROM read_parquet('{path}')"
        low, high, rows = duckdb.connect().execute(query).fetchall()[0]
    else:
        table = pq.ParquetFile(path).read()
        generations = table["G"].to_pylist()
        low, high, rows = min(generations), max(generations), table.num_rows
    assert low == high == rows - 1000
    return int(low)


def test_hourly_partitions_lie_in_folders_of_their_day(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, TableSpec("DeviceEvents", "Timestamp"))
    hour = Partition("DeviceEvents", Window(NOON, NOON + HOUR))
    receipt = shop.land([NOON, NOON + HOUR - 1], partition=hour)
    assert receipt.path == "DeviceEvents/date=2026-11-20/hour=12/DeviceEvents-2026-11-20T12.parquet"
    assert [m.partition for m in load_all(shop.store, "DeviceEvents")] == [hour]
