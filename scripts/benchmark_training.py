"""Time of a training step, bare and inside `fit` with logging and metrics on, in one run.

    python scripts/benchmark_training.py --threads 2 --steps 60

Bare: effect, loss, backward, clipping and AdamW in a plain loop over one batch. Fit: the same System under Lightning,
with the data module, the file sink, train metrics every 50 steps, progress bar and learning-rate monitor: the time
from the start of one batch to the start of the next. A bare step runs between every two of them, for shared machines
drift by more than what is to be seen; the mean holds the steps that log, the median of the pairs does not.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from rich.console import Console
from rich.table import Table
from torch.utils import _pytree as pytree

from nablafx.data import PairedAudioDataModule, write_demo
from nablafx.effects import GCN, LSTM, S4, TCN, Effect
from nablafx.training.callbacks import ProgressBar
from nablafx.training.media import MediaCallback
from nablafx.training.sinks import FileSink
from nablafx.training.system import System

MODELS: dict[str, tuple[Callable[[], Effect], int | None]] = {
    "TCN-45-S": (TCN, None),
    "GCN-250-L": (lambda: GCN(num_blocks=11, kernel_size=7, dilation_growth=2), None),
    "S4-S": (S4, None),
    "S4-L": (lambda: S4(num_blocks=8, num_states=32), None),
    "LSTM-32": (LSTM, 4800),
}


class Bare:
    """A training step in a plain loop."""

    def __init__(self, system: System, x: torch.Tensor, y: torch.Tensor) -> None:
        self.system, self.x, self.y = system, x, y
        self.optimizer = torch.optim.AdamW(system.effect.parameters(), lr=system.lr)

    def step(self) -> float:
        """Seconds of one batch."""
        started = time.perf_counter()
        system, state = self.system, None
        size = system.tbptt_samples or self.x.shape[-1]
        for x, y in zip(self.x.split(size, -1), self.y.split(size, -1), strict=True):
            prediction, state = system.effect(x, None, state)
            total, _ = system.loss(prediction, y)
            self.optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_value_(system.effect.parameters(), 10.0)
            self.optimizer.step()
            state = pytree.tree_map(torch.detach, state)
        return time.perf_counter() - started


class Pairs(pl.Callback):
    """Seconds of each batch in fit, and of a bare step beside it."""

    def __init__(self, bare: Bare) -> None:
        self.bare = bare
        self.pairs: list[tuple[float, float]] = []
        self.started: float | None = None

    def on_train_batch_start(self, *args: object) -> None:
        if self.started is not None:
            within = time.perf_counter() - self.started
            self.pairs.append((self.bare.step(), within))
        self.started = time.perf_counter()


def measure(
    make: Callable[[], Effect], tbptt: int | None, data: PairedAudioDataModule, steps: int, folder: str
) -> Pairs:
    batch = next(iter(data.train_dataloader()))
    twin = Bare(System(make(), tbptt_samples=tbptt), batch.x, batch.y)
    twin.step()
    pairs = Pairs(twin)
    per_batch = 1 if tbptt is None else data.segment_length // tbptt
    trainer = pl.Trainer(
        max_steps=(steps + 2) * per_batch,
        logger=FileSink(folder),
        callbacks=[pairs, ProgressBar(), MediaCallback(), LearningRateMonitor("step")],
        default_root_dir=folder,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(System(make(), tbptt_samples=tbptt), data)
    del pairs.pairs[0]  # warms up
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--samples", type=int, default=48_000)
    parser.add_argument("--steps", type=int, default=60, help="50 hold one logging of metrics")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    title = f"seconds per training step, batch {options.batch} x {options.samples}, {options.threads} threads, CPU"
    columns = ("model", "parameters", "bare (mean)", "in fit (mean)", "ratio of means", "median ratio")
    table = Table(*columns, title=title)
    with tempfile.TemporaryDirectory() as folder:
        seconds = options.samples / 48_000 * (options.steps + 3) * options.batch / 2 + 3
        demo = write_demo(f"{folder}/data", settings=(), seconds=seconds)
        data = PairedAudioDataModule(
            str(demo.dry), str(demo.wet), segment_length=options.samples, batch_size=options.batch, preload=True
        )
        data.setup("fit")
        for name in options.models:
            pairs = measure(*MODELS[name], data, options.steps, folder)
            bare, within = (statistics.mean(times) for times in zip(*pairs.pairs, strict=True))
            ratio = statistics.median(b / a for a, b in pairs.pairs)
            count = sum(p.numel() for p in pairs.bare.system.effect.parameters())
            table.add_row(name, f"{count:,}", *(f"{v:.3f}" for v in (bare, within, within / bare, ratio)))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
