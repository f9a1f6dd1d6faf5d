"""Child processes of a test that begin at the same moment: each says `ready`, and begins at `go`."""

import subprocess
from collections.abc import Iterable


def go(processes: Iterable["subprocess.Popen[str]"]) -> None:
    """Wait until all processes are ready, and let them begin."""
    processes = list(processes)
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
