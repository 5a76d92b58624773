"""The optimizer and its parameter groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import AdamW, Optimizer

from nablafx.effects import Effect
from nablafx.errors import UserError


class OptimizerError(UserError, ValueError):
    """Nothing to learn, or settings that no optimizer takes."""


def parameter_groups(
    effect: Effect, lr: float, weight_decay: float, lr_multipliers: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Parameters grouped by the options that they need.

    Args:
        effect: its `parameter_options` set lr, lr_multiplier or weight_decay of some parameters.
        lr, weight_decay: of all others.
        lr_multipliers: factors of the learning rate of parts of the effect, by the start of their parameters' names
            ({"blocks.0": 0.1}).

    Returns:
        one group per distinct pair of learning rate and weight decay, named `base`, or after its first parameter.

    Raises:
        ValueError: a multiplier is for a part that the effect does not have.
    """
    lr_multipliers = dict(lr_multipliers or {})
    options = effect.parameter_options()
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in effect.named_parameters():
        if not parameter.requires_grad:
            continue
        option = _of_longest_prefix(options, name, {})
        rate = option.get("lr", lr) * option.get("lr_multiplier", 1.0) * _of_longest_prefix(lr_multipliers, name, 1.0)
        key = (rate, option.get("weight_decay", weight_decay))
        title = "base" if key == (lr, weight_decay) else name
        group = groups.setdefault(key, {"params": [], "lr": key[0], "weight_decay": key[1], "name": title})
        group["params"].append(parameter)
    _check_names(lr_multipliers, effect)
    return list(groups.values())


def adamw(groups: list[dict[str, Any]], lr: float) -> AdamW:
    """AdamW(0.9, 0.999).

    Fused: a fourth of the time of a loop over small parameters, and half of that of foreach, also on a CPU.
    """
    return AdamW(groups, lr=lr, fused=True)


def clip(optimizer: Optimizer, limit: float, algorithm: Literal["value", "norm"]) -> None:
    """Clip each value of the gradients, or the norm of all."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if algorithm == "value":
        clip_grad_value_(parameters, limit)
    else:
        clip_grad_norm_(parameters, limit)


def _covers(prefix: str, name: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _of_longest_prefix(values: Mapping[str, Any], name: str, default: Any) -> Any:
    matching = [prefix for prefix in values if _covers(prefix, name)]
    return values[max(matching, key=len)] if matching else default


def _check_names(lr_multipliers: Mapping[str, float], effect: Effect) -> None:
    names = [name for name, _ in effect.named_parameters()]
    for prefix in lr_multipliers:
        if not any(_covers(prefix, name) for name in names):
            parts = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ValueError(
                f"lr_multipliers: {type(effect).__name__} has no part {prefix!r}; its parts are {', '.join(parts)}"
            )
