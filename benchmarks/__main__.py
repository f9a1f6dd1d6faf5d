"""All benchmarks, one after another. `make bench` runs all, and names select some.

    python -m benchmarks [--quick | --docs] [NAME ...]

`--docs` also writes each output into docs/performance.md, between the marks with the benchmark's name, and
draws the plot.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs/performance.md"
PLOT = HERE.parent / "docs/images/decode.svg"
QUICK = {
    "dagster_overhead": ["24", "1"],
    "quota_ledger": ["--seconds", "1"],
    "quota_simulation": ["--profile", "endpoint"],
}
"""Arguments for a smoke run. All other benchmarks take `--quick`."""
FOR_DOCS = {"decode": ["--plot", str(PLOT)], "pull": ["--profile"]}
"""Arguments for `--docs`."""


def run(name: str, arguments: Sequence[str]) -> tuple[int, str]:
    """Run a benchmark and show its output. Returns its exit code and its output."""
    shown = []
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            shown.append(line.rstrip())
    return process.returncode, "\n".join(shown).strip()


def written(page: str, name: str, shown: str) -> str:
    """Replace the benchmark's block in the page, if there is one."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}```text\n{shown}\n```\n{match[2]}", page)


def main() -> int:
    """Run each benchmark in its own process. Returns the exit code of the first that fails, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="a smoke run of each benchmark")
    mode.add_argument("--docs", action="store_true", help="rewrite docs/performance.md")
    options = parser.parse_args()
    known = sorted(path.stem for path in HERE.glob("[a-z]*.py"))
    unknown = set(options.names) - set(known)
    if unknown:
        sys.exit(f"there is no benchmark {min(unknown)}; the benchmarks are {', '.join(known)}")
    for name in options.names or known:
        arguments = FOR_DOCS.get(name, []) if options.docs else []
        if options.quick:
            arguments = QUICK.get(name, ["--quick"])
        print(f"\n== {name}", flush=True)
        code, shown = run(name, arguments)
        if code:
            return code
        if options.docs:
            PAGE.write_text(written(PAGE.read_text("utf-8"), name, shown), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
