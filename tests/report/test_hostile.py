"""What others have written is text on a page, wherever it comes from: nothing of it runs, and it is read as it is."""

from __future__ import annotations

import csv
import html
import json
import shutil

import numpy as np
import pytest
import yaml

from nablafx.errors import plain
from nablafx.report.gather import Scene, Track
from nablafx.report.listening import write_listening_test
from tests.browser import Visit
from tests.cli import data_words, nablafx
from tests.conftest import ROOT, config

RUN = "window.ran=(window.ran||0)+1"
pytestmark = pytest.mark.xdist_group("hostile")
ATTACKS = (
    f"</script><script>{RUN}</script>",
    f'"onmouseover="{RUN}" autofocus onfocus="{RUN}',
    f"'><img src=x onerror={RUN}>",
    f"<svg onload={RUN}>",
    f"javascript:{RUN}//",
    f"</pre></textarea></title></style><iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    "{{ 7 * 7 }} ${alert(1)} <!--",
    "a\u2028b\u2029c \u202egnp.exe\u202c \u200f&lt;&amp; $\\frac{ [/] \x1b]0;x\x07",
)
ALL = " ".join(ATTACKS)


@pytest.fixture(scope="module")
def hostile(two_runs, tmp_path_factory):
    """Two runs of somebody who means ill, with everything that can be said said by the attacks, and their page."""
    root = tmp_path_factory.mktemp("hostile") / "logs"
    shutil.copytree(two_runs, root)
    for number, folder in enumerate(sorted(root.rglob("version_0"))):
        record = json.loads((folder / "run.json").read_text())
        record |= {"name": f"{ATTACKS[number]}/{ATTACKS[2]}/{ATTACKS[6]}", "effect": ALL, "device": ALL, "torch": ALL}
        record["nablafx"] = ALL
        record["split"]["files"].append({**record["split"]["files"][0], "name": ALL})
        record["test"]["files"].append({**record["test"]["files"][0], "name": ALL})
        (folder / "run.json").write_text(json.dumps(record))
        content = yaml.safe_load((folder / "config.yaml").read_text())
        content[ALL] = ALL
        (folder / "config.yaml").write_text(yaml.safe_dump(content, allow_unicode=True))
        rows = list(csv.reader((folder / "metrics.csv").open(newline="")))
        rows[0] += [f"{ATTACKS[0]}{number}", ALL]
        rows[1:] = [[row[0], *row[1:], 0.5, 0.25] for row in rows[1:]]
        rows.insert(1, [ALL, *rows[1][1:]])
        with (folder / "metrics.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        history = (folder / "history.csv").read_text()
        (folder / "history.csv").write_text(history.replace("lr/base", "lr $\\frac{ <script>", 1))
    path = root.parent / "report.html"
    done = nablafx("report", root, "--output", path, "--seconds", "0.5", "--title", ALL)
    assert done.status == 0, done.err
    return path, done.out


@pytest.fixture(scope="module")
def visit(chromium, hostile):
    return Visit(chromium, hostile[0].as_uri())


def test_nothing_of_it_runs(visit, hostile):
    page = visit.page
    for element in page.locator("th, td, dt, dd, summary, label, h1, h2").all()[:80]:
        element.dispatch_event("mouseover")
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    assert visit.wrong == []
    assert [url for url in visit.asked if not url.startswith("data:")] == [hostile[0].as_uri()]
    # none of it has become an element or an attribute
    for selector in ("iframe", "svg", "img:not([src^='data:image/webp'])", "[onload], [onerror], [onmouseover]"):
        assert page.locator(selector).count() == 0, selector
    assert page.locator("a:not([href^='#'])").count() == 0
    assert page.locator("script:not([type='text/plain'])").count() == 1


def test_it_is_read_as_it_is(visit):
    page = visit.page
    assert page.locator("h1").text_content() == ALL
    facts = page.locator("section#run-0 dl").text_content()
    for told in (ALL, f"nablafx {ALL}, torch {ALL}"):
        assert told in facts
    assert ALL in page.locator("section#files tbody").text_content()
    assert ALL in page.locator("section#run-0 ul").text_content()
    config = yaml.safe_load(page.locator("section#run-0 pre").text_content())
    assert config[ALL] == ALL
    heads = page.locator("section#runs thead th").all_text_contents()
    assert {ALL, f"{ATTACKS[0]}0", f"{ATTACKS[0]}1"} <= {head.strip() for head in heads}


def test_its_policy_holds_what_would_get_by(chromium, hostile, tmp_path):
    """Had a template forgotten to escape: neither scripts, nor handlers, nor anything from elsewhere."""
    text = hostile[0].read_text(encoding="utf-8")
    begun = f"<main id=\"main\"><script>{RUN}</script><img src=x onerror='{RUN}'><base href='https://example.org/'>"
    assert text.count('<main id="main">') == 1
    (tmp_path / "open.html").write_text(text.replace('<main id="main">', begun), encoding="utf-8")
    visit = Visit(chromium, (tmp_path / "open.html").as_uri())
    assert visit.page.evaluate("window.ran") is None
    assert sum("Content Security Policy" in line for line in visit.wrong) >= 3
    assert all("example.org" not in url for url in visit.asked)
    # and what belongs to the page runs
    assert visit.page.evaluate("nablafx.players.length") >= 1


def test_the_terminal_gets_no_control_characters(hostile):
    assert "\x1b" not in hostile[1]
    assert "\u202e" not in hostile[1]
    assert f"Listening to {plain(ATTACKS[2])}" in hostile[1]


def test_compare_shows_and_writes_text(hostile, tmp_path):
    done = nablafx("compare", hostile[0].parent / "logs", "--output", tmp_path)
    assert done.status == 0, done.err
    assert "\x1b" not in done.out
    text = next(tmp_path.glob("*.md")).read_text()
    assert "\x1b" not in text
    assert not any(line.lstrip("> ").startswith("<") for line in text.splitlines())
    assert text.replace("\\<", "").count("<") == 0
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    # no name opens a cell of its own
    counts = {len(line.replace("\\|", "").split("|")) for line in rows}
    assert len(counts) <= 2


def test_a_listening_test_holds_no_words_of_others(tmp_path):
    """webMUSHRA reads what its config says as HTML."""
    noise = np.random.default_rng(0).standard_normal(4800).astype(np.float32) * 0.1
    tracks = [Track("Target", "target", noise), Track(ALL, "prediction", noise, 0)]
    config = write_listening_test(tmp_path, [Scene(ALL, ALL, 0, 48_000, tracks)], [f"../{ATTACKS[2]}{ATTACKS[7]}"])
    assert not set('<>"&\x1b\u2028\u202e') & set(config.read_text())
    assert all(tmp_path in path.resolve().parents for path in tmp_path.rglob("*"))


@pytest.mark.slow
def test_names_of_audio_on_disk(knobless, tmp_path, monkeypatch):
    """From the name of a file to table, CSV, picture, rendered file and page."""
    name = "=cmd|' [b]$\\frac{ \x1b[31m<img src=x onerror=alert(1)>"
    for part, kind in (("DRY", "input"), ("WET", "target")):
        source = knobless.dry if kind == "input" else knobless.wet
        shutil.copytree(source, tmp_path / part)
        (file,) = sorted((tmp_path / part / "test").iterdir())[:1]
        file.rename(file.with_name(f"{name}.{kind}.wav"))
    words = [*config(ROOT, "model/lstm/32", "trainer/smoke"), *data_words(knobless), "--log_root", tmp_path / "logs"]
    words += ["--data.dry", tmp_path / "DRY", "--data.wet", tmp_path / "WET", "--media.log_media_every_n_steps", "0"]
    for command in ("fit", "test", "predict"):
        done = nablafx(command, *words)
        assert done.status == 0, done.err
        assert "\x1b" not in done.out
    (run,) = tmp_path.rglob("version_0")
    assert name in (run / "metrics.csv").read_text()
    done = nablafx("report", run, "--seconds", "0.3")
    assert done.status == 0, done.err
    text = (run / "report.html").read_text(encoding="utf-8")
    assert html.escape(name, quote=False) in text.replace("&#39;", "'")
    assert "<img src=x" not in text
