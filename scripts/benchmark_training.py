"""Time of a training step: bare and within `fit`, beside the published framework, with memory and a lower bound.

    python scripts/benchmark_training.py model/tcn/45-s model/lstm/32 --published ENV/bin/python
    python scripts/benchmark_training.py --device cuda --batch 16 --samples 144000 --published ENV/bin/python

Both sides run the same models, by the names of our configs (NET+OVERLAY), on the same audio with the same loss (L1 and
multi-resolution STFT), clipping by value and AdamW; LSTMs with an optimizer step every 4,800 samples (3,200 where
conditioning looks ahead in blocks). Each side is a process of its own, and their steps alternate. ENV is an environment
with nablafx 1.0.0: scripts/published_package.py says how it is made, and what of it is mended. Ratios are medians over
the rounds.

In fit (--fit N): N batches within Lightning as each side ships it, ours with the file sink, metrics every 50 steps,
progress bar and learning-rate monitor; between every two of them runs a bare step, which they are compared with.
Bound: the bytes that a step must move (scripts/training_bound.py) over the bandwidth of a copy on the same device.
"""

from __future__ import annotations

import argparse
import csv
import inspect
import math
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from training_bound import bandwidth, bytes_moved
from training_worker import Plan, Subject, Worker, serve, worker

import nablafx.effects
import nablafx.processors
from nablafx.effects import Effect
from nablafx.export.benchmark import model_of
from nablafx.shipped import find_config
from nablafx.training.losses import MultiResolutionSTFT, Term, WeightedSum
from nablafx.training.memory import keep_freed

HERE = Path(__file__).resolve()
DYNAMIC_EQ = "scripts/dynamic-eq.yaml"
MODELS = (
    *(f"model/tcn/{size}" for size in ("45-s", "45-l", "250-s", "250-l", "2500-s", "2500-l")),
    *(f"model/tcn/45-s+{overlay}" for overlay in ("film", "tfilm", "ttfilm", "tvfilm")),
    *(f"model/tcn/{size}+tfilm" for size in ("250-l", "2500-l")),
    *(f"model/gcn/{size}" for size in ("45-s", "45-l", "250-l", "2500-l", "45-s+tfilm", "250-l+tfilm")),
    *(f"model/s4/{size}" for size in ("s", "l", "s+tfilm", "l+tfilm")),
    *(f"model/lstm/{size}" for size in ("32", "96", "32+tvcond", "96+tvcond")),
    *(f"model/graybox/{name}" for name in ("comp", "dist-rnl", "dist-mlp", "fuzz-rnl")),
    DYNAMIC_EQ,
)
# samples of an optimizer step: as published, and where conditioning looks ahead within blocks of 128
TBPTT, TBPTT_BLOCKS = 4800, 3200
COLUMNS = {
    "model": "model",
    "parameters": "parameters",
    "published_s": "published",
    "ours_s": "ours",
    "ratio": "ratio",
    "audio_rate": "audio s/s",
    "bound_s": "bound",
    "published_fit": "fit / bare, published",
    "fit": "fit / bare",
    "published_bytes": "memory, published",
    "bytes": "memory",
    "memory_ratio": "ratio of memory",
}


def main() -> None:
    options = parse(sys.argv[1:])
    rows = [measure(plan, options) for plan in (plan_of(name, options) for name in options.models)]
    report(rows, options)


def parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), help="configs: model/tcn/45-s+tfilm")
    parser.add_argument("--published", help="python of an environment with nablafx 1.0.0")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--samples", type=int, default=48_000)
    parser.add_argument("--rounds", type=int, default=5, help="steps of each side that are timed")
    parser.add_argument("--fit", type=int, default=0, metavar="N", help="batches within fit; 0: leave it out")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-tf32", action="store_true", help="on CUDA: full float32 in products")
    parser.add_argument("--compile", action="store_true", help="our side through torch.compile")
    parser.add_argument("--csv", type=Path, help="write all figures there too")
    options = parser.parse_args(words)
    if options.samples % math.lcm(TBPTT, TBPTT_BLOCKS):
        parser.error(f"--samples is {options.samples}; it needs a multiple of {math.lcm(TBPTT, TBPTT_BLOCKS)}")
    return options


def plan_of(name: str, options: argparse.Namespace) -> Plan:
    """What the two sides need to know of a model."""
    model = model_of(name, 0)
    kind = type(model.effect).__name__
    _, _, overlay = name.partition("+")
    config = yaml.safe_load(Path(find_config(name.partition("+")[0])).read_text())["model"]
    if kind == "GrayBox":
        arguments: dict[str, Any] = {
            "stages": [_stage(given) for given in config["effect"]["init_args"]["stages"].values()]
        }
    else:
        arguments = {**_defaults(getattr(nablafx.effects, kind)), **config["effect"].get("init_args", {})}
    return Plan(
        config=name,
        kind=kind,
        arguments=arguments,
        conditioning=overlay or None,
        num_controls=model.effect.num_controls,
        tbptt=(TBPTT if model.effect.frame_size == 1 else TBPTT_BLOCKS) if kind == "LSTM" else None,
        batch=options.batch,
        samples=options.samples,
        device=options.device,
        threads=options.threads,
        lr=config.get("lr", 0.005),
        tf32=not options.no_tf32,
        compile=options.compile,
    )


def measure(plan: Plan, options: argparse.Namespace) -> dict[str, Any]:
    """The row of a model: seconds, ratios and bytes; None where a side or a part was not asked for."""
    with worker(sys.executable, HERE, plan) as ours, _published(plan, options) as theirs:
        sides = [side for side in (ours, theirs) if side]
        for side in sides * 2:
            side.step()  # compiles, and fills the pools of memory
        times = [[side.step() for side in sides] for _ in range(options.rounds)]
        seconds = [statistics.median(column) for column in zip(*times, strict=True)]
        memory = [side.peak() for side in sides]
        fits = [side.fit(options.fit)[1] if options.fit else None for side in sides]
        row = {
            "model": plan.config.removeprefix("model/").removeprefix("scripts/").removesuffix(".yaml"),
            "parameters": ours.facts["parameters"],
            "ours_s": seconds[0],
            "audio_rate": plan.batch * plan.samples / 48_000 / seconds[0],
            "bound_s": ours.facts["bytes_moved"] / bandwidth(plan.device),
            "fit": fits[0],
            "bytes": memory[0],
        }
        if theirs:
            _check(row["parameters"], theirs.facts["parameters"], plan.config)
            row |= {
                "published_s": seconds[1],
                "ratio": statistics.median(b / a for a, b in times),
                "published_fit": fits[1],
                "published_bytes": memory[1],
                "memory_ratio": memory[1] / memory[0] if memory[0] and memory[1] else None,
            }
    print(", ".join(f"{COLUMNS[key]} {_text(key, row.get(key))}" for key in COLUMNS if row.get(key)), file=sys.stderr)
    return row


def _check(ours: int, theirs: int, name: str) -> None:
    if ours != theirs:
        raise ValueError(f"{name}: the published model has {theirs:,} parameters and ours {ours:,}; they are not alike")


def report(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """A table in Markdown, the geometric means below it."""
    keys = [key for key in COLUMNS if any(row.get(key) is not None for row in rows)]
    sizes = f"Batch {options.batch} x {options.samples}, {options.device}, {options.threads} threads"
    print(f"{sizes}, torch {torch.__version__}\n")
    print(f"| {' | '.join(COLUMNS[key] for key in keys)} |")
    print(f"| --- {'| ---: ' * (len(keys) - 1)}|")
    for row in rows:
        print(f"| {' | '.join(_text(key, row.get(key)) for key in keys)} |")
    for key in ("ratio", "memory_ratio"):
        values = [row[key] for row in rows if row.get(key)]
        if values:
            mean = math.exp(statistics.mean(map(math.log, values)))
            print(f"\n{COLUMNS[key]}: geometric mean {mean:.2f}, least {min(values):.2f}, over {len(values)} models")
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, list(COLUMNS))
            writer.writeheader()
            writer.writerows(rows)


def subject(plan: Plan) -> Subject:
    """Our side."""
    from torch.utils import _pytree as pytree

    effect = model_of(plan.config, plan.num_controls).effect.train().requires_grad_(True).to(plan.device)
    spectral = MultiResolutionSTFT()
    loss = WeightedSum({"l1": Term(torch.nn.L1Loss(), 0.5), "mrstft": Term(spectral, 0.5)}).to(plan.device)
    run = torch.compile(effect) if plan.compile else effect
    if plan.device == "cpu":
        keep_freed()  # as our fit does
    state: list[Any] = [None]

    def start() -> None:
        state[0] = None

    def forward(x: torch.Tensor, controls: torch.Tensor | None) -> torch.Tensor:
        y, after = run(x, controls, state[0])
        state[0] = pytree.tree_map(torch.detach, effect.absorb(after)) if plan.tbptt else None
        return y

    facts = {"bytes_moved": bytes_moved(effect, spectral, plan.batch, plan.samples, plan.tbptt)}
    parameters = list(effect.parameters())
    return Subject(parameters, start, forward, lambda y, target: loss(y, target)[0], _fit(plan, effect, loss), facts)


def _fit(plan: Plan, effect: Effect, loss: WeightedSum) -> Any:
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import LearningRateMonitor

    from nablafx.data import PairedAudioDataModule, write_demo
    from nablafx.training.callbacks import ProgressBar
    from nablafx.training.media import MediaCallback
    from nablafx.training.sinks import FileSink
    from nablafx.training.system import System

    def fit(batches: int, pairs: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            seconds = plan.samples / 48_000 * batches * plan.batch / 2 + 3
            settings = ("D050_T050",) if plan.num_controls else ()
            demo = write_demo(f"{folder}/data", settings=settings, seconds=seconds)
            data = PairedAudioDataModule(
                str(demo.dry),
                str(demo.wet),
                controls=[*"DT"[: plan.num_controls]] or None,
                segment_length=plan.samples,
                batch_size=plan.batch,
                preload=True,
            )
            trainer = pl.Trainer(
                max_steps=batches * (plan.samples // (plan.tbptt or plan.samples)),
                logger=FileSink(folder),
                callbacks=[pairs, ProgressBar(), MediaCallback(), LearningRateMonitor("step")],
                default_root_dir=folder,
                limit_val_batches=0,
                enable_checkpointing=False,
                enable_model_summary=False,
                accelerator="gpu" if plan.device == "cuda" else "cpu",
                devices=1,
            )
            trainer.fit(System(effect, loss, lr=plan.lr, tbptt_samples=plan.tbptt), data)

    return fit


@contextmanager
def _published(plan: Plan, options: argparse.Namespace) -> Iterator[Worker | None]:
    if not options.published:
        yield None
        return
    with worker(options.published, HERE.with_name("published_training.py"), plan) as running:
        yield running


def _stage(given: dict[str, Any]) -> tuple[str, dict[str, Any], str | None]:
    """Processor, what it is given beyond its ranges, controller."""
    processor, controller = (_described(given.get(name) or {}) for name in ("processor", "controller"))
    defaults = _defaults(getattr(nablafx.processors, processor["class_path"]))
    arguments = {**defaults, **processor.get("init_args", {}), "pretrained": None}
    return processor["class_path"], arguments, controller.get("class_path")


def _described(part: Any) -> dict[str, Any]:
    return {"class_path": part} if isinstance(part, str) else part


def _defaults(cls: type) -> dict[str, Any]:
    """Constructor arguments that can be told to another process."""
    defaults = {name: p.default for name, p in inspect.signature(cls).parameters.items() if p.default is not p.empty}
    return {name: value for name, value in defaults.items() if isinstance(value, (bool, int, float, str))}


def _text(key: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if key == "parameters":
        return f"{value:,}"
    if key.endswith("bytes"):
        return f"{value / 2**20:,.0f} MiB"
    if key.endswith("_s"):
        return f"{1000 * value:,.1f} ms"
    return f"{value:.3g}"


if __name__ == "__main__":
    if "--worker" in sys.argv:
        from lightning.pytorch import Callback

        serve(subject, Callback)
    else:
        main()
