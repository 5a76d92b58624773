"""What a sweep takes, on paper: GPU hours, wall time on so many GPUs, the long tail, checkpoints and reads.

    python scripts/plan_study.py                                   the study, times of the published code on one H100
    python scripts/plan_study.py --times mine.csv --batches 5000   columns model,ms: of a batch of 16 × 144,000
    python scripts/plan_study.py --cpu docs/benchmarks.md          times measured there, scaled to that batch

The table of inputs comes first in what is printed. docs/scale.md says where each is from.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nablafx.shipped import find_config
from nablafx.sweep.spec import read_spec
from nablafx.sweep.trials import table_of

# ms of a training batch of 16 × 144,000 samples on one H100, published code: for ours an upper bound
PUBLISHED_MS = {
    "tcn/45-s": 31,
    "tcn/250-l": 62,
    "tcn/2500-l": 84,
    "tcn/45-s+tfilm": 49,
    "tcn/45-l+tvfilm": 65,
    "gcn/45-s": 39,
    "gcn/250-l": 81,
    "gcn/2500-l": 105,
    "s4/s": 73,
    "s4/l": 154,
    "s4/l+tfilm": 181,
    "lstm/32": 398,
    "lstm/96": 361,
    "lstm/96+tvcond": 400,
    "graybox/comp": 40,
    "graybox/dist-mlp": 44,
    "graybox/dist-rnl": 52,
    "graybox/fuzz-rnl": 44,
}
BLOCKS = {"45-s": 5, "45-l": 10, "250-s": 6, "250-l": 11, "2500-s": 5, "2500-l": 10}
# of the whole product, which no device runs: models with knobs need a device with knobs
ALL_MODELS, ALL_DEVICES = 79, 20
BATCH_SAMPLES = 16 * 144_000
# bytes of a checkpoint, measured: 12 a parameter (weights and AdamW's two moments), and what does not grow with them
CHECKPOINT_BYTES = {"lstm/32": 66_645, "tcn/45-s": 115_473, "s4/l": 312_027, "gcn/250-l+tfilm": 3_906_727}


@dataclass(frozen=True)
class Inputs:
    """What the figures are made of.

    Attributes:
        batches: of a run at most, 15,000 by the recipe.
        validation: time of validations by that of training.
        fixed_s: of a trial besides: two starts, the check of the data, test and pictures.
        share: trials that share a GPU.
        gain: what a GPU does in sum when it is shared, by what it does alone; between 1 and `share`.
    """

    batches: int
    validation: float
    fixed_s: float
    share: int
    gain: float

    def hours(self, ms: float) -> float:
        """GPU hours of a trial that has a GPU alone."""
        return (self.batches * ms * 1e-3 * (1 + self.validation) + self.fixed_s) / 3600


def time_of(model: str, times: Mapping[str, float]) -> float:
    """ms of a batch: as measured, or else that of the nearest model that was, scaled.

    TCN and GCN by their blocks, from the size of the same reach; a conditioning by its ratio on the same kind of net; a
    chain is that without `-cond`, `-inv` and `-fir`.

    Raises:
        KeyError: nothing near it was measured.
    """
    model = re.sub(r"(-cond|-inv|-fir)(?=-|$)", "", model)
    if model in times:
        return times[model]
    net, _, overlay = model.partition("+")
    if overlay:
        return time_of(net, times) * _ratio(net.split("/")[0], overlay, times)
    kind, _, size = net.partition("/")
    if size in BLOCKS:
        sibling = next(other for other in (f"{size[:-1]}l", f"{size[:-1]}s") if f"{kind}/{other}" in times)
        return times[f"{kind}/{sibling}"] * BLOCKS[size] / BLOCKS[sibling]
    if size == "fuzz-mlp":
        return time_of("graybox/dist-mlp", times) * time_of("graybox/fuzz-rnl", times) / times["graybox/dist-rnl"]
    raise KeyError(f"no time is known for {model}")


def _ratio(kind: str, overlay: str, times: Mapping[str, float]) -> float:
    """What a conditioning costs; where it was not measured on this kind of net, as on another, or its nearest kin."""
    kin = {"ttfilm": "tfilm", "film": "tvfilm", "fixed": ""}
    for name in (overlay, kin.get(overlay, "")):
        for place in (kind, "tcn", "s4"):
            found = (
                [model for model in times if model.startswith(f"{place}/") and model.endswith(f"+{name}")]
                if name
                else []
            )
            if found:
                model = found[0]
                return times[model] / time_of(model.partition("+")[0], times)
    return 1.0


def makespan(hours: Iterable[float], slots: int) -> float:
    """When the last of the jobs ends, each begun in its turn as soon as one of `slots` is free."""
    free = [0.0] * slots
    for job in hours:
        heapq.heapreplace(free, free[0] + job)
    return max(free)


def model_of(files: Sequence[str]) -> str:
    """tcn/45-s+tfilm of the configs of a trial."""
    names = [file.removeprefix("model/").removesuffix(".yaml") for file in files if file.startswith("model/")]
    return "+".join(name.removeprefix("with/") for name in names)


def cpu_times(page: Path) -> dict[str, float]:
    """ms by model from the table `A training step` of docs/benchmarks.md, of batches of 4 × 48,000, scaled."""
    section = page.read_text().partition("## A training step")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\S+/\S+) \| [\d,]+ \| [\d,.]+ ms \| ([\d,.]+) ms", section, re.MULTILINE)
    return {model: float(ms.replace(",", "")) * BATCH_SAMPLES / (4 * 48_000) for model, ms in rows}


def given_times(file: Path) -> dict[str, float]:
    """ms by model from a CSV file with the columns model and ms, over the published ones."""
    with file.open(newline="") as rows:
        return {**PUBLISHED_MS, **{row["model"]: float(row["ms"]) for row in csv.DictReader(rows)}}


def families(hours: Mapping[str, Sequence[float]]) -> list[tuple[str, int, float]]:
    """(family, trials, hours) by hours, the most first."""
    sums: dict[str, list[float]] = defaultdict(list)
    for model, each in hours.items():
        net, _, overlay = model.partition("+")
        sums[net.split("/")[0] + (f", {overlay}" if overlay else "")] += each
    return sorted(((name, len(each), sum(each)) for name, each in sums.items()), key=lambda row: -row[2])


def wall_rows(every: Sequence[float], inputs: Inputs, gpus: Sequence[int]) -> list[list[str]]:
    """A row a number of GPUs: alone, and shared, where a trial takes `share / gain` times as long on its part."""
    rows = []
    longest_first = sorted(every, reverse=True)
    slower = [job * inputs.share / inputs.gain for job in longest_first]
    for count in gpus:
        slots = count * inputs.share
        bound = max(sum(every) / count, longest_first[0])
        figures = [bound, makespan(longest_first, count), makespan(every, count), makespan(slower, slots)]
        rows.append([str(count), *(f"{figure:,.1f} h" for figure in figures)])
    return rows


def checkpoint_rows(times: Mapping[str, float], every_batches: int, running: Sequence[int]) -> list[list[str]]:
    """A row a model: saves a second, files and bytes of so many runs at once, one checkpoint every `every_batches`."""
    rows = []
    for model, size in CHECKPOINT_BYTES.items():
        period = every_batches * time_of(model, times) * 1e-3
        rate = [f"{count / period:,.0f} a s, {count * size / period / 1e6:,.1f} MB/s" for count in running]
        rows.append([model, f"{size / 1e3:,.0f} kB", f"{period:.2f} s", *rate])
    return rows


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(head)} |\n| {' | '.join('---' for _ in head)} |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", default="sweep/study.yaml", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--losses", type=int, default=4, help="weightings; the sweep's own trials are taken so often")
    parser.add_argument("--times", type=Path, metavar="CSV", help="columns model,ms; over the published times")
    parser.add_argument("--cpu", type=Path, metavar="PAGE", help="docs/benchmarks.md, in place of GPU times")
    parser.add_argument(
        "--batches", type=int, default=15_000, help="of a run (default: %(default)s, the recipe's most)"
    )
    parser.add_argument("--validation", type=float, default=0.04, help="of the time of training (default: %(default)s)")
    parser.add_argument("--fixed", type=float, default=120.0, metavar="S", help="of a trial (default: %(default)s)")
    parser.add_argument("--share", type=int, default=4, help="trials on a GPU (default: %(default)s)")
    parser.add_argument(
        "--gain", type=float, default=2.0, help="of sharing, in sum; an assumption (default: %(default)s)"
    )
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--every", type=int, default=36, help="batches between two checkpoints (default: %(default)s)")
    given = parser.parse_args()
    times = cpu_times(given.cpu) if given.cpu else given_times(given.times) if given.times else PUBLISHED_MS
    inputs = Inputs(given.batches, given.validation, given.fixed, given.share, given.gain)
    trials = table_of(read_spec(find_config(given.sweep)).with_seeds(given.seeds)).trials * given.losses
    hours: dict[str, list[float]] = defaultdict(list)
    every = [inputs.hours(time_of(model_of(trial.files), times)) for trial in trials]
    for trial, job in zip(trials, every, strict=True):
        hours[model_of(trial.files)].append(job)

    unit = "hours of the CPUs" if given.cpu else "GPU hours"
    print(f"{inputs}, {given.seeds} seeds, {given.losses} losses, a checkpoint every {given.every} batches")
    total = sum(every)
    print(f"{len(every):,} trials of {len(hours)} models: {total:,.0f} {unit}, {total / len(every):.2f} h a trial")
    product = ALL_MODELS * ALL_DEVICES * given.losses * given.seeds
    print(f"Every model on every device: {product:,} trials, at the mean {product * total / len(every):,.0f} {unit}")
    named = [[name, f"{n:,}", f"{h:,.0f} h", f"{h / total:.1%}", f"{h / n:.2f} h"] for name, n, h in families(hours)]
    table("Where the time goes", ["family", "trials", unit, "share", "a trial"], named)
    head = [
        "CPU machines" if given.cpu else "GPUs",
        "bound",
        "longest first",
        "as listed",
        f"{given.share} on a GPU, gain {given.gain:g}",
    ]
    table("Wall time", head, wall_rows(every, inputs, given.gpus))
    running = [count * given.share for count in given.gpus]
    head = ["model", "a checkpoint", "every", *(f"{count:,} runs" for count in running)]
    table("Checkpoints, were all runs of that model", head, checkpoint_rows(times, given.every, running))


if __name__ == "__main__":
    main()
