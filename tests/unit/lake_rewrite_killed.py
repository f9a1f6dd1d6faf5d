"""A rewrite is killed with SIGKILL at each of its file operations, and the next rewrite completes it.

Run as a program, see `lake_killed`.
"""

import signal
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from lake_killed import in_child, kill_later
from lake_workshop import EVENTS, Workshop, day, text

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.archive import load_all
from hunting_pipeline.lake.micros import unit_of
from hunting_pipeline.lake.read import archived_ticks
from hunting_pipeline.lake.table_schema import load_schema
from hunting_pipeline.model import TimestampUnit
from hunting_pipeline.pipeline.coverage import archive_of
from hunting_pipeline.pipeline.rewrite import rewrite_of

MICROS = replace(EVENTS, timestamp_unit=TimestampUnit.US)
DAYS = [day(number) for number in range(2)]


def ticks(number: int) -> list[int]:
    return [day(number).window.start + 1234567 * n for n in range(9)]


def prepare(folder: Path) -> None:
    for number, partition in enumerate(DAYS):
        Workshop(folder).land(ticks(number), partition=partition, columns={"A": text(*["x"] * 9)})


def rewritten(folder: Path, kill_at: int = 0) -> None:
    shop = Workshop(folder)
    kill_later(kill_at)
    assert [one for one in rewrite_of(shop.store, MICROS) if isinstance(one, Exception)] == []


def check(folder: Path) -> None:
    """Assert that each file is whole in one unit, that a mixed archive is refused, and complete it."""
    shop = Workshop(folder)
    before = list(load_all(shop.store, EVENTS.name))
    assert [manifest.partition for manifest in before] == DAYS
    units = {unit_of(manifest.columns) for manifest in before}
    schema = load_schema(shop.store, EVENTS.name)
    assert schema is not None
    units.add(unit_of(schema.columns))
    if len(units) == 2:
        with pytest.raises(Misconfigured, match="hunting rewrite DeviceEvents"):
            archive_of(shop.store, EVENTS, None)
    else:
        archive_of(shop.store, EVENTS, None)
    rewritten(folder)
    for number, manifest in enumerate(load_all(shop.store, EVENTS.name)):
        assert unit_of(manifest.columns) is TimestampUnit.US
        assert manifest.proof == before[number].proof
        assert archived_ticks(shop.store, manifest.partition, "Timestamp").tolist() == ticks(number)
    assert not [path for path in shop.contents() if path.endswith(".tmp")]


def kill_everywhere() -> int:
    """Kill the rewrite at every point, and return the number of points."""
    for operation in range(1, 200):
        with TemporaryDirectory() as name:
            assert in_child(prepare, Path(name)) == 0
            status = in_child(rewritten, Path(name), operation)
            assert status in (0, signal.SIGKILL), f"status {status} at operation {operation}"
            assert in_child(check, Path(name)) == 0, f"wrong after operation {operation}"
            if status == 0:
                return operation - 1
    raise AssertionError("no child completed")


if __name__ == "__main__":
    print(kill_everywhere())  # noqa: T201 - for the test
