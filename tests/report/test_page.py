"""The page of finished runs, in a browser: it plays what the models do, sorts, and counts."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import soundfile
from scipy import stats

from nablafx.training.listening import excerpts
from nablafx.training.load import load
from tests.browser import Visit
from tests.cli import nablafx

pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def report(two_runs, tmp_path_factory):
    """The page, and what was printed."""
    path = tmp_path_factory.mktemp("report") / "page.html"
    done = nablafx("report", two_runs, "--output", path, "--seconds", "0.8")
    assert done.status == 0, done.err
    return path, done.out


@pytest.fixture(scope="module")
def visit(chromium, report):
    return Visit(chromium, report[0].as_uri())


def test_it_says_where_it_is(report):
    path, out = report
    assert out.splitlines()[-1] == f"Open {path.as_uri()}"
    assert path.read_text().count("<html") == 1


def test_it_loads_without_errors_and_asks_nobody(visit, report):
    assert visit.wrong == []
    assert [url for url in visit.asked if not url.startswith("data:")] == [report[0].as_uri()]


def test_tracks_are_the_audio_of_the_runs(visit, two_runs):
    """Decoded by the browser, against the models."""
    decoded = visit.page.evaluate(
        """async () => {
            const player = nablafx.players[0], buffers = await player.load();
            return player.names.map((name, n) => [name, player.radios[n].dataset.kind,
                buffers[n].sampleRate, Array.from(buffers[n].getChannelData(0))]);
        }"""
    )
    tracks = {name: np.array(samples) for name, _, _, samples in decoded}
    assert {rate for _, _, rate, _ in decoded} == {48_000}
    assert [kind for _, kind, _, _ in decoded][:6] == ["input", "target", *2 * ["prediction"], *2 * ["difference"]]
    for run in sorted(two_runs.rglob("version_0")):
        (excerpt,) = excerpts(load(run), 0.8, 1)
        label = run.parents[1].name
        # what is louder than full scale is cut off
        heard = excerpt.prediction.clamp(-1, 1)
        for name, audio in (
            ("Dry", excerpt.x),
            ("Target", excerpt.y),
            (f"Prediction, {label}", heard),
            (f"Difference, {label}", excerpt.y - heard),
        ):
            # 16 bits, twice for a difference
            np.testing.assert_allclose(tracks[name], audio[0, 0].numpy(), atol=2.1 * 2**-15)
    # a chain's last stage is its output
    last = next(name for name, kind, _, _ in reversed(decoded) if kind == "stage")
    assert last.endswith("graybox-fuzz-rnl")
    np.testing.assert_allclose(tracks[last], tracks["Prediction, graybox-fuzz-rnl"], atol=2.1 * 2**-15)


SWITCH = """async ([gain, at, rate]) => {
    const context = new OfflineAudioContext(1, rate, rate);
    const make = (level) => {
        const buffer = context.createBuffer(1, rate, rate), samples = buffer.getChannelData(0);
        for (let n = 0; n < rate; n++) samples[n] = level * Math.sin(0.05 * n);
        return buffer;
    };
    const deck = new nablafx.Deck(context, [make(0.5), make(0.5 * gain)], [1, 1]);
    deck.play(0);
    context.suspend(at).then(() => { deck.select(1); context.resume(); });
    return Array.from((await context.startRendering()).getChannelData(0));
}"""


def test_a_switch_has_no_gap_and_keeps_the_position(visit):
    rate, lead = 48_000, 1440
    sine = 0.5 * np.sin(0.05 * np.arange(rate - lead))
    between_equals = np.array(visit.page.evaluate(SWITCH, [1.0, 0.5, rate]))
    np.testing.assert_allclose(between_equals[lead:], sine, atol=5e-5)
    to_another = np.array(visit.page.evaluate(SWITCH, [-0.25, 0.5, rate]))[lead:]
    before, after = slice(0, 22_000), slice(28_000, None)
    np.testing.assert_allclose(to_another[before], sine[before], atol=1e-5)
    np.testing.assert_allclose(to_another[after], -0.25 * sine[after], atol=1e-4)


def test_players_play_switch_and_stop(visit):
    page = visit.page
    player = page.locator(".player").first
    player.locator(".play").click()
    visit.until("nablafx.players[0].position > 0.15")
    assert player.locator(".play").text_content() == "Pause"
    begun = page.evaluate("nablafx.players[0].deck.begun")
    player.get_by_label("Target").check()
    levels = "nablafx.players[0].deck.levels.map((level) => level.gain.value > 0.01)"
    visit.until(f"{levels}[1] && !{levels}[0]")
    # the tracks ran on: nothing was begun anew
    assert page.evaluate("nablafx.players[0].deck.begun") == begun
    player.locator(".play").click()
    assert player.locator(".play").text_content() == "Play"
    position = page.evaluate("nablafx.players[0].position")
    page.wait_for_timeout(100)
    assert page.evaluate("nablafx.players[0].position") == position > 0
    assert visit.wrong == []


def test_the_keyboard_is_enough(visit):
    page = visit.page
    page.locator(".player input[type=radio]").first.focus()
    page.keyboard.press("3")
    assert page.evaluate("nablafx.players[0].chosen") == 2
    page.keyboard.press("Space")
    visit.until("nablafx.players[0].deck.playing")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("nablafx.players[0].chosen") == 3
    page.keyboard.press("Space")
    visit.until("!nablafx.players[0].deck.playing")


def test_loudness_is_matched_for_listening_only(visit):
    page = visit.page
    gains = page.evaluate("nablafx.players[0].gains.map((gain) => 20 * Math.log10(gain))")
    told = page.evaluate("nablafx.players[0].radios.map((radio) => Number(radio.dataset.gain))")
    np.testing.assert_allclose(gains, told, atol=1e-9)
    assert max(map(abs, told)) > 0.5
    page.get_by_label("Match loudness").uncheck()
    assert set(page.evaluate("nablafx.players[0].gains")) == {1}
    page.get_by_label("Match loudness").check()


def test_the_table_sorts(visit, two_runs):
    page = visit.page
    values = {}
    for path in two_runs.rglob("metrics.csv"):
        with path.open(newline="") as file:
            values[path.parents[2].name] = float(list(csv.DictReader(file))[-1]["esr"])
    head = page.locator("#runs thead th").filter(has_text="esr")
    for direction in ("ascending", "descending"):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        shown = page.locator("#runs tbody th").all_text_contents()
        assert shown == sorted(values, key=values.__getitem__, reverse=direction == "descending")
    page.locator("#runs thead th").filter(has_text="run").get_by_role("button").click()
    assert page.locator("#runs tbody th").all_text_contents() == sorted(values)


@pytest.mark.parametrize("wrong", [0, 2])
def test_the_blind_test_counts(visit, wrong):
    page = visit.page
    page.get_by_label("Trials").fill("6")
    page.get_by_role("button", name="Begin").click()
    heard = set()
    for trial in range(6):
        visit.until(f"document.getElementById('abx-status').textContent.startsWith('Trial {trial + 1} ')")
        x = page.evaluate("nablafx.abx.x")
        heard.add(x)
        # X is what it is said to be
        a, b, hidden = page.evaluate("nablafx.abx.deck.buffers.map((b) => b.getChannelData(0)[9000])")
        assert hidden == (b if x else a)
        said = 1 - x if trial < wrong else x
        page.get_by_role("button", name="X is B" if said else "X is A").click()
    visit.until("document.getElementById('abx-run').hidden")
    told = page.locator("#abx-status").text_content()
    right, count, chance = re.fullmatch(r"(\d+) of (\d+) right; guessing .* probability of ([\d.]+)\.", told).groups()
    assert (int(right), int(count)) == (6 - wrong, 6)
    expected = stats.binomtest(6 - wrong, 6, 0.5, alternative="greater").pvalue
    assert float(chance) == pytest.approx(expected, rel=0.06)
    assert visit.wrong == []


def test_the_chance_of_guessing_is_that_of_coins(visit):
    for right, count in ((0, 1), (7, 10), (60, 100), (100, 100)):
        expected = stats.binom.sf(right - 1, count, 0.5)
        assert visit.page.evaluate(f"nablafx.atLeast({right}, {count})") == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_screen_reader(chromium, report, scheme):
    from axe_playwright_python.sync_playwright import Axe

    phone = Visit(chromium, report[0].as_uri(), viewport={"width": 390, "height": 844}, color_scheme=scheme)
    assert phone.page.evaluate("document.documentElement.scrollWidth") == 390
    found = Axe().run(phone.page)
    assert found.violations_count == 0, found.generate_report()
    # the page's ground, and the picture for it
    ground = phone.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}[scheme]
    pixel = """(image) => {
        const canvas = document.createElement("canvas"), pen = canvas.getContext("2d");
        pen.drawImage(image, 0, 0);
        return [...pen.getImageData(1, 1, 1, 1).data].slice(0, 3);
    }"""
    seen = phone.page.locator("figure img").first.evaluate(pixel)
    assert seen == {"light": [255, 255, 255], "dark": [22, 24, 28]}[scheme]


def test_a_page_without_audio_says_why(two_runs, tmp_path):
    (run,) = (two_runs).rglob("*lstm-32/smoke/version_0")
    copy = tmp_path / "run"
    (copy / "checkpoints").mkdir(parents=True)
    for name in ("run.json", "metrics.csv", "checkpoints/best.ckpt"):
        (copy / name).write_bytes((run / name).read_bytes())
    (copy / "config.yaml").write_text((run / "config.yaml").read_text().replace("dry: /", "dry: /nowhere/"))
    done = nablafx("report", copy)
    assert done.status == 0, done.err
    assert "Without audio: the data of" in done.out
    page = (copy / "report.html").read_text()
    assert "is without audio: the data of" in page
    assert 'id="listen"' not in page
    assert 'id="training"' not in page  # there is no history either


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--seconds", "0"], "--seconds is 0"),
        (["--files", "0"], "--files 0"),
        (["--output", "/dev/null/x"], "name another file with --output"),
        (["--listening-test", "here", "--output", "x"], "--output is of a page"),
    ],
)
def test_mistakes_are_named(two_runs, words, told):
    done = nablafx("report", two_runs, *words)
    assert done.status == 1
    assert told in done.err


def test_a_listening_test_is_what_webmushra_takes(two_runs, tmp_path):
    import yaml

    from nablafx.report.sound import loudness_of

    done = nablafx("report", two_runs, "--listening-test", tmp_path, "--seconds", "0.8")
    assert done.status == 0, done.err
    content = yaml.safe_load((tmp_path / "configs/nablafx.yaml").read_text())
    assert [page["type"] for page in content["pages"] if isinstance(page, dict)] == ["generic", "volume", "finish"]
    order, page = content["pages"][2]
    assert (order, page["type"], page["createAnchor35"]) == ("random", "mushra", False)
    assert list(page["stimuli"]) == ["anchor35", "graybox-fuzz-rnl", "lstm-32"]
    read = {name: soundfile.read(tmp_path / path) for name, path in page["stimuli"].items()}
    read["reference"] = soundfile.read(tmp_path / page["reference"])
    assert {(len(audio), rate) for audio, rate in read.values()} == {(38_400, 48_000)}
    assert max(np.abs(audio).max() for audio, _ in read.values()) <= 1 + 1e-6
    wanted = loudness_of(read["reference"][0], 48_000)
    for name in ("graybox-fuzz-rnl", "lstm-32"):
        assert loudness_of(read[name][0], 48_000) == pytest.approx(wanted, abs=0.01)
    with (tmp_path / "stimuli.csv").open(newline="") as file:
        assert {row["condition"] for row in csv.DictReader(file)} == {*page["stimuli"], "reference"}


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 96_000])
def test_the_anchor_is_that_of_bs_1534(rate):
    from scipy.signal import freqz

    from nablafx.report.listening import low_pass_anchor

    impulse = np.zeros(8193)
    impulse[4096] = 1.0
    taps = low_pass_anchor(impulse, rate)
    np.testing.assert_allclose(taps, taps[::-1], atol=1e-12)  # without delay
    freqs, response = freqz(taps, worN=20_000, fs=rate)
    level = 20 * np.log10(np.maximum(np.abs(response), 1e-9))
    assert np.abs(level[freqs <= 3500]).max() < 0.1
    assert level[freqs >= 4000].max() < -25
    assert level[freqs >= 4500].max() < -50
