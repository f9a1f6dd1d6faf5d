"""Every benchmark, one after another: `make bench`, or `python -m benchmarks NAME ...` for some."""

import subprocess
import sys
from pathlib import Path


def main(names: list[str]) -> int:
    """Run each in a process of its own; the exit code of the first that fails, else 0."""
    there = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    unknown = set(names) - set(there)
    if unknown:
        sys.exit(f"no benchmark is called {min(unknown)}; there are {', '.join(there)}")
    for name in names or there:
        print(f"\n== {name}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
