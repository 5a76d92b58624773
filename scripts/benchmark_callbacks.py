"""What each callback costs a training, by the time spent in it.

    python scripts/benchmark_callbacks.py --model TCN-45-S --steps 120

One training on the CPU with every callback: media (audio, and all figures or the default ones) twice and at the end,
norms every 100 steps, progress bar, learning-rate monitor, checkpoints, run record. Each hook is timed. From an event's
cost and that of the steps between, the share of a training with events at the default intervals follows (media every
1000 optimizer steps, norms every 100).
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from rich.console import Console
from rich.table import Table

from nablafx.data import PairedAudioDataModule, write_demo
from nablafx.effects import LSTM, TCN, Effect
from nablafx.training.callbacks import ProgressBar
from nablafx.training.figures import FIGURES
from nablafx.training.media import MediaCallback, NormsCallback
from nablafx.training.record import RunRecord
from nablafx.training.sinks import FileSink
from nablafx.training.system import System

MODELS: dict[str, tuple[Callable[[], Effect], int | None]] = {"TCN-45-S": (TCN, None), "LSTM-32": (LSTM, 4800)}
HOOKS = ("on_train_start", "on_train_batch_end", "on_after_backward", "on_train_end", "on_fit_start", "on_fit_end")
EVENT_S = 0.02  # a hook that takes longer did something
DEFAULT_STEPS = {"MediaCallback": 1000, "NormsCallback": 100}


def timed(callback: pl.Callback, calls: dict[str, list[float]]) -> pl.Callback:
    """The callback, with the seconds of each call of its hooks added to `calls` under its name."""
    name = type(callback).__name__

    def wrap(hook: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return hook(*args, **kwargs)
            finally:
                calls[name].append(time.perf_counter() - started)

        return call

    for hook in HOOKS:
        setattr(callback, hook, wrap(getattr(callback, hook)))
    return callback


def train(model: str, steps: int, media: MediaCallback, options: argparse.Namespace) -> tuple[float, int, dict]:
    """Seconds, optimizer steps, and the seconds of every hook called, by callback."""
    make, tbptt = MODELS[model]
    calls: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        seconds = options.samples / 48_000 * (steps + 8) * options.batch / 2 + 6
        demo = write_demo(Path(folder) / "data", settings=(), seconds=seconds)
        data = PairedAudioDataModule(
            str(demo.dry), str(demo.wet), segment_length=options.samples, batch_size=options.batch, preload=True
        )
        callbacks = [
            media,
            NormsCallback(),
            ProgressBar(),
            LearningRateMonitor("step"),
            ModelCheckpoint(f"{folder}/checkpoints", monitor="loss/val/total"),
            RunRecord(Path(folder), "benchmark", 0),
        ]
        per_batch = 1 if tbptt is None else options.samples // tbptt
        trainer = pl.Trainer(
            max_steps=steps * per_batch,
            logger=FileSink(folder),
            callbacks=[timed(callback, calls) for callback in callbacks],
            default_root_dir=folder,
            limit_val_batches=2,
            enable_model_summary=False,
            accelerator="cpu",
        )
        started = time.perf_counter()
        trainer.fit(System(make(), tbptt_samples=tbptt), data)
        return time.perf_counter() - started, trainer.global_step, calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="TCN-45-S", choices=list(MODELS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--samples", type=int, default=48_000)
    parser.add_argument("--steps", type=int, default=120, help="batches")
    parser.add_argument("--all-figures", action="store_true", help="every figure there is")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    every = options.steps * (1 if MODELS[options.model][1] is None else options.samples // 4800) // 2 - 1
    media = MediaCallback(log_media_every_n_steps=max(every, 1))
    if options.all_figures:
        media.figures = list(FIGURES)
    total, count, calls = train(options.model, options.steps, media, options)
    step = (total - sum(map(sum, calls.values()))) / count
    title = (
        f"{options.model}, batch {options.batch} x {options.samples}, {count} optimizer steps of {1e3 * step:.0f} ms"
    )
    table = Table("callback", "events", "s an event", "ms a step between", "% at defaults", title=title)
    shares = []
    for name, seconds in sorted(calls.items()):
        events = [s for s in seconds if s > EVENT_S]
        between = sum(s for s in seconds if s <= EVENT_S) / count
        an_event = sum(events) / len(events) if events else 0.0
        # what happens once, at the start or the end, is an event too: for longer trainings it counts for less
        interval = DEFAULT_STEPS.get(name, count / max(len(events), 1))
        shares.append(100 * (between + an_event / interval) / step)
        table.add_row(name, str(len(events)), f"{an_event:.2f}", f"{1e3 * between:.3f}", f"{shares[-1]:.2f}")
    table.add_row("all", "", "", "", f"{sum(shares):.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
