"""Time of a training step, bare and inside `fit` with logging and metrics on, in one run.

    python scripts/benchmark_training.py --threads 2 --steps 50

Bare: effect, loss, backward, clipping and AdamW in a plain loop over one batch. Fit: the same System under Lightning,
with the data module, the file sink, train metrics every 50 steps, progress bar and learning-rate monitor; time
between the starts of its batches. Both are repeated in turn, since shared machines drift; the medians of the rounds
are told.
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
from nablafx.training.callbacks import AudioCallback, ProgressBar
from nablafx.training.sinks import FileSink
from nablafx.training.system import System

MODELS: dict[str, tuple[Callable[[], Effect], int | None]] = {
    "TCN-45-S": (TCN, None),
    "GCN-250-L": (lambda: GCN(num_blocks=11, kernel_size=7, dilation_growth=2), None),
    "S4-S": (S4, None),
    "S4-L": (lambda: S4(num_blocks=8, num_states=32), None),
    "LSTM-32": (LSTM, 4800),
}


def bare(system: System, x: torch.Tensor, y: torch.Tensor, steps: int) -> float:
    """Mean seconds of one batch in a plain loop."""
    optimizer = torch.optim.AdamW(system.effect.parameters(), lr=1e-4)
    size = system.tbptt_samples or x.shape[-1]
    started = time.perf_counter()
    for _ in range(steps):
        state = None
        for x_piece, y_piece in zip(x.split(size, -1), y.split(size, -1), strict=True):
            prediction, state = system.effect(x_piece, None, state)
            total, _ = system.loss(prediction, y_piece)
            optimizer.zero_grad()
            total.backward()
            torch.nn.utils.clip_grad_value_(system.effect.parameters(), 10.0)
            optimizer.step()
            state = pytree.tree_map(torch.detach, state)
    return (time.perf_counter() - started) / steps


class Clock(pl.Callback):
    """Notes when batches start."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_batch_start(self, *args: object) -> None:
        self.starts.append(time.perf_counter())


def fitted(system: System, data: PairedAudioDataModule, steps: int, folder: str) -> float:
    """Mean seconds of one batch inside fit, the first one (which warms up) left out."""
    clock = Clock()
    trainer = pl.Trainer(
        max_steps=(steps + 2) * (1 if system.tbptt_samples is None else data.segment_length // system.tbptt_samples),
        logger=FileSink(folder),
        callbacks=[clock, ProgressBar(), AudioCallback(), LearningRateMonitor("step")],
        default_root_dir=folder,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(system, data)
    return (clock.starts[-1] - clock.starts[1]) / (len(clock.starts) - 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--samples", type=int, default=48_000)
    parser.add_argument("--steps", type=int, default=50, help="per round; 50 hold one logging of metrics")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    title = f"seconds per training step, batch {options.batch} x {options.samples}, {options.threads} threads, CPU"
    table = Table("model", "parameters", "bare", "in fit", "in fit / bare", title=title)
    with tempfile.TemporaryDirectory() as folder:
        seconds = options.samples / 48_000 * (options.steps + 3) * options.batch / 2 + 3
        demo = write_demo(f"{folder}/data", settings=(), seconds=seconds)
        data = PairedAudioDataModule(
            str(demo.dry), str(demo.wet), segment_length=options.samples, batch_size=options.batch, preload=True
        )
        data.setup("fit")
        batch = next(iter(data.train_dataloader()))
        for name in options.models:
            make, tbptt = MODELS[name]
            rounds = []
            for _ in range(options.rounds):
                system = System(make(), tbptt_samples=tbptt)
                bare(system, batch.x, batch.y, 1)
                rounds.append(
                    (bare(system, batch.x, batch.y, options.steps), fitted(system, data, options.steps, folder))
                )
            alone, within = (statistics.median(times) for times in zip(*rounds, strict=True))
            count = sum(p.numel() for p in system.effect.parameters())
            table.add_row(name, f"{count:,}", f"{alone:.3f}", f"{within:.3f}", f"{within / alone:.3f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
