"""Finished runs to report on, and a browser to look at the report."""

from __future__ import annotations

import shutil

import pytest

from tests.cli import config, data_words, nablafx
from tests.conftest import ROOT

# headless, as root, without asking anybody anything; a click is no gesture that a test could make
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required"
)


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
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS.split())
        yield browser
        browser.close()
