"""Gradients of a reference within an operator, where torch records nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor


def gradients_of(function: Callable[..., Any], given: tuple[Tensor | None, ...], *grads: Tensor) -> Any:
    """Of what is given, by autograd in a thread of its own; grads: of what `function` makes of it. None stays None."""

    def run() -> tuple:
        inputs: list[Any] = [None if t is None else t.detach().requires_grad_() for t in given]
        with torch.enable_grad():
            outputs = function(*inputs)
        asked = [t for t in inputs if t is not None]
        found = iter(torch.autograd.grad(outputs, asked, grads, materialize_grads=True))
        return tuple(None if t is None else next(found) for t in inputs)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()
