"""Seconds between the last byte of a throttled reply and its complete Parquet file.

    python -m benchmarks.latency [--quick] [--rounds 5]

A gzipped reply of 130 MB of JSON is sent over loopback HTTP at a constant rate, as over a network.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from benchmarks.support.bodies import Body, bodies
from benchmarks.support.rounds import Contestant

CONTESTANTS = (
    Contestant("ours, reply → Parquet", "throttled_reply", None),
    Contestant("ours, staged and committed", "throttled_durable", None),
    Contestant("json + pandas", "throttled_json_pandas", "pandas"),
)
MEGABYTES, SECONDS, CHUNKS = 130, 2.7, 100
"""Size of the reply, seconds to send it, and number of chunks."""


class Server(ThreadingHTTPServer):
    """A server that sends `few` at once and `reply` at a constant rate. `ended`: time of the last byte."""

    daemon_threads = True

    def __init__(self, body: Body) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.few, self.reply, self.ended = body.few.read_bytes(), body.path.read_bytes(), 0.0


class Handler(BaseHTTPRequestHandler):
    """The handler of one request."""

    server: Server

    def do_POST(self) -> None:
        """Send one of the two replies, gzipped."""
        body = self.server.reply if self.path == "/reply" else self.server.few
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        start, size = time.monotonic(), -(-len(body) // CHUNKS)
        for number in range(CHUNKS):
            self.wfile.write(body[number * size : (number + 1) * size])
            if self.path == "/reply":
                due = start + SECONDS * (number + 1) / CHUNKS
                time.sleep(max(0.0, due - time.monotonic()) if number + 1 < CHUNKS else 0.0)
        self.server.ended = time.monotonic()

    def log_message(self, *_: object) -> None:
        """Write no log."""


@contextmanager
def serving(body: Body) -> Iterator[Server]:
    """Serve the replies from a thread of this process."""
    with Server(body) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def added(server: Server, contestant: Contestant, folder: Path) -> float:
    """Measure the seconds after the last byte, in a new process."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = contestant.command(f"http://127.0.0.1:{server.server_port}", Path(out, "reply"))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return float(json.loads(done.stdout)["complete"]) - server.ended


def main() -> None:
    """Print a line for each contestant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of a small reply")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rounds, megabytes = (1, 1) if options.quick else (options.rounds, MEGABYTES)
    with tempfile.TemporaryDirectory() as folder:
        (body,) = bodies(Path(folder), "process", megabytes, ["xdr"])
        with serving(body) as server:
            found = [
                [added(server, contestant, Path(folder)) for contestant in CONTESTANTS] for _ in range(rounds)
            ]
    size = f"{body.size / 1e6:.0f} MB of JSON, {body.path.name.split('-')[0]}, {body.rows:,} rows"
    print(f"{size}, sent in {SECONDS} s; seconds from its last byte to the complete file; rounds: {rounds}")
    for contestant, times in zip(CONTESTANTS, zip(*found, strict=True), strict=True):
        print(f"  {contestant.name:<28}{statistics.median(times):6.2f}")


if __name__ == "__main__":
    main()
