"""A profile of CPU time by part of the pipeline, over all threads.

Fifty times a second, each thread's CPU time since the last sample is added to the innermost frame of the
pipeline on its stack. The time of a library, in C or Python, therefore counts for the part that called it.
Waiting takes no CPU time and does not count. Arrow's own threads have no such frame, so they get a separate
line.
"""

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Self

PAUSE = 0.02
"""Seconds between two samples."""
PARTS = {
    ("http", "body"): "inflate",
    ("http", ""): "fetch (HTTP, TLS)",
    ("auth", ""): "fetch (HTTP, TLS)",
    ("decode", ""): "decode",
    ("lake", "write"): "stage",
    ("lake", ""): "commit",
    ("quota", ""): "quota",
    ("pipeline", ""): "the loop",
}
"""Names in the profile, by package and module or by package alone."""
_SORT = "_sorted_by_time"
_ROOT = "/hunting_pipeline/"
_TASKS = Path("/proc/self/task")


def part(frame: FrameType | None) -> str:
    """Return the part to which the innermost frame of the pipeline belongs."""
    while frame is not None:
        path = frame.f_code.co_filename
        if _ROOT in path:
            if frame.f_code.co_name == _SORT:
                return "sort"
            package, _, module = path.split(_ROOT)[1].removesuffix(".py").partition("/")
            return PARTS.get((package, module)) or PARTS.get((package, ""), "the rest")
        frame = frame.f_back
    return "the rest"


def threads() -> Iterator[tuple[int, int]]:
    """Yield each thread's id and its CPU nanoseconds."""
    for task in _TASKS.iterdir():
        try:
            yield int(task.name), int((task / "schedstat").read_text(encoding="ascii").split()[0])
        except OSError:  # the thread has ended
            continue


class Sampler(threading.Thread):
    """A thread that samples while its context is open; `seconds` holds the result, largest first."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self._before = dict(threads())
        self._ran: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    @property
    def seconds(self) -> dict[str, float]:
        """CPU by part."""
        return {name: ran / 1e9 for name, ran in self._ran.most_common()}

    def run(self) -> None:
        while not self._over.wait(PAUSE):
            frames = sys._current_frames()
            known = {thread.native_id: thread.ident for thread in threading.enumerate()}
            for native, ran in threads():
                self._ran[self._part_of(native, known, frames)] += ran - self._before.get(native, 0)
                self._before[native] = ran

    def _part_of(self, native: int, known: dict[int | None, int | None], frames: dict[int, FrameType]) -> str:
        if native == self.native_id:
            return "this profile"
        ident = known.get(native)
        return part(frames.get(ident)) if ident is not None else "Arrow's own threads"
