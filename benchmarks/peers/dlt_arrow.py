"""dlt's arrow path: the rows are one Arrow table before they are handed over, so nothing is normalised.

dlt's default naming makes one column of LogonId and LogonID and refuses the table; `direct` keeps names.
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
