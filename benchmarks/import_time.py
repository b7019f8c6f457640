"""How long until something happens: `import headsight` and `headsight --help` beside `import peft`.

Each in a fresh process, alternating, so that a busy machine slows all of them alike. The target is
1/20 of peft's time; what Python itself takes to start is part of all three.

    python benchmarks/import_time.py            prints the ratios; exit code 1 above the target
    python benchmarks/import_time.py --json     also writes benchmarks/results/<version>/...json
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from typing import Any

from reporting import write_report

REPEATS = 7
TARGET = 1 / 20
COMMANDS = {
    "python": ["-c", "pass"],
    "import headsight": ["-c", "import headsight"],
    "headsight --help": ["-m", "headsight", "--help"],
    "import peft": ["-c", "import peft"],
}


def main() -> int:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="write a results file")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    values = measure(options.repeats)
    for name, ratio in values["ratios"].items():
        print(
            f"{name}: {values['seconds'][name]:.3f} s, {ratio['median']:.4f} of `import peft`"
            f" ({ratio['low']:.4f} to {ratio['high']:.4f}); target {TARGET}"
        )
    if options.json:
        print(f"written: {write_report('import_time', values, packages=['peft', 'torch'])}")
    return 0 if values["is_met"] else 1


def measure(repeats: int) -> dict[str, Any]:
    """Median seconds of each, and the ratios to peft with their spread."""
    for words in COMMANDS.values():  # warm-up: byte code and the disk cache
        seconds_of(words)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, words in COMMANDS.items():
            times[name].append(seconds_of(words))
    ratios = {}
    for name in ("import headsight", "headsight --help"):
        each = sorted(a / b for a, b in zip(times[name], times["import peft"], strict=True))
        ratios[name] = {"median": statistics.median(each), "low": each[0], "high": each[-1]}
    return {
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "ratios": ratios,
        "target": TARGET,
        "is_met": all(ratio["median"] <= TARGET for ratio in ratios.values()),
        "repeats": repeats,
    }


def seconds_of(words: list[str]) -> float:
    """Wall-clock seconds of a fresh Python with these arguments."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
