"""Replies become staged segments: every row is in its partition, and no bad segment is used."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
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
from hunting_pipeline.lake.write import open_segment, proof_of, proof_of_reply, unstage
from hunting_pipeline.model import DAY, HOUR, Bucket, Grain, Proof, Staged, TableSpec, Window
from hunting_pipeline.window import partitions_in

WHOLE = day().window


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "lake")


def rows_of(shop: Workshop, segment: Staged) -> pa.Table:
    file = open_segment(shop.store, segment.path)
    assert file is not None
    return file.read_all()


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
            assert segment.span is not None
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
    assert shop.staged() == (first, second)
    assert (first.rescued, second.rescued, first.body_bytes) == (1, 0, 100)
    kinds = {field.name: field.metadata for field in rows_of(shop, first).schema}
    assert kinds["Timestamp"] == {b"kusto": b"datetime"}


def test_fetching_a_slice_again_replaces_its_segment(shop: Workshop) -> None:
    shop.stage(reply([NOON]), WHOLE)
    (second,) = shop.stage(reply([NOON, NOON]), WHOLE)
    assert shop.staged() == (second,)


def test_segments_come_in_order_of_time(shop: Workshop) -> None:
    late = Window(NOON, WHOLE.end)
    early = Window(MIDNIGHT, NOON)
    segments = [*shop.stage(reply([]), late), *shop.stage(reply([]), early)]
    assert shop.staged() == (segments[1], segments[0])


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "missing bytes": lambda content: content[:-20],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "too many bytes": lambda content: content + content[-32:],
    "no Arrow file": lambda content: b"not an Arrow file at all" * 10,
    "an Arrow file of an earlier version": lambda content: content[:-32],
}
"""What can become of a file's bytes."""


def spoil(kind: str, shop: Workshop, segment: Staged) -> None:
    path = shop.root / segment.path
    match kind:
        case "of another query":
            shop.spec = replace(EVENTS, where="1 == 1")
            shop.stage(reply([NOON]), segment.span)
            shop.spec = EVENTS
        case "at another path":
            path.rename(path.with_name("1-2.arrow"))
        case "in a folder that has its name":
            content = path.read_bytes()
            path.unlink()
            path.mkdir()
            (path / "part.arrow").write_bytes(content)
        case "in the folder of no partition":
            path.parent.with_name("undated").mkdir()
            path.rename(path.parent.with_name("undated") / path.name)
        case _:
            path.write_bytes(DAMAGED[kind](path.read_bytes()))


@pytest.mark.parametrize(
    "kind",
    [
        *DAMAGED,
        *("of another query", "at another path"),
        *("in a folder that has its name", "in the folder of no partition"),
    ],
)
def test_a_segment_that_cannot_be_trusted_is_removed_and_can_be_staged_again(
    shop: Workshop, kind: str
) -> None:
    (bad,) = shop.stage(reply([NOON]), Window(NOON, WHOLE.end))
    (good,) = shop.stage(reply([MIDNIGHT]), Window(MIDNIGHT, NOON))
    spoil(kind, shop, bad)
    assert shop.staged() == (good,)
    assert list(shop.contents()) == [good.path]
    (again,) = shop.stage(reply([NOON]), Window(NOON, WHOLE.end))
    assert shop.staged() == (good, again)


def test_a_segment_with_any_flipped_bit_is_removed(shop: Workshop) -> None:
    """Arrow itself reads many of these files without an error, or ends the process."""
    (segment,) = shop.stage(reply([NOON] * 50, {"A": text(*map(str, range(50)))}), WHOLE)
    path = shop.root / segment.path
    content = path.read_bytes()
    for position in range(0, 8 * len(content), 61):
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        assert shop.staged() == (), position
        assert not path.exists()


def test_a_segment_of_a_bucket_is_removed_because_its_number_is_valid_in_one_run_only(shop: Workshop) -> None:
    shop.stage(reply([NOON]), WHOLE, bucket=Bucket(0, 2))
    assert shop.staged() == ()
    assert shop.contents() == {}


def test_a_segment_of_a_snapshot_is_removed_because_a_snapshot_is_of_one_run(tmp_path: Path) -> None:
    """A snapshot has the same query hash as the null-time rows of a table, and both are fetched whole."""
    shop = Workshop(tmp_path, SNAPSHOT)
    shop.stage(reply(None, {"A": text("x")}))
    shop.stage(reply(None, {"A": text("x")}), bucket=Bucket(3, 4))
    assert shop.staged() == ()
    assert shop.contents() == {}


def test_a_segment_behind_the_retention_edge_is_removed(shop: Workshop) -> None:
    """The service no longer holds all rows of its partition, so no run can use it."""
    shop.stage(reply([MIDNIGHT]), Window(MIDNIGHT, NOON))
    (segment,) = shop.stage(reply([NOON]), Window(NOON, WHOLE.end))
    assert shop.staged(edge=NOON) == (segment,)
    assert list(shop.contents()) == [segment.path]
    assert shop.staged(edge=NOON + 1) == ()


def test_overlapping_segments_are_removed_except_the_first(shop: Workshop) -> None:
    """Rows in both would be doubled. Two runs with different clocks cut the same day differently."""
    (first,) = shop.stage(reply([MIDNIGHT, NOON]), Window(MIDNIGHT, NOON + 5))
    shop.stage(reply([NOON]), Window(NOON, WHOLE.end))
    assert shop.staged() == (first,)
    assert list(shop.contents()) == [first.path]


def test_a_segment_older_than_the_file_of_its_partition_is_removed(shop: Workshop) -> None:
    """A run that died right after its commit leaves segments behind. A later pull must not use them."""
    segments = shop.stage(reply([NOON]), WHOLE)
    leftover = shop.contents()
    shop.commit(segments)
    for path, data in leftover.items():
        (shop.root / path).write_bytes(data)
    assert shop.staged() == ()
    (newer,) = shop.stage(reply([NOON]), WHOLE)
    assert shop.staged() == (newer,)


def test_unstaging_removes_everything_of_a_partition_and_nothing_else(shop: Workshop) -> None:
    asked = Window(MIDNIGHT, MIDNIGHT + 2 * DAY)
    _, kept = shop.stage(reply([NOON]), asked, partitions=[day(), day(1)])
    (shop.root / staging_folder(day()) / "_leftover.tmp").write_bytes(b"half a segment")
    unstage(shop.store, EVENTS.name, [day()])
    assert list(shop.contents()) == [kept.path]


def test_a_disk_that_fills_while_a_segment_is_staged_is_named_and_nothing_is_left(shop: Workshop) -> None:
    noise = [str(n * 7919) for n in range(3000)]
    answer = reply([NOON] * 3000, {"A": text(*noise)})
    with files_no_longer_than(5000), pytest.raises(Misconfigured, match=r"disk of the lake .* is full"):
        shop.stage(answer, WHOLE)
    assert shop.contents() == {}
