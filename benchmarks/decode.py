"""Reply → Parquet: this project, other libraries and the limits of the machine, compared in one run.

    python -m benchmarks.decode [--quick | --full] [--rounds 5] [--plot FILE]

Every library reads the same gzipped replies, which the emulator makes once. Each measurement is a new
process. Libraries take turns, round after round, and figures are medians. CPU includes all threads. Each
process first imports its modules and reads a reply of about ten rows; neither is measured. Peak memory is the
memory above that point. `--full` takes about half an hour on a quiet machine.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.support import contest
from benchmarks.support.bars import bars
from benchmarks.support.bodies import Body, bodies
from benchmarks.support.contest import Comparison
from benchmarks.support.rounds import Spent, alternated

Found = dict[Comparison, dict[str, Spent]]


def measured(comparisons: list[Comparison], folder: Path, rounds: int) -> Found:
    """Measure all comparisons. Exits if a contestant does not return every row."""
    replies = {(body.kind, body.api, body.megabytes): body for body in _made(comparisons, folder)}
    scratch, found = folder / "out", Found()
    scratch.mkdir()
    for comparison in comparisons:
        body = replies[comparison.kind, comparison.api, comparison.megabytes]
        given = body.path, scratch / "reply", body.few
        commands = {each.name: each.command(*given) for each in comparison.contestants}
        found[comparison] = alternated(commands, scratch, rounds)
        for name, spent in found[comparison].items():
            if spent.rows != body.rows:
                sys.exit(f"{body.title}: {name} read {spent.rows} of {body.rows} rows")
        sys.stderr.write(f"{body.title}: {body.rows:,} rows, {body.size:,} bytes\n")
    return found


def _made(comparisons: list[Comparison], folder: Path) -> Iterator[Body]:
    wanted: dict[tuple[str, int], list[str]] = {}
    for comparison in comparisons:
        wanted.setdefault((comparison.kind, comparison.megabytes), []).append(comparison.api)
    for (kind, megabytes), apis in wanted.items():
        yield from bodies(folder, kind, megabytes, apis)


def cpu(spent: Spent, lap: str = "whole") -> float:
    """Return the CPU seconds of all threads."""
    return spent.cpu[lap]


def wall(spent: Spent, lap: str = "whole") -> float:
    """Return the wall seconds."""
    return spent.wall[lap]


Clock = Callable[[Spent, str], float]


def limits(spent: dict[str, Spent], clock: Clock) -> tuple[float, float, float]:
    """Return the seconds of inflating, of parsing and of encoding, each alone."""
    parse, encode = spent["parse"], spent["encode"]
    inflate = clock(parse, "inflate")
    return inflate, clock(parse, "parse") - inflate, clock(encode, "whole") - clock(encode, "read")


PEERS = [peer.name for peer in contest.PEERS]
PARTS = (
    ("CPU, reply → Parquet", cpu, "whole"),
    ("wall, reply → Parquet", wall, "whole"),
    ("CPU, reply → Arrow table or DataFrame", cpu, "decode"),
)


def table(found: Found) -> Iterator[str]:
    """Yield the whole table, line by line."""
    head = "".join(f"{name:>13}" for name in PEERS)
    for title, clock, lap in PARTS:
        yield f"{title}: seconds of ours and of the limits' sum; peers as multiples of ours"
        durable = "durable" if lap == "whole" else ""
        yield f"{'reply':<18}{'ours':>8}{durable:>9}  |{'limits':>8}{'ours/limits':>13}  |{head}"
        for comparison, spent in found.items():
            yield _seconds(comparison, spent, clock, lap)
        yield ""
    yield "Peak memory above the empty process, MB"
    yield f"{'reply':<18}{'ours':>8}{'durable':>9}  |{'':>21}  |{head}"
    for comparison, spent in found.items():
        yield _peaks(comparison, spent)


def _title(comparison: Comparison) -> str:
    return f"{comparison.kind:<8}{comparison.api:<6}{comparison.megabytes:>3} "


def _seconds(comparison: Comparison, spent: dict[str, Spent], clock: Clock, lap: str) -> str:
    ours = clock(spent["reply"], lap)
    inflate, parse, encode = limits(spent, clock)
    least = inflate + parse + (encode if lap == "whole" else 0)
    durable = f"{clock(spent['durable'], lap):>9.3f}" if lap == "whole" else f"{'':>9}"
    peers = "".join(
        f"{clock(spent[name], lap) / ours:>12.1f}×"
        if name in spent and lap in spent[name].cpu
        else f"{'–':>13}"
        for name in PEERS
    )
    return f"{_title(comparison):<18}{ours:>8.3f}{durable}  |{least:>8.3f}{ours / least:>12.1f}×  |{peers}"


def _peaks(comparison: Comparison, spent: dict[str, Spent]) -> str:
    peers = "".join(f"{spent[name].peak / 1e6:>13.0f}" if name in spent else f"{'–':>13}" for name in PEERS)
    own = f"{spent['reply'].peak / 1e6:>8.0f}{spent['durable'].peak / 1e6:>9.0f}"
    return f"{_title(comparison):<18}{own}  |{'':>21}  |{peers}"


def summary(found: Found) -> Iterator[str]:
    """Yield the parts of the limits, and the CPU cost of the Graph envelope relative to the XDR one."""
    yield "limits in CPU seconds: inflate + parse + encode"
    for comparison, spent in found.items():
        yield f"{_title(comparison):<18}" + " + ".join(f"{part:.3f}" for part in limits(spent, cpu))
    for comparison, spent in found.items():
        kind, megabytes = comparison.kind, comparison.megabytes
        for other, others in found.items():
            same = (kind, megabytes) == (other.kind, other.megabytes)
            if same and (comparison.api, other.api) == ("graph", "xdr"):
                ratio = cpu(spent["reply"]) / cpu(others["reply"])
                yield f"{kind} {megabytes}: the Graph envelope costs {ratio:.2f} × the XDR one"


def plot(found: Found, path: Path) -> None:
    """Draw the CPU seconds of the largest XDR reply of each kind, with the limits."""
    largest = max(comparison.megabytes for comparison in found)
    panels = {}
    for comparison, spent in found.items():
        if comparison.api == "xdr" and comparison.megabytes == largest:
            figures = {"limits": sum(limits(spent, cpu)), "hunting_pipeline": cpu(spent["reply"])}
            figures |= {name: cpu(spent[name]) for name in PEERS if name in spent}
            panels[_panel(comparison)] = figures
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bars("One reply to Parquet, seconds of CPU", panels), encoding="utf-8")


def _panel(comparison: Comparison) -> str:
    """Return the title of a panel in the plot."""
    return f"{comparison.kind} events, {comparison.megabytes} MB of JSON"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true", help="one round on the smallest replies")
    extent.add_argument("--full", action="store_true", help="every library on every reply")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", type=Path, help="SVG to write")
    options = parser.parse_args()
    comparisons = contest.quick() if options.quick else contest.full() if options.full else contest.usual()
    rounds = 1 if options.quick else options.rounds
    with tempfile.TemporaryDirectory() as folder:
        found = measured(list(comparisons), Path(folder), rounds)
    print("\n".join([f"rounds: {rounds}", "", *table(found), "", *summary(found), "", contest.LOST]))
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    main()
