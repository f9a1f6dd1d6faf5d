"""Replies become staged segments: every row is in its partition, and no bad segment is used."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_workshop import (
    EVENTS,
    MIDNIGHT,
    NOON,
    SNAPSHOT,
    TIME,
    Workshop,
    day,
    files_no_longer_than,
    reply,
    text,
)

from hunting_pipeline.errors import Misconfigured, ReplyUnreadable
from hunting_pipeline.lake.layout import staging_folder
from hunting_pipeline.lake.write import proof_of, proof_of_reply, staged_segments, unstage
from hunting_pipeline.model import DAY, HOUR, Bucket, Grain, Proof, Staged, TableSpec, Window
from hunting_pipeline.window import partitions_in

WHOLE = day().window


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "lake")


def rows_of(shop: Workshop, segment: Staged) -> pa.Table:
    with pa.OSFile(str(shop.root / segment.path)) as file:
        return pa.ipc.open_file(file).read_all()


def ticks_in(table: pa.Table) -> list[int]:
    return [moment // 100 for moment in table["Timestamp"].cast(pa.int64()).to_pylist()]


@given(st.lists(st.integers(-(10**17), 9 * 10**16), max_size=20))
def test_the_checksum_equals_that_of_the_service(ticks: list[int]) -> None:
    """`sum(tolong(Timestamp) % 1000000007)`: .NET ticks, each remainder taken before the sum."""
    expected = sum((t + 621_355_968_000_000_000) % 1_000_000_007 for t in ticks)
    assert proof_of(np.array(ticks, np.int64)) == Proof(len(ticks), expected)


EDGES = {Grain.DAY: [0, DAY, 2 * DAY, 3 * DAY], Grain.HOUR: [0, HOUR, 2 * HOUR, 3 * HOUR]}


@st.composite
def replies(draw: st.DrawFn) -> tuple[Grain, Window, list[int]]:
    """Draw times in three partitions, many of them at an edge."""
    grain = draw(st.sampled_from(list(Grain)))
    edges = EDGES[grain]
    start, end = draw(st.integers(0, edges[1] - 1)), draw(st.integers(edges[2] + 1, edges[3]))
    near = [
        tick for edge in [start, end, *edges] for tick in (edge - 1, edge, edge + 1) if start <= tick < end
    ]
    times = draw(st.lists(st.one_of(st.integers(start, end - 1), st.sampled_from(near)), max_size=12))
    return grain, Window(MIDNIGHT + start, MIDNIGHT + end), [MIDNIGHT + tick for tick in times]


@settings(max_examples=40, deadline=None)
@given(replies())
def test_every_row_of_a_reply_lands_in_its_partition_once(drawn: tuple[Grain, Window, list[int]]) -> None:
    grain, window, ticks = drawn
    spec = TableSpec("DeviceEvents", "Timestamp", grain=grain)
    touched = partitions_in(spec, window)
    with TemporaryDirectory() as folder:
        shop = Workshop(Path(folder), spec)
        answer = reply(ticks, {"Row": ("long", pa.int64(), list(range(len(ticks))))})
        segments = shop.stage(answer, window, partitions=touched)
        assert [segment.partition for segment in segments] == list(touched)
        landed: Counter[tuple[int, int]] = Counter()
        for segment in segments:
            table = rows_of(shop, segment)
            mine = ticks_in(table)
            assert segment.span == segment.partition.window.intersection(window)
            assert all(segment.span.start <= t < segment.span.end for t in mine)
            assert mine == sorted(mine)
            assert segment.proof == proof_of(np.array(mine, np.int64))
            landed.update(zip(mine, table["Row"].to_pylist(), strict=True))
        assert landed == Counter(zip(ticks, range(len(ticks)), strict=True))


def test_rows_of_the_same_instant_keep_their_order_and_their_number(shop: Workshop) -> None:
    values = [str(n % 3) for n in range(9)]
    (segment,) = shop.stage(reply([NOON] * 9, {"A": text(*values)}), WHOLE)
    assert rows_of(shop, segment)["A"].to_pylist() == values


@pytest.mark.parametrize("outside", [MIDNIGHT - 1, NOON, NOON + 1])
def test_a_row_outside_the_slice_is_refused_and_nothing_is_staged(shop: Workshop, outside: int) -> None:
    with pytest.raises(ReplyUnreadable, match="outside the slice"):
        shop.stage(reply([MIDNIGHT, outside]), Window(MIDNIGHT, NOON))
    assert shop.contents() == {}


@pytest.mark.parametrize("inside", [MIDNIGHT, NOON - 1])
def test_a_row_at_the_edge_of_the_slice_is_taken(shop: Workshop, inside: int) -> None:
    (segment,) = shop.stage(reply([inside]), Window(MIDNIGHT, NOON))
    assert segment.proof.rows == 1


def test_a_row_without_a_time_is_refused(shop: Workshop) -> None:
    answer = reply([NOON])
    times = pa.array([NOON * 100, None], pa.int64()).cast(TIME)
    broken = replace(answer, table=pa.table({"Timestamp": times}))
    for wrong in (broken, replace(answer, table=answer.table.rename_columns(["Time"]))):
        with pytest.raises(ReplyUnreadable, match="Timestamp"):
            proof_of_reply(wrong, EVENTS)
    text_instead = replace(answer, table=pa.table({"Timestamp": ["2026-11-20"]}))
    with pytest.raises(ReplyUnreadable, match="Timestamp"):
        shop.stage(text_instead, WHOLE)
    assert shop.contents() == {}


def test_a_snapshot_is_one_segment_without_a_span(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, SNAPSHOT)
    (segment,) = shop.stage(reply(None, {"A": text("x", "y", "x")}))
    assert (segment.span, segment.proof) == (None, Proof(3, 0))
    assert rows_of(shop, segment)["A"].to_pylist() == ["x", "y", "x"]


def test_the_next_run_reads_all_properties_of_a_segment(shop: Workshop) -> None:
    asked = Window(MIDNIGHT, MIDNIGHT + 2 * DAY)
    first, second = shop.stage(reply([NOON, NOON + DAY], rescued=1), asked, partitions=[day(), day(1)])
    assert staged_segments(shop.store, day(), EVENTS.query_hash) == (first,)
    assert staged_segments(shop.store, day(1), EVENTS.query_hash) == (second,)
    assert (first.rescued, second.rescued, first.body_bytes) == (1, 0, 100)
    kinds = {field.name: field.metadata for field in rows_of(shop, first).schema}
    assert kinds["Timestamp"] == {b"kusto": b"datetime"}


def test_fetching_a_slice_again_replaces_its_segment(shop: Workshop) -> None:
    shop.stage(reply([NOON]), WHOLE)
    (second,) = shop.stage(reply([NOON, NOON]), WHOLE)
    assert staged_segments(shop.store, day(), EVENTS.query_hash) == (second,)


def test_segments_come_in_order_of_time(shop: Workshop) -> None:
    late = Window(NOON, WHOLE.end)
    early = Window(MIDNIGHT, NOON)
    segments = [*shop.stage(reply([]), late), *shop.stage(reply([]), early)]
    assert staged_segments(shop.store, day(), EVENTS.query_hash) == (segments[1], segments[0])


def rewritten(shop: Workshop, segment: Staged, **changes: object) -> None:
    """Write the segment's file again with changed properties."""
    table = rows_of(shop, segment)
    properties = json.loads(table.schema.metadata[b"hunting.staged"]) | changes
    table = table.replace_schema_metadata({"hunting.staged": json.dumps(properties)})
    with pa.ipc.new_file(str(shop.root / segment.path), table.schema) as writer:
        writer.write_table(table)


def spoil(kind: str, shop: Workshop, segment: Staged) -> None:
    path = shop.root / segment.path
    match kind:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(path.read_bytes()[:-20])
        case "no Arrow file":
            path.write_bytes(b"not an Arrow file at all")
        case "no metadata":
            with pa.ipc.new_file(str(path), pa.schema([])) as writer:
                writer.write_table(pa.table({}))
        case "of a later version":
            rewritten(shop, segment, surprise=1)
        case "nonsense":
            rewritten(shop, segment, span={"start": 5, "end": 5})
        case "of another query":
            rewritten(shop, segment, query_hash="0" * 16)
        case "copied from elsewhere":
            path.rename(path.with_name("1-2.arrow"))


@pytest.mark.parametrize(
    "kind",
    ["empty", "cut", "no Arrow file", "no metadata", "of a later version", "nonsense", "of another query",
     "copied from elsewhere"],
)  # fmt: skip
def test_a_segment_that_cannot_be_trusted_is_removed(shop: Workshop, kind: str) -> None:
    (bad,) = shop.stage(reply([NOON]), Window(NOON, WHOLE.end))
    (good,) = shop.stage(reply([MIDNIGHT]), Window(MIDNIGHT, NOON))
    spoil(kind, shop, bad)
    assert staged_segments(shop.store, day(), EVENTS.query_hash) == (good,)
    assert list(shop.contents()) == [good.path]


def test_a_segment_of_a_bucket_is_removed_because_its_number_is_valid_in_one_run_only(shop: Workshop) -> None:
    shop.stage(reply([NOON]), WHOLE, bucket=Bucket(0, 2))
    assert staged_segments(shop.store, day(), EVENTS.query_hash) == ()
    assert shop.contents() == {}


def test_overlapping_segments_are_removed_except_the_first(shop: Workshop) -> None:
    """Rows in both would be doubled. Two runs with different clocks cut the same day differently."""
    (first,) = shop.stage(reply([MIDNIGHT, NOON]), Window(MIDNIGHT, NOON + 5))
    shop.stage(reply([NOON]), Window(NOON, WHOLE.end))
    assert staged_segments(shop.store, day(), EVENTS.query_hash) == (first,)
    assert list(shop.contents()) == [first.path]


def test_a_segment_older_than_the_file_of_its_partition_is_removed(shop: Workshop) -> None:
    """A run that died right after its commit leaves segments behind. A later pull must not use them."""
    segments = shop.stage(reply([NOON]), WHOLE)
    leftover = shop.contents()
    shop.commit(segments)
    for path, data in leftover.items():
        (shop.root / path).write_bytes(data)
    assert staged_segments(shop.store, day(), EVENTS.query_hash) == ()
    (newer,) = shop.stage(reply([NOON]), WHOLE)
    assert staged_segments(shop.store, day(), EVENTS.query_hash) == (newer,)


def test_unstaging_removes_everything_of_a_partition_and_nothing_else(shop: Workshop) -> None:
    asked = Window(MIDNIGHT, MIDNIGHT + 2 * DAY)
    _, kept = shop.stage(reply([NOON]), asked, partitions=[day(), day(1)])
    (shop.root / staging_folder(day()) / "_leftover.tmp").write_bytes(b"half a segment")
    unstage(shop.store, day())
    assert list(shop.contents()) == [kept.path]


def test_a_disk_that_fills_while_a_segment_is_staged_is_named_and_nothing_is_left(shop: Workshop) -> None:
    noise = [str(n * 7919) for n in range(3000)]
    answer = reply([NOON] * 3000, {"A": text(*noise)})
    with files_no_longer_than(5000), pytest.raises(Misconfigured, match=r"disk of the lake .* is full"):
        shop.stage(answer, WHOLE)
    assert shop.contents() == {}
