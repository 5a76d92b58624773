"""The demo page in a browser: what it plays and renders is what the effect makes."""

from __future__ import annotations

import re

import numpy as np
import pytest
import soundfile
import torch

from .made import RATE, audio, model
from .served import BLOCK, LATE, LATENCY, LIVE, READ, Written, opened, rendered

NAME = "TS<9> </h1><script>window.broken = true</script>"
KNOBS = ("Drive & 'tone'", "<img src>")


@pytest.fixture(scope="module")
def knobbed(web_runtime, tmp_path_factory):
    made = model("knobbed", author="<b>Ada</b>", metrics={"esr": 0.0125})._replace(name=NAME, control_names=KNOBS)
    done = Written(tmp_path_factory.mktemp("knobbed"), made, "--controls", f"{KNOBS[0]}=0.25,{KNOBS[1]}=0.7")
    yield done
    done.server.shutdown()


@pytest.fixture(scope="module")
def visit(chromium, knobbed):
    return opened(chromium, knobbed)


@pytest.fixture(scope="module")
def riff(visit) -> np.ndarray:
    """The riff as the browser has it."""
    return np.array(visit.page.evaluate(READ, "riff"), np.float32)


def test_the_riff_is_the_file(riff, knobbed):
    there, rate = soundfile.read(knobbed.folder / "riff.flac")
    assert (rate, len(there)) == (RATE, 30_000)
    np.testing.assert_allclose(there, 0.2 * audio(30_000)[0, 0], atol=2**-15)
    # browsers divide by 32768 or by 32767
    np.testing.assert_allclose(riff, there, atol=2**-15)


def test_it_asks_for_nothing_but_its_folder(visit, knobbed):
    assert visit.wrong == []
    assert all(url.startswith((knobbed.address, "data:", f"blob:{knobbed.address}")) for url in visit.asked)
    asked = {url.removeprefix(knobbed.address).rpartition("/")[2] for url in visit.asked}
    assert {"model.onnx", "riff.flac", "worker.js", "ort-wasm-simd-threaded.wasm"} <= asked


def test_names_and_facts_are_text(visit):
    page = visit.page
    assert page.locator("h1").text_content() == NAME
    assert page.locator("#knobs label").all_text_contents() == list(KNOBS)
    assert page.locator("dd", has_text="Ada").text_content() == "<b>Ada</b>"
    assert page.locator("dd", has_text="esr").text_content() == "esr 0.0125"
    assert page.evaluate("window.broken === undefined && document.images.length === 0")


def test_it_renders_what_the_effect_makes(visit, knobbed, riff, tmp_path):
    heard = rendered(visit, tmp_path / "wet.wav")
    np.testing.assert_allclose(heard, knobbed.wet(riff, 0.25, 0.7), atol=1e-5)
    there = soundfile.read(knobbed.folder / "riff.flac", dtype="float32")[0]
    np.testing.assert_allclose(heard, knobbed.wet(there, 0.25, 0.7), atol=1e-3)
    assert np.abs(heard).max() > 0.1
    told = visit.page.locator("#status").text_content()
    assert re.fullmatch(r"0\.6 s rendered in [\d.]+ s, [\d.]+ times real time\.", told)


@pytest.mark.parametrize("kind", [pytest.param("tfilm", marks=pytest.mark.slow), "chain"])
def test_effects_that_look_ahead_too(kind, chromium, web_runtime, tmp_path):
    done = Written(tmp_path, model(kind))
    page = opened(chromium, done)
    heard = rendered(page, tmp_path / "wet.wav")
    there = np.array(page.page.evaluate(READ, "riff"), np.float32)
    # behind its end is silence, up to a whole block
    there = np.pad(there, (0, -len(there) % BLOCK))
    np.testing.assert_allclose(heard, done.wet(there)[: len(heard)], atol=1e-5)
    assert page.wrong == []
    page.page.context.close()
    done.server.shutdown()


def test_live_it_is_the_same_and_late_by_what_is_told(visit, knobbed, riff):
    heard, underruns = visit.page.evaluate(LIVE, {"settings": {}, "turns": {}, "length": 40_000})
    assert underruns == 0
    assert not np.any(heard[:LATENCY])
    # the riff is played over and over, and the model goes on
    expected = knobbed.wet(np.tile(riff, 2)[: 40_000 - LATENCY], 0.25, 0.7)
    np.testing.assert_allclose(heard[LATENCY:], expected, atol=1e-5)


def test_live_knobs_turn_gain_drives_and_dry_is_as_late(visit, knobbed, riff):
    page, effect, turned = visit.page, knobbed.model.effect, 40 * BLOCK
    settings = {"settings": {"gain": 0.5}, "turns": {str(turned): [0.9, 0.1]}, "length": len(riff)}
    heard, _ = page.evaluate(LIVE, settings)
    x = 0.5 * torch.from_numpy(riff).view(1, 1, -1)
    first, state = effect(x[..., :turned], torch.tensor([[0.25, 0.7]]))
    second, _ = effect(x[..., turned:], torch.tensor([[0.9, 0.1]]), state)
    expected = torch.cat([first, second], dim=-1)[0, 0, : len(riff) - LATENCY].numpy()
    np.testing.assert_allclose(heard[LATENCY:], expected, atol=1e-5)
    assert np.abs(expected - 0.5 * knobbed.wet(riff, 0.25, 0.7)[: len(expected)]).max() > 1e-2
    dry, _ = page.evaluate(LIVE, {"settings": {"wet": 0}, "turns": {}, "length": len(riff)})
    np.testing.assert_allclose(dry, np.pad(riff, (LATENCY, 0))[: len(riff)], atol=1e-7)


def test_what_is_late_is_left_out_and_counted(visit):
    size, blocks = 256, 3
    late = {"length": 20 * size, "size": size, "blocks": blocks, "at": 12 * size + 128}
    heard, underruns = visit.page.evaluate(LATE, late)
    expected = np.full(20 * size, 2.0)
    expected[: blocks * size] = 0  # latency
    # blocks 5 to 7 came when all of them had been due; 8 to 11 found the worker with three to do, and were not sent
    expected[(5 + blocks) * size : (12 + blocks) * size] = 0
    np.testing.assert_array_equal(heard, expected)
    assert underruns == 1 + 4


def test_turned_knobs_are_rendered_from_rest_and_with_the_gain(visit, knobbed, riff, tmp_path):
    page = visit.page
    before = rendered(visit, tmp_path / "before.wav")
    drive = page.locator("#knobs input").first
    drive.focus()
    for _ in range(5):
        page.keyboard.press("PageUp")
    page.keyboard.press("ArrowRight")
    at = float(drive.input_value())
    assert at > 0.5
    assert page.locator("#knobs .value").first.text_content() == f"{at:.2f}"
    page.locator("#gain").fill("-6")
    heard = rendered(visit, tmp_path / "after.wav")
    np.testing.assert_allclose(heard, knobbed.wet(10 ** (-6 / 20) * riff, at, 0.7), atol=1e-5)
    assert np.abs(heard - before).max() > 1e-2
    drive.fill("0.25")
    page.locator("#gain").fill("0")


def test_rendering_is_cancelled(visit):
    page = visit.page
    page.evaluate("""() => {
        const { demo } = nablafx, { riff } = demo.buffers, rate = riff.sampleRate;
        demo.buffers.riff = new AudioBuffer({ length: 600 * rate, sampleRate: rate });
        demo.kept = riff;
    }""")
    page.get_by_role("button", name="Render to WAV").click()
    visit.until("document.getElementById('progress').value > 0")
    page.get_by_role("button", name="Cancel").click()
    visit.until("document.getElementById('status').textContent === 'Cancelled.'")
    assert page.locator("#download").is_hidden()
    page.evaluate("() => { nablafx.demo.buffers.riff = nablafx.demo.kept; }")


def test_an_opened_file_is_rendered(visit, knobbed, tmp_path):
    page = visit.page
    stereo = 0.5 * audio(2 * 9_000).view(9_000, 2).numpy()
    soundfile.write(tmp_path / "<i>mine.wav", stereo, RATE, subtype="FLOAT")
    page.get_by_label("Open a file").set_input_files(tmp_path / "<i>mine.wav")
    visit.until("'file' in nablafx.demo.buffers")
    assert page.get_by_label("File: <i>mine.wav").is_checked()
    np.testing.assert_allclose(rendered(visit, tmp_path / "y.wav"), knobbed.wet(stereo[:, 0], 0.25, 0.7), atol=1e-5)
    (tmp_path / "none.wav").write_bytes(b"no audio")
    page.get_by_label("Open a file").set_input_files(tmp_path / "none.wav")
    visit.until("document.getElementById('status').textContent === 'This browser cannot read none.wav.'")
    page.get_by_label("Riff: plucks").check()


def test_the_keyboard_is_enough(visit):
    page = visit.page
    page.get_by_label("Riff: plucks").focus()
    page.keyboard.press("Space")
    visit.until("document.getElementById('status').textContent === 'Playing the riff.'")
    visit.until("document.getElementById('latency').textContent !== 'not running'")
    assert page.locator("#latency").text_content().startswith(f"{1000 * LATENCY / RATE:.1f} ms, and ")
    assert re.fullmatch(r"\d+ % of real time, \d+ % at worst", page.locator("#load").text_content())
    page.keyboard.press("b")
    assert page.get_by_label("Dry").is_checked()
    visit.until("nablafx.demo.live.node.parameters.get('wet').value < 0.01")
    visit.until("document.getElementById('level').value > -40")
    page.keyboard.press("B")
    assert page.get_by_label("Model").is_checked()
    page.locator("#gain").focus()
    page.keyboard.press("ArrowLeft")
    visit.until(f"Math.abs(nablafx.demo.live.node.parameters.get('gain').value - {10 ** (-0.5 / 20)}) < 1e-3")
    assert page.locator("#gain").get_attribute("aria-valuetext") == "\u22120.5 dB"
    page.keyboard.press("ArrowRight")
    page.locator("#play").focus()
    page.keyboard.press("Space")
    visit.until("nablafx.demo.live === null")
    assert page.locator("#play").text_content() == "Play"


def test_the_microphone_is_heard_and_let_go(visit):
    page = visit.page
    assert page.locator("#feedback").is_hidden()
    page.get_by_label("Microphone").check()
    assert page.locator("#feedback").is_visible()
    assert page.get_by_role("button", name="Render to WAV").is_disabled()
    page.get_by_label("Dry").check()
    page.locator("#play").click()
    visit.until("document.getElementById('status').textContent === 'Playing the microphone.'")
    track = "nablafx.demo.live.stream.getAudioTracks()[0]"
    processing = page.evaluate(f"{track}.getSettings()")
    assert not any(processing[name] for name in ("echoCancellation", "noiseSuppression", "autoGainControl"))
    visit.until("document.getElementById('level').value > -50")  # the tone of a machine without a microphone
    page.evaluate(f"window.track = {track}")
    page.get_by_label("Buffer").select_option("4")
    visit.until("window.track.readyState === 'ended' && nablafx.demo.live?.latency > 20")
    page.locator("#play").click()
    visit.until("nablafx.demo.live === null")
    page.get_by_label("Buffer").select_option("3")
    page.get_by_label("Model").check()
    page.get_by_label("Riff: plucks").check()
    assert visit.wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_screen_reader(chromium, knobbed, scheme):
    from axe_playwright_python.sync_playwright import Axe

    phone = opened(chromium, knobbed, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    assert phone.page.evaluate("document.documentElement.scrollWidth") == 390
    phone.page.get_by_label("Microphone").check()
    found = Axe().run(phone.page)
    assert found.violations_count == 0, found.generate_report()
    ground = phone.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}[scheme]
    phone.page.context.close()


def test_a_folder_without_its_model_says_so(chromium, knobbed):
    page = chromium.new_context().new_page()
    page.route("**/model.onnx", lambda route: route.fulfill(status=404, body=""))
    page.goto(knobbed.address)
    page.get_by_text("It does not run: model.onnx is not there (404)").wait_for()
    page.context.close()
