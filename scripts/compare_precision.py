"""What lower precision costs fidelity: test errors after equal steps in float32, TF32 and bfloat16.

    python scripts/compare_precision.py --data demo --steps 400 --seeds 2
    python scripts/compare_precision.py --data demo --device cuda

Each model trains on each device of a folder with the same seeds, data and number of optimizer steps; loss ESR + 0.1
multi-resolution STFT. What is kept between operations is float32 throughout. TF32: products take their operands with 10
bits of mantissa and add in float32, as tensor cores do; on a CPU the operands are rounded so before convolutions and
matrix products, forward and backward (of recurrent layers only on CUDA). bfloat16: torch's autocast. Nets run through
plain torch here, whose operations can be told what to do. Ratios are to the first precision with the same seed; runs
of other seeds show what is noise.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import statistics
import warnings
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lightning.pytorch as pl
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nablafx.data import PairedAudioDataModule
from nablafx.export.benchmark import model_of
from nablafx.training.system import System

PRECISIONS = ("float32", "tf32", "bf16")
MODELS = ("model/tcn/45-s", "model/gcn/45-s", "model/s4/s", "model/tcn/45-s+tfilm")
METRICS = ("esr", "mrstft")
aten = torch.ops.aten
_PRODUCTS = {aten.convolution, aten.convolution_backward, aten.mm, aten.addmm, aten.bmm, aten.baddbmm}


class TF32(TorchDispatchMode):
    """Rounds the operands of products to 10 bits of mantissa, ties to even."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in _PRODUCTS:
            args = [rounded(a) if isinstance(a, torch.Tensor) and a.dtype == torch.float32 else a for a in args]
        return func(*args, **(kwargs or {}))


def rounded(x: torch.Tensor) -> torch.Tensor:
    """x (float32) as TF32 holds it."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("demo"), help="folder with DRY and a folder per device")
    parser.add_argument("--devices", nargs="*", help="of that folder; left out: all")
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--precisions", nargs="*", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--samples", type=int, default=24_000)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    compare(parser.parse_args())


def compare(options: argparse.Namespace) -> None:
    """Print a row a model and device, and what each precision comes to over all of them."""
    devices = options.devices or sorted(p.name for p in options.data.iterdir() if p.is_dir() and p.name != "DRY")
    columns = [(metric, precision) for metric in METRICS for precision in options.precisions]
    print(f"| model | device | {' | '.join(f'{metric}, {precision}' for metric, precision in columns)} |")
    print("| --- " * (2 + len(columns)) + "|")
    ratios: dict[tuple[str, str], list[float]] = {column: [] for column in columns}
    for model, device in product(options.models, devices):
        seeds = range(options.seeds)
        runs = {p: [train(model, device, p, seed, options) for seed in seeds] for p in options.precisions}
        values = {(metric, p): [run[metric] for run in runs[p]] for metric, p in columns}
        for metric, precision in columns:
            pairs = zip(values[metric, precision], values[metric, options.precisions[0]], strict=True)
            ratios[metric, precision] += [a / b for a, b in pairs]
        cells = [" / ".join(f"{v:.4f}" for v in values[column]) for column in columns]
        print(f"| {model.removeprefix('model/')} | {device} | {' | '.join(cells)} |", flush=True)
    for (metric, precision), found in ratios.items():
        logs = [math.log(v) for v in found]
        spread = math.exp(statistics.stdev(logs)) if len(logs) > 1 else 1.0
        mean = math.exp(statistics.mean(logs))
        print(f"{metric}, {precision} over {options.precisions[0]}: {mean:.3f}, spread of a run x {spread:.2f}")


def train(model: str, device: str, precision: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Test metrics of a run."""
    pl.seed_everything(seed, verbose=False)
    cuda = options.device == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    described = model_of(model, 0)
    system = System(described.effect.train().requires_grad_(True), lr=0.01 if "s4" in model else 0.005)
    settings = sorted(p.name for p in (options.data / device / "trainval").iterdir() if p.is_dir())
    data = PairedAudioDataModule(
        str(options.data / "DRY"),
        str(options.data / device),
        setting=settings[0] if settings else None,
        segment_length=options.samples,
        batch_size=options.batch,
        preload=True,
        seed=seed,
    )
    common: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    common |= {"accelerator": "gpu" if cuda else "cpu", "devices": 1, "enable_checkpointing": False}
    lower: Any = "bf16-mixed" if precision == "bf16" else "32-true"
    # nets run without kernels of ours, in operations that can be rounded or cast
    plain_torch = patch.dict(os.environ, NABLAFX_KERNELS="torch")
    with plain_torch, TF32() if precision == "tf32" and not cuda else nullcontext():
        pl.Trainer(max_steps=options.steps, precision=lower, limit_val_batches=0, **common).fit(system, data)
    pl.Trainer(**common).test(system, data, verbose=False)
    return {name: system.test_totals[name] for name in METRICS}


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    main()
