"""Two users of one group write one lake, and a third user cannot. Run as root, as a program.

Each step is a process of its own, forked after all imports: other users may not read the interpreter.
"""

import os
import stat
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hunting_pipeline.errors import Misconfigured
from hunting_pipeline.lake.layout import LAKE_FILE, lock_path
from hunting_pipeline.lake.stores import ABSENT, open_store
from hunting_pipeline.lake.stores.local import LocalStore

FIRST, SECOND, STRANGER = 61_001, 61_002, 61_003
GROUP, OTHER_GROUP = 62_000, 62_001
LOCK = lock_path("AlertInfo")
FILE = "AlertInfo/date=2026-11-20/AlertInfo-2026-11-20.parquet"


def as_user(uid: int, groups: list[int], work: Callable[[Path], None], lake: Path) -> None:
    """Run `work` as another user, with the usual umask of 022."""
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        assert status == 0, f"{work.__name__} as {uid} ended with {status}"
        return
    code = 1
    try:
        os.setgroups(groups)
        os.setgid(uid)
        os.setuid(uid)
        os.umask(0o022)
        work(lake)
        code = 0
    except Exception:  # noqa: BLE001 - the parent sees the status and the traceback
        traceback.print_exc()
    finally:
        os._exit(code)


def begin(lake: Path) -> None:
    store = open_store(str(lake))
    with store.lock(LOCK, max_wait=1):
        store.put(LAKE_FILE, b"{}", expected=ABSENT)
        store.put(FILE, b"first", expected=ABSENT)


def extend(lake: Path) -> None:
    store = open_store(str(lake))
    with store.lock(LOCK, max_wait=1):
        present = store.stat(FILE)
        assert present is not None
        store.put(FILE, b"first and second", expected=present.version)
        store.put(FILE.replace("20.", "21."), b"second", expected=ABSENT)


def refused(lake: Path) -> None:
    words = f"{(lake / LOCK).parent}: Permission denied.*Change lake, or the permissions"
    with pytest.raises(Misconfigured, match=words), open_store(str(lake)).lock(LOCK, max_wait=1):
        pass


def share() -> None:
    """A folder that the group may write. The bit set-group-ID gives new files the folder's group."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        lake = Path(name) / "lake"
        lake.mkdir()
        os.chown(lake, FIRST, GROUP)
        lake.chmod(0o2775)
        as_user(FIRST, [GROUP], begin, lake)
        as_user(SECOND, [GROUP], extend, lake)
        as_user(FIRST, [GROUP], extend_again, lake)
        as_user(STRANGER, [OTHER_GROUP], refused, lake)
        locks = {stat.S_IMODE(path.stat().st_mode) for path in (lake / "_hunting" / "locks").iterdir()}
        assert locks == {0o660}, locks
        assert (lake / FILE).read_bytes() == b"third"


def extend_again(lake: Path) -> None:
    store = LocalStore(lake)
    present = store.stat(FILE)
    assert present is not None
    with store.lock(LOCK, max_wait=1):
        store.put(FILE, b"third", expected=present.version)


if __name__ == "__main__":
    open_store("/")  # imports the store before the user changes
    share()
    sys.exit(0)
