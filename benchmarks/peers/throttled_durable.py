"""The whole path of this project over HTTP: staged, committed and synced."""

from pathlib import Path

import httpx
from ours_durable import land
from throttled import run


def fetch(url: str, out: Path) -> int:
    with httpx.stream("POST", url, timeout=60) as response:
        return land(response.iter_raw(), "DeviceProcessEvents", out, lambda _: None)


run(fetch)
