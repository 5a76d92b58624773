"""Settings of the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from nablafx.data.demo import Demo, write_demo

from .browser import FLAGS, find_chromium
from .cli import config, data_words, nablafx

# one worker per core; wandb and DATA_ROOT of whoever runs the tests must not reach them
torch.set_num_threads(1)
WANDB = ("API_KEY", "PROJECT", "ENTITY", "MODE", "RUN_GROUP", "TAGS")
for variable in (*(f"WANDB_{name}" for name in WANDB), "DATA_ROOT", "LOG_ROOT"):
    os.environ.pop(variable, None)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _no_trace_of_checks(tmp_path_factory):
    """Figures of the files of tests are kept with them, not in the cache of whoever runs the tests."""
    place = tmp_path_factory.mktemp("checks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nablafx.data.inspection.cache.cache_folder", lambda _kind: place)
        yield


@pytest.fixture(scope="session")
def knobless(tmp_path_factory) -> Demo:
    """A generated device at one setting."""
    return write_demo(tmp_path_factory.mktemp("knobless"), settings=(), seconds=1.2)


@pytest.fixture(scope="session")
def knobbed(tmp_path_factory) -> Demo:
    """A generated device with the knobs D and T, at two settings."""
    return write_demo(tmp_path_factory.mktemp("knobbed"), settings=("D020_T050", "D080_T050"), seconds=1.2)


@pytest.fixture
def root() -> Path:
    """The top of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def two_runs(knobless, tmp_path_factory):
    """The log root of a network and a chain, each trained two steps and tested."""
    root = tmp_path_factory.mktemp("two_runs")
    for model in ("model/lstm/32", "model/graybox/fuzz-rnl"):
        words = [*config(ROOT, model, "trainer/smoke"), *data_words(knobless), "--log_root", root]
        words += ["--name", f"demo/{model.removeprefix('model/').replace('/', '-')}/smoke"]
        words += ["--media.log_media_every_n_steps", "0"]
        for command in ("fit", "test"):
            done = nablafx(command, *words)
            assert done.status == 0, done.err
    return root


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium."""
    found = find_chromium()
    if found is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS.split())
        yield browser
        browser.close()
