"""Modes of new files: private by default, and shared with the group of the root if the root is shared."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hunting_pipeline.lake.stores import open_store
from hunting_pipeline.limits import TEST
from hunting_pipeline.quota.ledger import open_ledger

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")


@pytest.fixture(autouse=True, params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    assert os.umask(before) == request.param, "the umask of the process was changed"


def modes(root: Path) -> dict[str, int]:
    """Return the mode of the root and of everything below it."""
    return {
        str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*"))
    }


def written(root: Path) -> dict[str, int]:
    """Write into a lake, and return the modes while its lock and a temporary file exist."""
    store = open_store(str(root))
    found: dict[str, int] = {}

    def write(temporary: Path) -> None:
        temporary.write_bytes(b"rows")
        found.update(modes(root))

    with store.lock("_hunting/locks/T"):
        store.put("T/date=2026-11-20/T.parquet", b"rows")
        store.put_file("_hunting/staging/T/x.arrow", write)
        return found | modes(root)


def test_a_new_lake_is_private(tmp_path: Path) -> None:
    found = written(tmp_path / "new" / "lake")
    assert len(found) >= 10
    for path, mode in found.items():
        assert mode & 0o777 == (0o700 if (tmp_path / "new/lake" / path).is_dir() else 0o600), path
    assert modes(tmp_path)["new"] & 0o077 == 0


@pytest.mark.parametrize(("root", "file"), [(0o755, 0o600), (0o750, 0o600), (0o2770, 0o660), (0o2750, 0o640),
                                            (0o770, 0o660), (0o2777, 0o660)])  # fmt: skip
def test_the_folder_of_a_lake_decides_who_may_read(tmp_path: Path, root: int, file: int) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    lake.chmod(root)
    found = written(lake)
    assert found.pop(".") == root
    for path, mode in found.items():
        folder = (lake / path).is_dir()
        assert mode & 0o777 == (0o700 | (root & 0o070 if file != 0o600 else 0) if folder else file), path
        assert not folder or file == 0o600 or mode & stat.S_ISGID


def test_a_group_other_than_the_group_of_the_lake_gets_no_rights(tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("only root can give a folder to any group")
    lake = tmp_path / "lake"
    lake.mkdir()
    os.chown(lake, -1, 54321)
    lake.chmod(0o770)  # without setgid, new files belong to the group of the process
    store = open_store(str(lake))
    store.put("a", b"")
    assert modes(lake)["a"] == 0o600


def test_files_that_exist_keep_their_mode(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    (lake / "T").mkdir(parents=True)
    (lake / "T" / "old").write_bytes(b"")
    for path in (lake, lake / "T", lake / "T" / "old"):
        path.chmod(0o755)
    open_store(str(lake)).put("T/new", b"")
    assert [mode for path, mode in sorted(modes(lake).items()) if not path.startswith("_")] == [
        0o755, 0o755, 0o600, 0o755]  # fmt: skip


@pytest.mark.parametrize(("root", "file"), [(None, 0o600), (0o755, 0o600), (0o2770, 0o660)])
def test_the_files_of_a_ledger_are_private_or_shared_with_its_folder(
    tmp_path: Path, root: int | None, file: int
) -> None:
    folder = tmp_path / "state" / "hunting"
    if root is not None:
        folder.mkdir(parents=True)
        folder.chmod(root)
    ledger = open_ledger(str(folder / "quota.sqlite"), tenant="t", limits=TEST)
    ledger.usage()
    found = modes(folder)
    ledger.close()
    assert found.pop(".") & 0o777 == (0o700 if root is None else root & 0o777)
    assert {"quota.sqlite", "quota.sqlite-wal", "quota.sqlite-shm", "quota.sqlite.lock"} <= set(found)
    assert set(found.values()) == {file}


def test_two_processes_that_create_one_ledger_at_once_both_open_it(tmp_path: Path) -> None:
    code = (
        "import sys; from hunting_pipeline.limits import TEST; from hunting_pipeline.quota.ledger import *;"
        "open_ledger(sys.argv[1], tenant='t', limits=TEST).usage()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a" / "b" / "quota.sqlite")]
    both = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
