"""The whole path of this project: inflate, decode, stage and commit, with every sync, into a lake on disk."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from measure import Lap, run
from ours_reply import CEILING, arriving

from hunting_pipeline import catalog
from hunting_pipeline.decode import decode
from hunting_pipeline.http.body import inflate
from hunting_pipeline.lake.commit import Writer, commit
from hunting_pipeline.lake.stores import open_store
from hunting_pipeline.lake.write import Origin, proof_of_reply, stage
from hunting_pipeline.model import DAY, Slice, Window, ticks_of
from hunting_pipeline.window import partitions_in

WRITER = Writer("00000000-0000-0000-0000-000000000000", "xdr", "benchmark", "benchmark")


def land(chunks: Iterator[bytes], name: str, out: Path, lap: Lap) -> int:
    """Commit a gzipped reply of table `name`, all of one day, as a partition of the lake `out`."""
    reply = decode(inflate(chunks, "gzip", ceiling=CEILING), max_bytes=CEILING)
    lap("decode")
    spec = catalog.spec(name)
    proof = proof_of_reply(reply, spec)
    start = reply.table[spec.time_column][0].value // 100 // DAY * DAY
    slice_ = Slice(spec.name, Window(start, start + DAY), proof)
    (partition,) = partitions_in(spec, slice_.window)
    store, now = open_store(str(out)), ticks_of(datetime.now(UTC))
    staged = stage(
        store, reply, slice_=slice_, spec=spec, partitions=[partition], origin=Origin("benchmark", now)
    )
    del reply
    lap("stage")
    receipt = commit(store, partition, staged=staged, archived=None, spec=spec, writer=WRITER, now=now)
    return receipt.proof.rows


def work(body: Path, out: Path, lap: Lap) -> int:
    return land(arriving(body), body.name.split("-")[0], out, lap)


if __name__ == "__main__":
    run(work)
