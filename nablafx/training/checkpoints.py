"""Reading checkpoints without running anything that they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from torch import nn

from nablafx.errors import UserError
from nablafx.foreign import ForeignError, is_weight, read_tensors


class CheckpointError(UserError, ValueError):
    """A checkpoint that cannot be read, or that is another model's."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint, tensors on the CPU; only plain data and tensors are ever built from it.

    Raises:
        CheckpointError: no such file, or it is damaged, foreign, or wants to run code.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"there is no checkpoint {path}; name a file, or best or last")
    try:
        content = read_tensors(path)
    except ForeignError as error:
        raise CheckpointError(
            f"the checkpoint {path} cannot be read ({error}); it is damaged, or not made by nablafx. "
            "Take another one of its folder"
        ) from error
    weights = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(map(is_weight, weights, weights.values())):
        raise CheckpointError(f"the file {path} is no checkpoint of nablafx: it has no state_dict of weights")
    return content


def check_fits(content: dict[str, Any], model: nn.Module, path: str | Path) -> None:
    """Raise CheckpointError where the weights are not those of `model`, naming what differs."""
    theirs = {name: tuple(value.shape) for name, value in content["state_dict"].items()}
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    differing = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
    if not differing:
        return
    lines = [f"{name}: {theirs.get(name, 'absent')} there, {ours.get(name, 'absent')} here" for name in differing[:5]]
    more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
    raise CheckpointError(
        f"the checkpoint {path} is another model's ({'; '.join(lines)}{more}). "
        "Give the config that it was trained with: -c config.yaml of its run"
    )


@contextmanager
def restoring_from(path: str | Path | None, trainer: Trainer) -> Iterator[None]:
    """Within the block, a state that no training can go on from is told as the checkpoint's fault.

    Raises:
        CheckpointError: optimizers, loops or callbacks stumble over what it holds for them.
    """
    connector: Any = trainer._checkpoint_connector
    stages = [name for name in ("_restore_modules_and_callbacks", "restore_training_state") if path]
    before = {name: getattr(connector, name) for name in stages}

    def told(restore: Callable[..., None], *words: Any) -> None:
        try:
            restore(*words)
        except UserError:
            raise
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint {path} holds no state that training could go on from ({type(error).__name__}: "
                f"{error}); it is damaged, or another version's. Take another one of its folder, or begin a new run"
            ) from error

    for name, restore in before.items():
        setattr(connector, name, partial(told, restore))
    try:
        yield
    finally:
        for name, restore in before.items():
            setattr(connector, name, restore)
