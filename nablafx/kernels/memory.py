"""Tensors as the loops on a CPU take them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def array(tensor: Tensor) -> np.ndarray:
    """The numbers in the order of their dimensions: the tensor's own memory, where it has that order."""
    # of complex numbers a conjugate may be one yet to be taken
    return tensor.detach().resolve_conj().contiguous().numpy()


def copied(tensor: Tensor) -> Tensor:
    """A tensor of its own to write into, in the order of its dimensions."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)
