"""A demo that is written and served, and what a test does in its page."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import soundfile
import torch

from nablafx.export import bundle, demo
from nablafx.export.formats import Request
from nablafx.export.model import Model
from tests.browser import Visit

from .made import RATE, audio

BLOCK, BLOCKS = 256, 3
LATENCY = BLOCK * BLOCKS
READ = "(name) => Array.from(nablafx.demo.buffers[name].getChannelData(0))"
# an offline context would run ahead of the worker: it waits at every block until that is back
LIVE = """async ({ settings, turns, length }) => {
    const { demo, Live } = nablafx, { model } = demo, size = model.block_size, rate = model.sample_rate;
    const context = new OfflineAudioContext(1, length, rate);
    const live = new Live(model, demo.runner, { gain: 1, wet: 1, ...settings }, () => {}, context);
    await live.open(demo.buffers.riff, 3, model.controls);
    for (let n = size; n < length; n += size) {
        context.suspend(n / rate).then(async () => {
            while (!(live.blocks >= n / size + 3)) await new Promise((resume) => setTimeout(resume, 1));
            if (turns[n]) await demo.runner.ask("turn", { controls: turns[n] });
            context.resume();
        });
    }
    const made = await context.startRendering();
    return [Array.from(made.getChannelData(0)), live.underruns];
}"""
# the test is the worker here: it doubles what it gets, and keeps blocks 5 to 7 until `at`; so 8 to 11 are never sent
LATE = """async ({ length, size, blocks, at }) => {
    const context = new OfflineAudioContext(1, length, 48000), { port1, port2 } = new MessageChannel();
    await context.audioWorklet.addModule("worklet.js");
    const node = new AudioWorkletNode(context, "exchange", { processorOptions: { blockSize: size, blocks } });
    const source = context.createConstantSource(), kept = [];
    let heard = 0, returned = 0, taken = 0, told = {}, late = true;
    const back = ({ start, audio }) => {
        returned++;
        port1.postMessage({ start, audio: audio.map((x) => 2 * x), ms: 0 });
    };
    port1.onmessage = ({ data }) => {
        heard++;
        if (data.start >= 5 * size && late) kept.push(data); else back(data);
    };
    await new Promise((ready) => { node.port.onmessage = ready; node.port.postMessage({ worker: port2 }, [port2]); });
    node.port.onmessage = ({ data }) => { taken++; told = data; };
    for (let n = size; n < length; n += 128) {
        context.suspend(n / 48000).then(async () => {
            if (n === at) { late = false; kept.forEach(back); }
            const whole = Math.floor(n / size), sent = whole - Math.max(0, Math.min(whole - 8, 4));
            while (heard < sent || taken < returned) await new Promise((resume) => setTimeout(resume, 1));
            context.resume();
        });
    }
    source.connect(node).connect(context.destination);
    source.start();
    const made = await context.startRendering();
    return [Array.from(made.getChannelData(0)), told.underruns];
}"""


class Written:
    """A demo's folder, served."""

    def __init__(self, folder, made: Model, *words: str) -> None:
        self.model, self.folder = made, folder / "demo"
        at = torch.tensor([[0.25, 0.7]]) if made.control_names else None
        bundle.write(made, folder / "m.nablafx", Request(at, None, audio()))
        soundfile.write(folder / "plucks.wav", 0.2 * audio(30_000)[0, 0].numpy(), RATE)
        riff = "--output", str(self.folder), "--riff", str(folder / "plucks.wav"), "--block-size", str(BLOCK)
        demo.run([str(folder / "m.nablafx"), *riff, *words])
        self.server = demo.server(self.folder, 0)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://localhost:{self.server.server_address[1]}/"

    @torch.inference_mode()
    def wet(self, x: np.ndarray, *controls: float, state=None) -> np.ndarray:
        """What the effect makes of x (T,)."""
        knobs = torch.tensor([controls]) if controls else None
        return self.model.effect(torch.tensor(x, dtype=torch.float32).view(1, 1, -1), knobs, state)[0][0, 0].numpy()


def opened(chromium, demo: Written, **options) -> Visit:
    visit = Visit(chromium, demo.address, **options)
    visit.until("/^(Ready|It does)/.test(document.getElementById('status').textContent)", 60)
    told = visit.page.locator("#status").text_content()
    assert told == "Ready.", told
    return visit


def rendered(visit: Visit, path: Path) -> np.ndarray:
    """What `Render to WAV` hands out."""
    page = visit.page
    page.get_by_role("button", name="Render to WAV").click()
    visit.until("!document.getElementById('download').hidden", 60)
    with page.expect_download() as download:
        page.locator("#download").click()
    download.value.save_as(path)
    assert soundfile.info(path).subtype == "FLOAT"
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == RATE
    return samples
