"""Test errors on real devices after equal training time, models and recipes beside each other: docs/fidelity.md.

    python scripts/measure_fidelity.py RECORDINGS --calibrate                          steps a second of every row
    python scripts/measure_fidelity.py RECORDINGS --row envelope-lstm --device fuzz    a cell: one run a seed
    python scripts/measure_fidelity.py RECORDINGS --workers 2                          every cell
    python scripts/measure_fidelity.py --summary                                       tables of what has been run
    python scripts/measure_fidelity.py RECORDINGS --glide                              the same of knobs, also moving

RECORDINGS holds devices/ and devices-parametric/, or whatever DEVICES below says. Every run is `nablafx fit` in a
process of its own with one thread, and `nablafx test` of its best checkpoint. Equal time is a number of steps: what
--calibrate found a row to do in so many seconds, on a machine that had nothing else to do. So what else it does later
changes how long the runs take, and not what comes out. What is there already is not run again.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from statistics import geometric_mean, mean, stdev
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
METRICS = ("esr", "mrstft", "asr")
RATES = "steps-a-second.json"
SEEDS = (42, 43, 44)

DEVICES = {
    "fuzz": "--data.dry devices/DRY --data.wet devices/GX-FuzzFaceJH2",
    "muff": "--data.dry devices/DRY --data.wet devices/GX-VintageMuff",
    "preamp": "--data.dry devices/DRY --data.wet devices/GX-JCM800Pre",
    "compressor": "--data.dry devices/DRY --data.wet devices/ZAM-Comp",
    "overdrive": "--data.dry devices-parametric/DRY --data.wet devices-parametric/GX-TS9"
    " --data.setting D060_T080 --data.controls none",
}
INVERTING = ("fuzz", "preamp")
# what a chain is for a device: the published one of its kind, with the inversion where the device has one; and ours
CHAINS = {
    "fuzz": ("fuzz-rnl-inv", "fuzz"),
    "muff": ("dist-rnl", "distortion"),
    "preamp": ("dist-rnl-inv", "preamp"),
    "compressor": ("comp", "compressor"),
    "overdrive": ("dist-rnl", "overdrive"),
}
# a batch of 16 × 3 s leaves a published net some ten steps of a CPU's minutes: smaller ones serve it better
_PUBLISHED = "-c cfg/loss/l1-10-mrstft-1.yaml --data.batch_size 4 --data.segment_length 48000"
PUBLISHED = f"-c cfg/trainer/published-blackbox.yaml {_PUBLISHED}"
ROWS = {
    "s4-tf-l": f"-c cfg/model/s4/l.yaml -c cfg/model/with/tfilm.yaml {PUBLISHED}",
    "tcn-tf-250-l": f"-c cfg/model/tcn/250-l.yaml -c cfg/model/with/tfilm.yaml {PUBLISHED}",
    "lstm-96": f"-c cfg/model/lstm/96.yaml -c cfg/trainer/published-tbptt.yaml {_PUBLISHED}",
    "published-chain": f"-c cfg/model/graybox/{{published}}.yaml -c cfg/trainer/published-graybox.yaml {_PUBLISHED}",
    "envelope-lstm": "-c cfg/model/envelope-lstm/32.yaml -c cfg/trainer/tbptt.yaml",
    "chain": "-c cfg/model/graybox/{ours}.yaml -c cfg/trainer/graybox.yaml",
}
# on the devices that invert: the published recipe with its other weighting
EVEN = {"lstm-96-even": ROWS["lstm-96"].replace("l1-10-mrstft-1", "l1-0.5-mrstft-0.5")}
# the overdrive at eight settings, tested at a ninth too
KNOBS = "--data.dry devices-parametric/DRY --data.wet devices-parametric/GX-TS9 --data.controls [D,T]"
NEW_SETTING = "D045_T050"
STEERED = {
    "s4-tf-l": ROWS["s4-tf-l"],
    "envelope-lstm": "-c cfg/model/envelope-lstm/32.yaml -c cfg/model/with/fixed.yaml -c cfg/trainer/tbptt.yaml",
    "chain": "-c cfg/model/graybox/overdrive-cond.yaml -c cfg/trainer/graybox.yaml",
}


class Cell(NamedTuple):
    """A run to make."""

    row: str
    device: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.device}/{self.row}/seed-{self.seed}"


def command(cell: Cell, limit: list[str], logs: Path) -> list[str]:
    """Of the fit."""
    if cell.device == "knobs":
        words = f"{STEERED[cell.row]} {KNOBS}"
    else:
        published, ours = CHAINS[cell.device]
        words = f"{(ROWS | EVEN)[cell.row]} {DEVICES[cell.device]}".format(published=published, ours=ours)
    limits = ["--trainer.max_epochs", "-1", *limit, "--media.log_media_every_n_steps", "1000000"]
    # a chain that begins where the recordings tell it to draws nothing: what differs is the order of the segments
    seeds = ["--seed_everything", str(cell.seed), "--data.seed", str(cell.seed - SEEDS[0])]
    run = ["--data.preload", "true", *seeds, "--name", cell.name]
    return ["fit", *shlex.split(words), *limits, *run, "--log_root", str(logs)]


def kind_of(cell: Cell) -> str:
    """What a step costs is a matter of the model: of the row, and where that is chains, of the chain."""
    if cell.device == "knobs":
        return f"{cell.row}: knobs"
    if cell.row in EVEN:
        return cell.row.removesuffix("-even")
    chain = dict(zip(("published-chain", "chain"), CHAINS[cell.device], strict=True)).get(cell.row)
    return f"{cell.row}: {chain}" if chain else cell.row


def calibrate(todo: Iterable[Cell], logs: Path, recordings: Path) -> None:
    """Find the steps a second of each kind of cell by a run of 30 s, one at a time."""
    path = logs / RATES
    rates = json.loads(path.read_text()) if path.exists() else {}
    for cell in todo:
        if kind_of(cell) not in rates:
            trial = cell._replace(seed=0)
            limit = ["--trainer.max_time", "00:00:00:30", "--trainer.max_steps", "-1"]
            _run(command(trial, limit, logs / "calibration"), recordings)
            record = json.loads(_newest(trial, logs / "calibration", "run.json").read_text())
            rates[kind_of(cell)] = record["steps"] / record["seconds"]
            print(f"{kind_of(cell)}: {rates[kind_of(cell)]:.2f} steps a second", flush=True)
            path.write_text(json.dumps(rates, indent=1))


def measure(cell: Cell, seconds: float, logs: Path, recordings: Path) -> None:
    if next((logs / cell.name).glob("*/metrics.csv"), None):
        return
    steps = round(seconds * json.loads((logs / RATES).read_text())[kind_of(cell)])
    words = command(cell, ["--trainer.max_steps", str(steps)], logs)
    print(f"{cell.name}: nablafx {shlex.join(words)}", flush=True)
    _run(words, recordings)
    _run(["test", "-c", str(_newest(cell, logs, "config.yaml"))], recordings)


def _newest(cell: Cell, logs: Path, file: str) -> Path:
    """That file of the cell's last run."""
    return max((logs / cell.name).glob(f"*/{file}"), key=lambda path: path.stat().st_mtime)


def _run(words: list[str], recordings: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DATA_ROOT": str(recordings.resolve())}
    done = subprocess.run(
        [sys.executable, "-m", "nablafx", *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"nablafx {shlex.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}")


def cells(rows: str, devices: str, seeds: Sequence[int]) -> Iterator[Cell]:
    # seed by seed: what ends early has compared all of them
    for seed in seeds:
        every = [(row, device) for row in ROWS for device in DEVICES]
        every += [(row, device) for row in EVEN for device in INVERTING] + [(row, "knobs") for row in STEERED]
        for row, device in every:
            if fnmatch(row, rows) and fnmatch(device, devices):
                yield Cell(row, device, seed)


def results(logs: Path) -> dict[tuple[str, str], list[dict[str, float]]]:
    """By row and device: the metrics of each run over its test files, with its parameters, steps and seconds."""
    found = defaultdict(list)
    for row in ROWS:
        for device in DEVICES:
            for run in sorted((logs / device / row).glob("seed-*/*/metrics.csv")):
                with run.open() as file:
                    told = {line["file"]: line for line in csv.DictReader(file)}["all"]
                record = json.loads((run.parent / "run.json").read_text())
                values = {key: float(told[key] or math.nan) for key in METRICS}
                values |= {key: float(record[key]) for key in ("parameters", "steps", "seconds")}
                found[row, device].append(values)
    return dict(found)


def summary(logs: Path) -> str:
    """Markdown: a table a metric, with mean ± standard deviation over the seeds and geometric means over devices."""
    found = results(logs)
    parts = []
    for metric in METRICS:
        lines = [
            f"| {metric} | " + " | ".join(DEVICES) + " | geometric mean |",
            "| --- |" + " ---: |" * (len(DEVICES) + 1),
        ]
        for row in ROWS:
            told = {device: [run[metric] for run in found.get((row, device), ())] for device in DEVICES}
            if any(told.values()):
                lines.append(
                    f"| {row} | " + " | ".join(_cell(v) for v in told.values()) + f" | {_overall(metric, told)} |"
                )
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.3g}" + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")


def _overall(metric: str, told: dict[str, list[float]]) -> str:
    """Geometric mean over the devices of the means over seeds; of decibels, the mean."""
    means = [mean(values) for values in told.values() if values]
    if len(means) < len(told) or any(map(math.isnan, means)):
        return ""
    return f"{mean(means):.3g}" if metric == "asr" else f"{geometric_mean(means):.3g}"


def glide(logs: Path, recordings: Path) -> str:
    """Markdown: seen settings, the new one, and how a knob that moves differs from knobs that stand.

    The first knob goes from 0 to 1 and back in 4 s, in steps of 64 samples. At each of them the models with the two
    nearest of 33 knobs that stand make a mean; the ESR of the gliding model to that is what gliding adds.
    """
    lines = ["| knobs | seen settings | new setting | new / seen | gliding knob |", "| --- |" + " ---: |" * 4]
    for row in STEERED:
        told: list[tuple[float, float, float, float]] = []
        for run in sorted((logs / "knobs" / row).glob("seed-*/*/metrics.csv")):
            with run.open() as file:
                errors = {line["file"]: float(line["esr"]) for line in csv.DictReader(file)}
            new = next(value for name, value in errors.items() if name.startswith(NEW_SETTING))
            seen = mean(v for name, v in errors.items() if name != "all" and not name.startswith(NEW_SETTING))
            told.append((seen, new, new / seen, _gliding(run.parent, recordings)))
        if told:
            shown = (_cell(list(values)) for values in zip(*told, strict=True))
            lines.append(f"| {row} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _gliding(run: Path, recordings: Path) -> float:
    import soundfile
    import torch

    from nablafx.training.load import load

    effect = load(run).system.effect
    dry = next((recordings / "devices-parametric" / "DRY" / "test").glob("*.flac"))
    block, stands = 64 if effect.frame_size == 1 else effect.frame_size, 33
    audio = torch.from_numpy(soundfile.read(dry, frames=192_000 // block * block, dtype="float32")[0]).view(1, 1, -1)
    place = 1 - (torch.linspace(-1, 1, audio.shape[-1] // block)).abs()
    with torch.no_grad():
        knobs = torch.linspace(0, 1, stands)
        still = torch.stack([effect(audio, torch.tensor([[k, 0.5]]))[0].view(-1, block) for k in knobs.tolist()])
        low = (place * (stands - 1)).long().clamp(max=stands - 2)
        share = (place * (stands - 1) - low).unsqueeze(-1)
        rows = torch.arange(len(place))
        wanted = (1 - share) * still[low, rows] + share * still[low + 1, rows]
        state, made = None, []
        for piece, k in zip(audio.split(block, dim=-1), place.tolist(), strict=True):
            y, state = effect(piece, torch.tensor([[k, 0.5]]), state)
            made.append(y.view(-1))
    return float((torch.stack(made) - wanted).square().sum() / wanted.square().sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="?", help="folder with devices/ and devices-parametric/")
    parser.add_argument("--row", default="*", help=f"of {', '.join(ROWS)}; a pattern")
    parser.add_argument("--device", default="*", help=f"of {', '.join(DEVICES)}; a pattern")
    parser.add_argument("--seconds", type=float, default=60.0, help="of training, on the machine as it was calibrated")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--workers", type=int, default=1, help="runs at a time")
    parser.add_argument("--logs", type=Path, default=Path("logs/fidelity"))
    parser.add_argument("--calibrate", action="store_true", help="only find the steps a second of the rows")
    parser.add_argument("--glide", action="store_true", help="only the table of knobs")
    parser.add_argument("--summary", action="store_true", help="only the tables")
    arguments = parser.parse_args()
    logs = arguments.logs.resolve()
    if not arguments.summary:
        if arguments.recordings is None:
            parser.error("needs the folder of the recordings, or --summary")
        if arguments.glide:
            print(glide(logs, arguments.recordings))
            return
        todo = list(cells(arguments.row, arguments.device, arguments.seeds))
        calibrate(todo, logs, arguments.recordings)
        if arguments.calibrate:
            return
        with ThreadPoolExecutor(arguments.workers) as pool:
            list(pool.map(lambda cell: measure(cell, arguments.seconds, logs, arguments.recordings), todo))
    print(summary(logs))


if __name__ == "__main__":
    main()
