"""The number of threads, put back after a test."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def threads():
    """torch.set_num_threads."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
