"""CPU time and memory of commands that read no data, each in a new process; the median of several runs.

    python -m benchmarks.startup [--quick]

The first line is Python alone. The second line adds the libraries that print help and tables.
"""

import argparse
import os
import subprocess
import sys
from statistics import median

RUNS = 9
CASES = {
    "python": ["-c", "pass"],
    "import typer, rich": ["-c", "import typer, rich"],
    "import hunting_pipeline": ["-c", "import hunting_pipeline"],
    "hunting --help": ["-m", "hunting_pipeline.cli.main", "--help"],
    "hunting tables": ["-m", "hunting_pipeline.cli.main", "tables"],
    "hunting pull --help": ["-m", "hunting_pipeline.cli.main", "pull", "--help"],
}


def measure(words: list[str]) -> tuple[float, float]:
    """Run Python with `words` and return its CPU seconds and its peak MB."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{words} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one run of each")
    runs = 1 if parser.parse_args().quick else RUNS
    print("                          CPU s   peak MB")
    for name, words in CASES.items():
        found = [measure(words) for _ in range(runs)]
        cpu, peak = (median(figures) for figures in zip(*found, strict=True))
        print(f"{name:<24}{cpu:>7.2f}{peak:>10.0f}", flush=True)


if __name__ == "__main__":
    main()
