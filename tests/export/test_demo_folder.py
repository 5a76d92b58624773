"""The demo's folder, and the runtime in it: written whole or not at all, and from the pinned files alone."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import soundfile

from nablafx.errors import UserError
from nablafx.export import bundle, demo, demo_runtime
from nablafx.export.demo_page import read_riff
from nablafx.export.formats import Request
from nablafx.shipped import ROOT

from .made import audio, model

CONTENTS = {name: f"{name} 1.30".encode() for name in demo_runtime.FILES}
# npm as a stand-in: it copies a package that is there, and tells what it was asked
NPM = """#!/bin/sh
echo "$@" > "$ASKED"
[ -f "$PACKAGE" ] || { echo "npm error 404 Not Found" >&2; exit 1; }
while [ "$1" != --pack-destination ]; do shift; done
cp "$PACKAGE" "$2/onnxruntime-web.tgz"
"""


@pytest.fixture
def pinned(monkeypatch, tmp_path) -> Path:
    """Small files are the pinned ones, and this empty folder is the cache."""
    wanted = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    monkeypatch.setattr(demo_runtime, "FILES", wanted)
    monkeypatch.delenv(demo_runtime.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def lay(folder: Path, **changed: bytes) -> Path:
    folder.mkdir(parents=True)
    for name, content in {**CONTENTS, **changed}.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def npm(monkeypatch, tmp_path):
    """An npm whose package has these files."""
    import tarfile

    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "npm"
    script.write_text(NPM)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("PACKAGE", str(tmp_path / "package.tgz"))

    def package(**changed: bytes) -> None:
        with tarfile.open(tmp_path / "package.tgz", "w:gz") as archive:
            archive.add(lay(tmp_path / "dist", **changed), "package/dist")

    return package


def test_modules_that_are_named_go_first(pinned, tmp_path, monkeypatch):
    lay(pinned / "nablafx" / "onnxruntime-web-1.30.0")
    there = lay(tmp_path / "modules" / "onnxruntime-web" / "dist")
    monkeypatch.setenv(demo_runtime.VARIABLE, str(tmp_path / "modules"))
    assert demo_runtime.get_runtime() == there
    (there / "ort.wasm.min.mjs").write_bytes(b"another version")
    with pytest.raises(UserError, match=r"ort\.wasm\.min\.mjs is not that of onnxruntime-web 1\.30\.0; install"):
        demo_runtime.get_runtime()
    monkeypatch.setenv(demo_runtime.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"is .*nowhere, but there is no .*ort\.wasm\.min\.mjs"):
        demo_runtime.find_runtime()


def test_npm_is_asked_once(pinned, npm, tmp_path, capsys):
    assert demo_runtime.find_runtime() is None
    npm()
    cache = demo_runtime.get_runtime()
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == CONTENTS
    asked = (tmp_path / "asked").read_text().split()
    assert asked[:3] == ["pack", "onnxruntime-web@1.30.0", "--ignore-scripts"]
    assert "Fetching onnxruntime-web 1.30.0 with npm" in capsys.readouterr().out
    (tmp_path / "package.tgz").unlink()
    assert demo_runtime.get_runtime() == cache
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]
    # what was damaged since is fetched anew
    (cache / "ort.wasm.min.mjs").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"npm cannot fetch .*404 Not Found\); is there a network"):
        demo_runtime.get_runtime()


def test_what_npm_fetches_is_checked(pinned, npm):
    npm(**{"ort-wasm-simd-threaded.wasm": b"another"})
    with pytest.raises(UserError, match=r"npm fetched something else: .*\.wasm is not that of"):
        demo_runtime.get_runtime()
    assert list((pinned / "nablafx").iterdir()) == []


def test_without_npm_the_message_says_what_to_do(pinned, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"there is no npm to get it with; .*NABLAFX_NODE_MODULES"):
        demo_runtime.get_runtime()


def test_the_tests_use_the_version_of_the_page():
    lock = ROOT / "tests" / "node" / "package-lock.json"
    if not lock.is_file():
        pytest.skip("there are no packages of Node for tests")
    told = json.loads(lock.read_text())["packages"][f"node_modules/{demo_runtime.PACKAGE}"]
    assert told["version"] == demo_runtime.VERSION


def fail(folder: Path) -> None:
    with demo.replacing_folder(folder) as made:
        (made / "model.json").write_text("third")
        raise UserError("because")


def test_a_folder_is_replaced_whole_or_stays(tmp_path):
    folder = tmp_path / "there" / "demo"
    for text in ("first", "second"):
        with demo.replacing_folder(folder) as made:
            (made / "model.json").write_text(text)
            assert not (folder / "model.json").exists() or text == "second"
        assert (folder / "model.json").read_text() == text
    with pytest.raises(UserError, match="because"):
        fail(folder)
    assert (folder / "model.json").read_text() == "second"
    assert [path.name for path in folder.parent.iterdir()] == ["demo"]


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one(tmp_path, monkeypatch):
    replace = os.replace

    def full(source, target):
        if Path(source).name == "made":
            raise OSError("no space left")
        replace(source, target)

    folder = tmp_path / "demo"
    with demo.replacing_folder(folder) as made:
        (made / "model.json").write_text("old")
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UserError, match="no space left"), demo.replacing_folder(folder):
        pass
    assert (folder / "model.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_nothing_else_is_replaced(tmp_path):
    mine, empty = tmp_path / "mine", tmp_path / "empty"
    mine.mkdir()
    empty.mkdir()
    (mine / "thesis.txt").write_text("all of it")
    (mine / "model.json").write_text("{}")
    for place in (mine, mine / "thesis.txt"):
        with (
            pytest.raises(UserError, match="something else than a demo, and is left as it is"),
            demo.replacing_folder(place),
        ):
            pass
    assert (mine / "thesis.txt").read_text() == "all of it"
    with demo.replacing_folder(empty) as made:
        (made / "model.json").write_text("{}")
    assert (empty / "model.json").is_file()
    with (
        pytest.raises(UserError, match=r"cannot write .*name another folder"),
        demo.replacing_folder(Path("/dev/null/x")),
    ):
        pass


def test_a_demo_lies_beside_its_bundle(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "write_page", lambda folder, *rest: (folder / "model.json").write_text("{}"))
    bundle.write(model(), tmp_path / "amp.nablafx", Request(None, None, audio()))
    demo.run([str(tmp_path / "amp.nablafx")])
    assert (tmp_path / "amp-demo" / "model.json").is_file()
    assert f"python -m http.server --directory {tmp_path / 'amp-demo'}" in capsys.readouterr().out
    with pytest.raises(UserError, match="demo/lstm/smoke has no knobs; leave --controls away"):
        demo.run([str(tmp_path / "amp.nablafx"), "--controls", "D=1"])


@pytest.mark.parametrize(("kind", "given", "size"), [("lstm", None, 512), ("tfilm", None, 512), ("tfilm", 128, 128)])
def test_blocks_are_whole(kind, given, size):
    assert demo.block_size_of(model(kind), given) == size


@pytest.mark.parametrize("given", [0, -128, 64, 200, 2**20])
def test_other_blocks_are_refused(given):
    with pytest.raises(UserError, match=f"--block-size is {given}; .* needs a multiple of 128"):
        demo.block_size_of(model(), given)


def test_a_riff_is_the_first_ten_seconds_of_one_channel(tmp_path):
    time = np.arange(12 * 8_000) / 8_000
    left = 0.5 * np.sin(2 * np.pi * 200 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([left, np.zeros_like(left)], axis=1), 8_000, subtype="FLOAT")
    riff = read_riff(tmp_path / "a.wav", 8_000)
    assert riff.dtype == np.int16
    np.testing.assert_allclose(riff / 2**15, left[:80_000], atol=0.51 * 2**-15)
    # at another rate: the same sine
    riff = read_riff(tmp_path / "a.wav", 16_000)[2_000:-2_000] / 2**15
    there = 0.5 * np.sin(2 * np.pi * 200 * np.arange(2_000, 158_000) / 16_000)
    np.testing.assert_allclose(riff, there, atol=1e-4)


def test_a_riff_that_is_none_is_told(tmp_path):
    (tmp_path / "a.wav").write_text("no audio")
    with pytest.raises(UserError, match=r"a\.wav cannot be read: .*--riff"):
        read_riff(tmp_path / "a.wav", 48_000)
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 48_000)
    with pytest.raises(UserError, match="has no audio in it"):
        read_riff(tmp_path / "a.wav", 48_000)


def test_it_is_served_with_the_types_that_browsers_want(tmp_path):
    for name in ("a.mjs", "a.js", "a.wasm", "index.html"):
        (tmp_path / name).write_text("")
    with demo.server(tmp_path, 0) as serving:
        port = serving.server_address[1]
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        types = {"a.mjs": "text/javascript", "a.js": "text/javascript", "a.wasm": "application/wasm", "": "text/html"}
        for name, kind in types.items():
            with urlopen(f"http://localhost:{port}/{name}") as answer:
                assert answer.headers["Content-Type"] == kind
                assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        with pytest.raises(UserError, match=f"cannot serve at port {port}"):
            demo.server(tmp_path, port)
        serving.shutdown()
