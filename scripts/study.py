"""The published study as one table: what is done of it, and the rest begun or gone on with. See train_study.sh."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from dotenv import load_dotenv

from nablafx.training.repeats import call
from nablafx.training.runs import CHECKPOINTS, run_name

COMPRESSORS = ["ampeg-optocomp", "flamma-analogcomp", "yuer-dynacompressor", "ua-1176ln-limiter"]
DRIVES = ["fulltone-fulldrive2", "harleybenton-greentint", "ibanez-ts9", "klon-centaur"]
DRIVES += ["electroharmonix-bigmuff", "harleybenton-dropkick", "harleybenton-plexicon", "harleybenton-rodent"]
DRIVES += ["arturia-revspring636preamp", "blackstar-ht1-overdrive", "mesaboogie-markv-clean"]
FUZZES = ["custom-dynamicfuzz", "harleybenton-fuzzylogic", "harleybenton-sillyfuzz"]
PARAMETRIC = {"marshall-jvm410h-od1": "dist", "multidrive-f-fuzz": "fuzz"}

SIZES = ["45-s", "45-l", "250-s", "250-l", "2500-s", "2500-l"]
PLAIN = ["lstm/32", "lstm/96"]
PLAIN += [f"{net}/{size}{with_}" for net in ("tcn", "gcn") for size in SIZES for with_ in ("", "+tfilm")]
PLAIN += [f"s4/{size}{with_}" for size in ("s", "l") for with_ in ("", "+tfilm")]
STEERED = [f"lstm/{size}+{with_}" for size in (32, 96) for with_ in ("fixed", "tvcond")]
STEERED += [
    f"{net}+{with_}"
    for net in ("tcn/45-s", "tcn/45-l", "s4/s", "s4/l")
    for with_ in ("film", "tfilm", "ttfilm", "tvfilm")
]
LOSS = "l1-0.5-mrstft-0.5"
FIRST_SEED = 42
STATES = ["-", "begun", "trained", "done"]


def chains(kind: str, end: str = "") -> list[str]:
    """The variants of a kind of chain: comp, dist or fuzz."""
    if kind == "comp":
        return [f"graybox/comp{inv}{end}" for inv in ("", "-inv")]
    variants = [f"{fir}{inv}" for fir in ("", "-fir") for inv in ("", "-inv")]
    return [f"graybox/{kind}-{curve}{variant}{end}" for curve in ("rnl", "mlp") for variant in variants]


class Experiment(NamedTuple):
    """A row of the table."""

    device: str
    model: str

    @property
    def files(self) -> list[str]:
        net, *overlays = self.model.split("+")
        trainer = "tbptt" if net.startswith("lstm") else "blackbox"
        names = [f"data/{self.device}", f"model/{net}", *(f"model/with/{overlay}" for overlay in overlays)]
        return [f"cfg/{name}.yaml" for name in (*names, f"loss/{LOSS}", f"trainer/{trainer}")]

    @property
    def name(self) -> str:
        return run_name(self.files)


def study() -> Iterator[Experiment]:
    kinds = {**dict.fromkeys(COMPRESSORS, "comp"), **dict.fromkeys(DRIVES, "dist"), **dict.fromkeys(FUZZES, "fuzz")}
    for device, kind in kinds.items():
        yield from (Experiment(device, model) for model in [*PLAIN, *chains(kind)])
    for device, kind in PARAMETRIC.items():
        yield from (Experiment(device, model) for model in [*STEERED, *chains(kind, "-cond")])


def runs_of(root: Path, name: str) -> dict[int, tuple[str, Path]]:
    """By seed, how far a run of that name is, and its folder; of several the one that is farthest."""
    found: dict[int, tuple[str, Path]] = {}
    for record in sorted((root / name).glob("version_*/run.json")):
        try:
            facts = json.loads(record.read_text())
        except ValueError:
            continue
        folder, seed = record.parent, facts.get("seed")
        state = state_of(folder, bool(facts.get("finished")))
        if seed not in found or STATES.index(state) >= STATES.index(found[seed][0]):
            found[seed] = (state, folder)
    return found


def state_of(folder: Path, finished: bool) -> str:
    if finished:
        return "done" if (folder / "metrics.csv").is_file() else "trained"
    return "begun" if (folder / CHECKPOINTS / "last.ckpt").is_file() else "-"


def show(experiments: Sequence[Experiment], root: Path, seeds: range) -> None:
    """The table: a row an experiment, a column a seed."""
    counts: Counter[str] = Counter()
    widths = [max(len(row[k]) for row in experiments) for k in (0, 1)]
    print(f"{'device':{widths[0]}}  {'model':{widths[1]}}  " + "  ".join(f"{seed:7}" for seed in seeds))
    for experiment in experiments:
        runs = runs_of(root, experiment.name)
        states = [runs[seed][0] if seed in runs else "-" for seed in seeds]
        counts.update(states)
        told = "  ".join(f"{state:>7}" for state in states)
        print(f"{experiment.device:{widths[0]}}  {experiment.model:{widths[1]}}  {told}")
    told = ", ".join(f"{counts[state]} {'not begun' if state == '-' else state}" for state in STATES)
    print(f"{len(experiments)} experiments, {len(seeds)} seeds: {told}")


def carry_on(experiments: Sequence[Experiment], root: Path, seeds: range, options: Sequence[str]) -> list[str]:
    """Train and test what is not done; returns the names of those that failed."""
    failed = []
    for experiment in experiments:
        for seed in seeds:
            state, folder = runs_of(root, experiment.name).get(seed, ("-", None))
            if state == "done":
                continue
            print(f"== {experiment.name}, seed {seed} ({'not begun' if state == '-' else state})", flush=True)
            if not run(experiment, root, seed, state, folder, options):
                failed.append(f"{experiment.name}, seed {seed}")
    return failed


def run(experiment: Experiment, root: Path, seed: int, state: str, folder: Path | None, options: Sequence[str]) -> bool:
    """Whether fit, from where it is, and test went well."""
    files = [word for file in experiment.files for word in ("-c", file)]
    if state == "begun" and not nablafx("fit", "-c", f"{folder}/config.yaml", "--ckpt_path", "last"):
        return False
    if state == "-" and not nablafx("fit", *files, "--seed_everything", str(seed), "--log_root", str(root), *options):
        return False
    _, folder = runs_of(root, experiment.name).get(seed, ("-", None))
    return folder is not None and nablafx("test", "-c", str(folder / "config.yaml"))


def nablafx(*words: str) -> bool:
    status = call([sys.executable, "-m", "nablafx", *words])
    if status > 128:  # a signal that ended the run is for the whole study
        sys.exit(status)
    return status == 0


def main(words: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if words is None else words)
    split = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(prog="train_study.sh")
    parser.add_argument("task", choices=["list", "run"], nargs="?", default="list")
    parser.add_argument("pattern", nargs="?", default="", help="part of a run's name; * stands for anything")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="runs of each experiment")
    arguments = parser.parse_args(words[:split])
    load_dotenv(".env")
    root = Path(os.environ.get("LOG_ROOT") or "logs")
    experiments = [row for row in study() if fnmatch(row.name, f"*{arguments.pattern}*")]
    if not experiments:
        print(f"train_study.sh: no experiment has {arguments.pattern} in its name", file=sys.stderr)
        return 1
    seeds = range(FIRST_SEED, FIRST_SEED + max(arguments.seeds, 1))
    if arguments.task == "list":
        show(experiments, root, seeds)
        return 0
    failed = carry_on(experiments, root, seeds, words[split + 1 :])
    if failed:
        print(f"train_study.sh: {len(failed)} failed: {'; '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
