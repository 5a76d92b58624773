"""The published framework's side of benchmark_training.py, run by it in the environment of published_package.py."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
from typing import Any

import lightning
import published_package  # noqa: F401  it makes the package importable
import torch
from torch.utils.data import DataLoader, TensorDataset
from training_worker import Plan, Subject, audio, serve

# by name: where this is checked, nablafx is ours
core, evaluation, processors = (importlib.import_module(f"nablafx.{n}") for n in ("core", "evaluation", "processors"))

_BLOCKS = {"cond_block_size": 128, "cond_num_layers": 1}
_STACK = {"num_inputs": 1, "num_outputs": 1, "groups": 1, "bias": True, "causal": True, "batchnorm": False, **_BLOCKS}
_NAMES = {"num_states": "s4_state_dim", "num_taps": "n_taps", "hidden_size": "hidden_dim", "w0": "w0_initial"}
_STEERING = {
    "StaticController": "static",
    "StaticCondController": "static-cond",
    "DynamicController": "dynamic",
    "DynamicCondController": "dynamic-cond",
}


def net(plan: Plan) -> Any:
    cls = getattr(processors, plan.kind)
    given = {_NAMES[k] if plan.kind == "S4" and k in _NAMES else k: v for k, v in plan.arguments.items()}
    known = inspect.signature(cls).parameters
    given = {**_STACK, **given, "num_controls": plan.num_controls, "cond_type": plan.conditioning}
    return core.BlackBoxModel(cls(**{key: value for key, value in given.items() if key in known}))


def chain(plan: Plan) -> Any:
    stages = [stage(*given) for given in plan.arguments["stages"]]
    return core.GreyBoxModel(stages, plan.num_controls, stat_control_params_initial="rnd")


def stage(name: str, arguments: dict[str, Any], controller: str | None) -> torch.nn.Module:
    """A processor; ranges of ours become its bounds."""
    cls = getattr(processors, name)
    known = inspect.signature(cls).parameters
    given: dict[str, Any] = {"sample_rate": 48_000, "control_type": _STEERING.get(controller or "")}
    for key, value in arguments.items():
        ends = value if isinstance(value, list) else [value, value]
        names = {"cutoff_hz": "cutoff_freq", "q": "q_factor"}
        bounds = [f"{end}_{names.get(key, key)}" for end in ("min", "max")]
        given.update(zip(bounds, ends, strict=True) if bounds[0] in known else {_NAMES.get(key, key): value})
    return cls(**{key: value for key, value in given.items() if key in known and value is not None})


def subject(plan: Plan) -> Subject:
    gray = plan.kind == "GrayBox"
    with contextlib.redirect_stdout(io.StringIO()):
        model = (chain if gray else net)(plan).to(plan.device)
    terms = [{"name": "l1_loss", "weight": 0.5}, {"name": "mrstft_loss", "weight": 0.5, "alias": "mrstft"}]
    loss = evaluation.FlexibleLoss(terms).to(plan.device)

    def start() -> None:
        model.reset_states()
        model.detach_states()

    def forward(x: torch.Tensor, controls: torch.Tensor | None) -> torch.Tensor:
        if plan.tbptt:
            model.detach_states()
        return model(x, controls, train=True)

    def fit(batches: int, callback: Any) -> None:
        given = {"loss": loss, "lr": plan.lr, "model": model}
        kind = "GreyBoxSystem" if gray else "BlackBoxSystem"
        if plan.tbptt:
            system = getattr(core, f"{kind}WithTBPTT")(**given, step_num_samples=plan.tbptt)
        else:
            system = getattr(core, kind)(**given)
        for name in ("compute_and_log_fad", "log_response_and_params_at_each_block", "log_frequency_response"):
            setattr(system, name, lambda *args, **kwargs: None)
        x, y, controls = audio(plan)
        # one batch more than are run: the plateau schedule wants a validation at an epoch's end
        items = TensorDataset(*(t.cpu().repeat(batches + 1, 1, 1) for t in (x, y)), *_knobs(controls, batches + 1))
        trainer = lightning.Trainer(
            max_steps=batches * (plan.samples // (plan.tbptt or plan.samples)),
            limit_val_batches=0,
            callbacks=[callback],
            logger=lightning.pytorch.loggers.CSVLogger("."),
            accelerator="gpu" if plan.device == "cuda" else "cpu",
            devices=1,
            enable_checkpointing=False,
            enable_model_summary=False,
            gradient_clip_val=None if plan.tbptt else 10.0,
            gradient_clip_algorithm=None if plan.tbptt else "value",
        )
        trainer.fit(system, DataLoader(items, batch_size=plan.batch))

    return Subject(
        list(model.parameters()), start, forward, lambda y, target: loss(y, target)[-1], fit, {"side": "published"}
    )


def _knobs(controls: torch.Tensor | None, batches: int) -> list[torch.Tensor]:
    return [] if controls is None else [controls.cpu().repeat(batches, 1)]


if __name__ == "__main__":
    serve(subject, lightning.pytorch.Callback)
