"""Trains each case two steps with the published framework, keeps checkpoint and output: record.py FOLDER [PACKED.npz].

Run in an environment of its own: scripts/published_package.py says how it is made, and what of it is stood in for. A
case must stay below full scale, where its filters clip.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import sys
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from cases import CASES, NUM_CONTROLS, SAMPLES
from published_package import clipped


def make(given: Any) -> Any:
    """An object of what a config says."""
    if isinstance(given, list):
        return [make(item) for item in given]
    if not isinstance(given, dict) or "class_path" not in given:
        return given
    module, _, name = given["class_path"].rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    known = inspect.signature(cls).parameters
    return cls(**{key: make(value) for key, value in given["init_args"].items() if key in known})


def audio(batch: int, samples: int, seed: int) -> torch.Tensor:
    """Noise of a moving level, so that what follows the level has something to follow."""
    noise = torch.randn(batch, 1, samples, generator=torch.Generator().manual_seed(seed))
    return 0.05 * noise * (1.0 + torch.sin(torch.linspace(0, 12, samples)))


class Data(lightning.LightningDataModule):
    def __init__(self, num_controls: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.num_controls = num_controls

    def _loader(self) -> DataLoader:
        x = audio(4, 4096, 7)
        knobs = [torch.rand(4, self.num_controls)] if self.num_controls else []
        return DataLoader(TensorDataset(x, torch.tanh(3 * x), *knobs), batch_size=2)

    train_dataloader = val_dataloader = _loader


def record(name: str, config: dict[str, Any], folder: Path) -> float:
    torch.manual_seed(0)
    system = make(config)
    with torch.no_grad():
        for key, value in system.named_parameters():
            # as a fresh chain is, most of its parameters are in the middle of their range
            if key.endswith("control_params"):
                value.mul_(0.5)
            # and a fresh curve or response is loud, and steeper than one that has been trained
            elif "last_layer" in key or "net.layers.0" in key:
                value.mul_(0.1)
    for log in ("log_audio", "log_response_and_params_at_each_block"):
        setattr(system, log, lambda *args: None)
    num_controls = system.model.num_controls
    trainer = lightning.Trainer(
        max_steps=2,
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            lightning.pytorch.callbacks.ModelCheckpoint(dirpath=folder / name, filename="old", monitor="loss/val/tot"),
            lightning.pytorch.callbacks.EarlyStopping(monitor="loss/val/tot", patience=50),
        ],
    )
    trainer.fit(system, Data(num_controls))
    system.eval()
    system.model.reset_states()
    x = audio(2, SAMPLES, 1)
    controls = torch.tensor([[0.3, 0.9], [0.8, 0.1]])[:, :NUM_CONTROLS] if num_controls else None
    clipped.clear()
    with torch.no_grad():
        # in double precision: in single, a chain of its filters differs by 2e-4 from itself
        y = system.model.double()(x.double(), None if controls is None else controls.double(), train=False).float()
    if any(clipped):
        raise ValueError(f"{name}: the published filters clip what ours let through; make it quieter")
    (folder / name / "config.json").write_text(json.dumps({"model": config}))
    np.savez(folder / name / "audio.npz", x=x, y=y, **({} if controls is None else {"controls": controls}))
    return float(y.abs().max())


def pack(folder: Path, target: Path) -> None:
    """All weights and outputs in one file, for tests without that environment."""
    content = {}
    for case in CASES:
        weights = torch.load(folder / case / "old.ckpt", weights_only=True)["state_dict"]
        content |= {f"{case}/{key}": value.numpy() for key, value in weights.items() if key.startswith("model.")}
        with np.load(folder / case / "audio.npz") as audio:
            # all cases hear the same
            content |= {"x": audio["x"], f"{case}/y": audio["y"]}
            if "controls" in audio:
                content["controls"] = audio["controls"]
    np.savez_compressed(target, **content)


if __name__ == "__main__":
    for case, config in CASES.items():
        with contextlib.redirect_stdout(io.StringIO()):
            loudest = record(case, config, Path(sys.argv[1]))
        print(f"{case}: {loudest:.3f}", flush=True)
    if len(sys.argv) > 2:
        pack(Path(sys.argv[1]), Path(sys.argv[2]))
