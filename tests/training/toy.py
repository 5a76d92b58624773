"""A learnable gain that stands in for System, and a data module of noise, as small as Lightning allows."""

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from nablafx.data.dataset import Batch


def noise(seed: int, items: int = 2, length: int = 4000) -> Batch:
    x = torch.randn(items, 1, length, generator=torch.Generator().manual_seed(seed))
    return Batch(x, 2.0 * x, torch.full((items, 1), 0.5), [f"D0.1_T2/riff{k}" for k in range(items)], 0)


class Stageless(torch.nn.Module):
    def taps(self, *_):
        return iter(())


class Toy(LightningModule):
    sample_rate = 8000

    def __init__(self, steps_per_batch: int = 1) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(1.0))
        self.effect = Stageless()
        self.automatic_optimization = False
        self.steps_per_batch = steps_per_batch
        self.rendered = 0

    def render(self, x: Tensor, controls: Tensor | None) -> Tensor:
        assert controls is not None
        self.rendered += 1
        with torch.no_grad():
            return self.gain * x

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        for _ in range(self.steps_per_batch):
            loss = (self.gain * batch.x - batch.y).square().mean()
            self.optimizers().zero_grad()
            self.manual_backward(loss)
            self.optimizers().step()
        self.log("loss", loss, prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int) -> dict:
        prediction = self.render(batch.x, batch.controls)
        error = prediction - batch.y
        values = {"mae": error.abs().mean(), "mse": float(error.square().mean())}
        name = f"{batch.names[0]}.{batch_idx}"
        return {"name": name, "values": values, "x": batch.x[0], "y": batch.y[0], "prediction": prediction[0]}

    def on_test_epoch_end(self) -> None:
        self.test_totals = {"mae": 0.25, "mse": 0.125, "esr": 1.0 / 3.0}

    def predict_step(self, batch: Batch, batch_idx: int) -> dict:
        name = f"{batch.names[0]}.{batch_idx}"
        return {"name": name, "prediction": self.render(batch.x, batch.controls)[0]}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Noise(LightningDataModule):
    def __init__(self, batches: int = 2) -> None:
        super().__init__()
        self.batches = batches

    def excerpt(self, seconds: float) -> Batch:
        return noise(99, length=round(seconds * 8000))

    def loader(self) -> DataLoader:
        return DataLoader([noise(k) for k in range(self.batches)], batch_size=None)

    train_dataloader = test_dataloader = predict_dataloader = loader


def trainer(folder, callbacks=(), loggers=(), steps: int = 2, progress: bool = False) -> Trainer:
    return Trainer(
        accelerator="cpu",
        default_root_dir=str(folder),
        max_steps=steps,
        logger=list(loggers),
        callbacks=list(callbacks),
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
    )
