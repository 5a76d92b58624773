"""How long the command line takes to answer, beside importing what it stands on; the commands run in turn.

python scripts/benchmark_startup.py --runs 7
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "nablafx --help": [str(Path(sys.executable).with_name("nablafx")), "--help"],
    "nablafx fit --help": [str(Path(sys.executable).with_name("nablafx")), "fit", "--help"],
    "import lightning.pytorch.cli": [sys.executable, "-c", "import lightning.pytorch.cli"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(runs + 1):
        for name, words in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True)
            if number:  # the first round fills the disk cache
                times[name].append(time.perf_counter() - started)
    for name, values in times.items():
        print(f"{name:30} median {statistics.median(values):6.3f} s   {min(values):.3f} to {max(values):.3f}")
    pairs = zip(times["nablafx fit --help"], times["import lightning.pytorch.cli"], strict=True)
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"nablafx fit --help / import lightning.pytorch.cli, pair by pair: {ratio:.3f}")


if __name__ == "__main__":
    main()
