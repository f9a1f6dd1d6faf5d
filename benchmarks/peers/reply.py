"""The first step of every library that uses Python's own JSON."""

import gzip
import json
from pathlib import Path
from typing import Any


def rows(body: Path) -> list[dict[str, Any]]:
    """Return the rows like `response.json()`. In Graph's rows, `{}` becomes None: no library writes both."""
    plain = gzip.decompress(body.read_bytes())
    if "-graph-" in body.name:
        return json.loads(plain, object_hook=lambda value: value or None)["results"]
    return json.loads(plain)["Results"]
