"""A full disk, a lake without write access, a clock that jumps.

Each ends with a clear error or with the right rows. No byte of the archive changes."""

import os
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from test_reconcile import alerts, loaded

from hunting_pipeline.catalog import spec
from hunting_pipeline.errors import HuntingError, Misconfigured
from hunting_pipeline.model import DAY, Window
from hunting_pipeline.window import partitions_in
from support import WEEK, Emulated, Shifted, differences, emulated, window_of_tenant

TABLE = "AlertInfo"
ARCHIVED = Window(WEEK.start, WEEK.start + DAY)
WHOLE = Window(WEEK.start, WEEK.start + 4 * DAY)
LIMITS = {"rows": 1_000, "bytes": 1_000_000}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """Build 4,000 rows of text that hardly compresses."""
    home = tmp_path_factory.mktemp("disk")
    chance = Random(5)
    times: list[int | None] = [WEEK.start + chance.randrange(4 * DAY) for _ in range(4_000)]
    data = loaded(home, alerts(times, [f"{chance.getrandbits(1600):x}" for _ in times]))
    with emulated(home, load={TABLE: data}, limits=LIMITS) as tenant:
        tenant.tenant.load(TABLE, data)
        yield tenant


@pytest.fixture
def tenant(running: Emulated, tmp_path: Path) -> Emulated:
    running.post("reset")
    return Emulated(running.endpoint, running.tenant, tmp_path)


@pytest.fixture
def mounts() -> Iterator[list[Path]]:
    """Yield a list of folders to unmount at the end."""
    mounted: list[Path] = []
    yield mounted
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mount(mounts: list[Path], folder: Path, *arguments: str) -> None:
    folder.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine allows no mounts: {done.stderr.strip()}")
    mounts.append(folder)


def contents(lake: Path) -> dict[str, str]:
    """Return the digests of archived data and manifests, without staged files and locks."""
    files = [
        path
        for path in sorted(lake.rglob("*"))
        if path.is_file() and not {"staging", "locks"} & {*path.parts}
    ]
    return {str(path.relative_to(lake)): sha256(path.read_bytes()).hexdigest() for path in files}


def assert_exact(tenant: Emulated, asked: Window = WHOLE) -> None:
    there = window_of_tenant(tenant, TABLE, asked)
    assert there.num_rows > 500
    assert differences(tenant.landed(TABLE), there) == (0, 0)
    left = [path for path in (tenant.home / "lake").rglob("*") if path.suffix in (".tmp", ".arrow")]
    assert not left, left


@pytest.mark.parametrize("kilobytes", range(750, 1_350, 150))
def test_a_full_disk_is_named_and_the_archive_stays_unchanged(
    tenant: Emulated, mounts: list[Path], kilobytes: int
) -> None:
    """The disk fills up while slices are staged, or while a partition or its manifest is written."""
    lake = tenant.home / "lake"
    mount(mounts, lake, "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs")
    tenant.pull(spec(TABLE), ARCHIVED, limits="test", workers=1)
    before = contents(lake)
    with pytest.raises(Misconfigured, match=r"disk of the lake .* is full .*No space left"):
        tenant.pull(spec(TABLE), WHOLE, limits="test", workers=1)
    after = contents(lake)
    assert {name: after[name] for name in before} == before
    assert not [name for name in after if name.endswith(".tmp")]
    subprocess.run(["mount", "-o", "remount,size=50m", str(lake)], check=True)
    tenant.pull(spec(TABLE), WHOLE, limits="test")
    assert_exact(tenant)


@pytest.mark.parametrize("archived", [True, False])
def test_a_lake_without_write_access_is_named_and_stays_unchanged(
    tenant: Emulated, mounts: list[Path], archived: bool
) -> None:
    """A pull of what is already archived needs no write access."""
    lake = tenant.home / "lake"
    lake.mkdir()
    if archived:
        tenant.pull(spec(TABLE), ARCHIVED, limits="test")
    before = contents(lake)
    mount(mounts, lake, "--bind", str(lake))
    subprocess.run(["mount", "-o", "remount,bind,ro", str(lake)], check=True)
    tenant.post("reset")
    with pytest.raises(Misconfigured, match=r"lake .* cannot be used \(.*Read-only file system\)"):
        tenant.pull(spec(TABLE), WHOLE, limits="test")
    if archived:
        report, receipts = tenant.pull(spec(TABLE), ARCHIVED, limits="test")
        assert (receipts, len(report.covered)) == ([], len(partitions_in(spec(TABLE), ARCHIVED)))
    assert tenant.stats()["calls"] == 0, "what cannot be kept is not paid for"
    assert contents(lake) == before
    subprocess.run(["mount", "-o", "remount,bind,rw", str(lake)], check=True)
    tenant.pull(spec(TABLE), WHOLE, limits="test")
    assert_exact(tenant)


class Jumping(Shifted):
    """A clock that is set to another time during a pull; `sleep` takes real time."""

    jump = 0.0

    def now(self) -> float:
        return super().now() + self.jump


@pytest.mark.parametrize("seconds", [3_600, 86_400, -3_600, -86_400, 40 * 86_400, -40 * 86_400])
@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_clock_that_jumps_loses_no_row(tenant: Emulated, seconds: int, step: int) -> None:
    """The clock is set wrong by an hour, a day or weeks during a pull, and corrected before the next."""
    tenant.pull(spec(TABLE), ARCHIVED, limits="test")
    before = contents(tenant.home / "lake")
    clock, seen = Jumping(), 0

    def jump(progress: object) -> None:
        nonlocal seen
        seen += 1
        if seen == step:
            clock.jump = seconds

    partitions = partitions_in(spec(TABLE), WHOLE)
    try:
        with tenant.open(clock=clock, limits="test", workers=1) as pipeline, pipeline.pull(
            spec(TABLE), partitions, observe=jump
        ) as pulling:  # fmt: skip
            list(pulling)
    except HuntingError as error:
        if abs(seconds) < 30 * 86_400:  # within the retention of the service, every pull succeeds
            raise AssertionError("a small jump stopped the pull") from error
    after = contents(tenant.home / "lake")
    assert {name: after[name] for name in before} == before
    tenant.pull(spec(TABLE), WHOLE, limits="test")
    assert_exact(tenant)


def test_the_next_pull_completes_a_pull_whose_clock_was_a_day_fast_or_slow(tenant: Emulated) -> None:
    for seconds in (-86_400.0, 86_400.0):
        clock = Jumping()
        clock.jump = seconds
        with tenant.open(clock=clock, limits="test") as pipeline, pipeline.pull(
            spec(TABLE), partitions_in(spec(TABLE), WHOLE)
        ) as pulling:  # fmt: skip
            list(pulling)
    tenant.pull(spec(TABLE), WHOLE, limits="test")
    assert_exact(tenant)
