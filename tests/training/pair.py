"""What one of two processes of a training does, and what one process alone does with the joined batch.

As a program, with a launcher's variables: `python -m tests.training.pair DRY WET FOLDER CASE…` writes FOLDER/RANK.pt.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from nablafx import processes
from nablafx.conditioning import TVFiLM
from nablafx.controllers import DynamicController, StaticController
from nablafx.data import datamodule
from nablafx.data.demo import Demo
from nablafx.effects import LSTM, GrayBox, Stage
from nablafx.processors import Gain, ParametricEQ, TanhNonlinearity
from nablafx.training.losses import DCLoss, ESRLoss, MultiResolutionSTFT, Term, WeightedSum
from nablafx.training.schedules import PlateauSchedule

from .small import data, system, trainer

BATCH = 2  # of each process


def chain() -> GrayBox:
    eq, drive = Stage(ParametricEQ, StaticController), Stage(Gain, partial(DynamicController, hidden_size=4))
    return GrayBox({"eq": eq, "drive": drive, "bend": Stage(TanhNonlinearity)})


class Begun(LSTM):
    """Takes a weight from the recordings, in a process that is asked to."""

    def __init__(self) -> None:
        super().__init__(2, hidden_size=4, conditioning=lambda n: TVFiLM(n, num_features=4))

    def initialise(self, x: Tensor, y: Tensor, controls: Tensor | None) -> str:
        assert processes.rank() == 0
        self.linear.bias.fill_(0.1 * y.std())
        return ""


def losses() -> WeightedSum:
    """Of each kind: pooled in plain torch, pooled in a kernel, and another package's."""
    stft = MultiResolutionSTFT([256, 512], [64, 100], [200, 512])
    terms = {"esr": Term(ESRLoss(0.9)), "dc": Term(DCLoss()), "l1": Term(nn.L1Loss(), 2.0), "stft": Term(stft, 0.2)}
    return WeightedSum(terms)


class Case(NamedTuple):
    """What makes a system, and arguments of its data and its trainer."""

    system: Any
    data: dict[str, Any]
    trainer: dict[str, Any]


DOUBLE = {"precision": "64-true"}
FEW = {"data_to_use": 0.3}  # 11 segments: 2 and 1 are left for the last batch
TRUNCATED = partial(system, Begun, tbptt_samples=1280, loss=losses(), schedule=PlateauSchedule(patience=0))
CLIPPED = {"gradient_clip_val": 0.5, "gradient_clip_algorithm": "norm"}
WHOLE = partial(system, loss=losses(), schedule=PlateauSchedule(patience=0), **CLIPPED)
CHAIN = partial(system, chain, loss=losses(), lr=0.005)
CASES = {
    "truncated": Case(TRUNCATED, {"context": 896, **FEW}, DOUBLE),
    "statistics": Case(WHOLE, FEW, DOUBLE),
    "chain": Case(CHAIN, {"controls": None, "setting": "D020_T050", "data_to_use": 0.6}, DOUBLE),
    "single": Case(TRUNCATED, FEW, {}),
    "bf16": Case(WHOLE, FEW, {"precision": "bf16-mixed"}),
}
TESTED = "statistics"


def run(name: str, demo: Demo, folder: Path, batch_size: int, **changed: Any) -> dict[str, Any]:
    """Two epochs with their validations, and a test: weights, figures, the items of each step, learning rates."""
    case, heard = CASES[name], []

    class Listener(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            heard.append(batch.names)

    model, source = case.system(), data(demo, **{"batch_size": batch_size, **case.data})
    options = {"max_epochs": 2, "log_every_n_steps": 1, "callbacks": [Listener()], **case.trainer, **changed}
    fit = trainer(folder, **options)
    fit.fit(model, source)
    weights = {key: value.clone() for key, value in model.effect.state_dict().items()}
    rates = [group["lr"] for group in fit.optimizers[0].param_groups]
    logged = {key: float(value) for key, value in fit.callback_metrics.items()}
    if name == TESTED:
        trainer(folder, **changed).test(model.float(), source, verbose=False)
        logged |= {f"test/{key}": value for key, value in model.test_totals.items()}
    return {"weights": weights, "logged": logged, "heard": heard, "rates": rates}


def loss_and_slope(rank: int = 0, processes: int = 1) -> dict[str, Any]:
    """The joined losses of five items, of which a process has every other, and the gradient by its own."""
    generator = torch.Generator().manual_seed(0)
    target = 0.3 * torch.randn(5, 1, 3000, generator=generator) * torch.logspace(0, -3, 5).reshape(5, 1, 1)
    prediction = (0.9 * target + 0.03 * torch.randn(5, 1, 3000, generator=generator))[rank::processes].requires_grad_()
    total, terms = losses().joined(prediction, target[rank::processes])
    total.backward()
    return {"total": total.item(), **{name: value.item() for name, value in terms.items()}, "slope": prediction.grad}


def main(dry: str, wet: str, folder: str, *names: str) -> None:
    torch.set_num_threads(1)
    checks = []
    check = datamodule.check_pairs
    datamodule.check_pairs = lambda *arguments: checks.append(arguments) or check(*arguments)
    results = {
        name: run(name, Demo(Path(dry), Path(wet)), Path(folder), BATCH, devices=2, strategy="ddp") for name in names
    }
    results["checks"] = len(checks)
    results["losses"] = loss_and_slope(processes.rank(), processes.count())
    torch.save(results, Path(folder, f"{processes.rank()}.pt"))


if __name__ == "__main__":
    main(*sys.argv[1:])
