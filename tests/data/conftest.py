"""The data sets that most tests of the data module read."""

from __future__ import annotations

import pytest

from tests.data.layout import LENGTHS, SETTINGS, write_set


@pytest.fixture
def pair(tmp_path):
    return write_set(tmp_path, LENGTHS, {"t": 3333, "u": 1234})


@pytest.fixture
def knobbed(tmp_path):
    return write_set(tmp_path, LENGTHS, {"t": 3333}, settings=SETTINGS)
