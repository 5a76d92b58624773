"""Settings of the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

# one worker per core; wandb and DATA_ROOT of whoever runs the tests must not reach them
torch.set_num_threads(1)
for variable in ("WANDB_API_KEY", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_MODE", "DATA_ROOT", "LOG_ROOT"):
    os.environ.pop(variable, None)

ROOT = Path(__file__).parents[1]


@pytest.fixture
def root() -> Path:
    """The top of the checkout."""
    return ROOT
