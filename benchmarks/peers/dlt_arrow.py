"""dlt's Arrow path: the rows become one Arrow table before dlt gets them, so dlt normalises nothing.

dlt's default naming merges LogonId and LogonID and then refuses the table; `direct` keeps names.
"""

from pathlib import Path

import pyarrow as pa
from dlt_folder import load
from measure import Lap, run
from reply import rows


def work(body: Path, out: Path, lap: Lap) -> int:
    table = pa.Table.from_pylist(rows(body))
    lap("decode")
    return load([table], out, naming="direct")


run(work)
