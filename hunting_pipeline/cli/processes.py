"""Child processes of a command. Each has its own process group, which ends with the command."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from hunting_pipeline.errors import Misconfigured

__all__ = ["exiting_on_signals", "in_foreground", "process_group"]

_END_SECONDS = 15.0
"""Longest time for a process group to end after SIGTERM. Then the group is killed."""
_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def exiting_on_signals() -> Iterator[None]:
    """End the program on SIGTERM and SIGHUP as `sys.exit` does: every `with` block of the program is left.

    A second signal does not interrupt this.
    """

    def end(number: int, _frame: object) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for each in _SIGNALS:
        if signal.getsignal(each) != signal.SIG_IGN:  # `nohup` ignores SIGHUP
            signal.signal(each, end)
    yield


@contextmanager
def process_group(command: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """Start a command in a new process group, and end all processes of the group after the `with` block.

    Args:
        command: the program and its arguments.
        options: further arguments of `subprocess.Popen`.

    Raises:
        Misconfigured: the program cannot be started.
    """
    try:
        process = subprocess.Popen(command, process_group=0, **options)
    except OSError as error:
        raise Misconfigured(
            f"the command {command[0]} cannot be started: {error.strerror}. Nothing was run. Correct the"
            " command"
        ) from error
    try:
        yield process
    finally:
        _end(process)


@contextmanager
def in_foreground(process: "subprocess.Popen[Any]") -> Iterator[None]:
    """Give the terminal to the process group, so it receives Ctrl-C and input. Take it back afterwards.

    Without a terminal, nothing changes.
    """
    terminal = 0
    if not os.isatty(terminal) or os.tcgetpgrp(terminal) != os.getpgrp():
        yield
        return
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # allows to take the terminal back
    try:
        with suppress(OSError):  # the process has already ended
            os.tcsetpgrp(terminal, process.pid)
            os.killpg(process.pid, signal.SIGCONT)  # it may have asked for input too early
        yield
    finally:
        os.tcsetpgrp(terminal, os.getpgrp())
        signal.signal(signal.SIGTTOU, before)


def _end(process: "subprocess.Popen[Any]") -> None:
    """Send SIGTERM to the whole group, wait for its end, and kill what is left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
