"""Checkpoints that are damaged, foreign, another model's, or an attack: each is told, and none runs code."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from nablafx.effects import LSTM, TCN
from nablafx.errors import UserError
from nablafx.training.checkpoints import CheckpointError, check_fits, read_checkpoint

pytestmark = [
    pytest.mark.filterwarnings("ignore:Detected pickle protocol"),
    pytest.mark.filterwarnings("ignore:'torch.load' received a zip file that looks like a TorchScript archive"),
]


@pytest.fixture
def good(tmp_path) -> Path:
    path = tmp_path / "good.ckpt"
    torch.save({"state_dict": LSTM(hidden_size=2).state_dict(), "epoch": 3}, path)
    return path


def test_reads_what_was_saved(good):
    content = read_checkpoint(str(good))
    assert content["epoch"] == 3
    model = LSTM(hidden_size=2)
    check_fits(content, model, good)
    model.load_state_dict(content["state_dict"])
    again = read_checkpoint(good)["state_dict"]
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["missing.ckpt", "", "folder"])
def test_no_file_is_told(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*; name a file, or best or last") as told:
        read_checkpoint(tmp_path / name)
    assert isinstance(told.value, UserError)


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_truncated(good, kept):
    data = good.read_bytes()
    good.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(CheckpointError, match=r"good.ckpt cannot be read \(.+\); it is damaged"):
        read_checkpoint(good)


def test_flipped_bytes_are_told_or_harmless(good):
    """One wrong byte, anywhere: no other error ever comes out."""
    data = good.read_bytes()
    told = 0
    for at in range(0, len(data), max(1, len(data) // 300)):
        for flip in (0xFF, 0x01):
            damaged = bytearray(data)
            damaged[at] ^= flip
            good.write_bytes(bytes(damaged))
            try:
                check_fits(read_checkpoint(good), LSTM(hidden_size=2), good)
            except CheckpointError:
                told += 1
    assert told > 20


@pytest.mark.parametrize("legacy", [False, True])
def test_flipped_bytes_of_the_pickle(tmp_path, legacy):
    """The part that says what the tensors are, byte by byte; also of files as torch wrote them before zip."""
    path, buffer = tmp_path / "x.ckpt", io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(2)}, "epoch": 1}, buffer, _use_new_zipfile_serialization=not legacy)
    for at, flip in ((at, flip) for at in range(0, 400) for flip in (0xFF, 0x01)):
        damaged = damage(buffer.getvalue(), at, flip, legacy)
        if damaged is None:
            break
        path.write_bytes(damaged)
        try:
            check_fits(read_checkpoint(path), LSTM(hidden_size=2), path)
        except CheckpointError:
            continue
        raise AssertionError("two zeros are no LSTM")


def damage(data: bytes, at: int, flip: int, legacy: bool) -> bytes | None:
    """A byte of the file, or of the pickle within a zip whose checksums are right; None beyond the end."""
    if legacy:
        return flipped(data, at, flip) if at < len(data) else None
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            part = old.read(name)
            if name.endswith("data.pkl"):
                if at >= len(part):
                    return None
                part = flipped(part, at, flip)
            new.writestr(name, part)
    return out.getvalue()


def flipped(data: bytes, at: int, flip: int) -> bytes:
    return data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]


class Evil:
    """Leaves a file behind when it is unpickled by the usual means."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self):
        return Path.touch, (self.sentinel,)


def saved_by_torch(content, path: Path) -> None:
    torch.save(content, path)


def saved_before_zip(content, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def saved_as_pickle(content, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("save", [saved_by_torch, saved_before_zip, saved_as_pickle])
def test_a_pickle_that_would_run_code_does_not(tmp_path, save):
    path, sentinel = tmp_path / "evil.ckpt", tmp_path / "sentinel"
    save({"state_dict": {"weight": Evil(sentinel)}}, path)
    with pytest.raises(CheckpointError, match=r"evil.ckpt cannot be read"):
        read_checkpoint(path)
    assert not sentinel.exists()
    if save is saved_as_pickle:
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert sentinel.exists(), "the attack must be a real one"


def test_foreign_files(tmp_path):
    foreign = {"text": b"this is a README", "zeros": b"\0" * 1000, "wav": b"RIFF\x24\0\0\0WAVEfmt "}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    foreign["zip"] = buffer.getvalue()
    foreign["list"] = pickle.dumps([1, 2, 3])
    for name, data in foreign.items():
        path = tmp_path / f"{name}.ckpt"
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=f"{name}.ckpt"):
            read_checkpoint(path)


def test_a_script_module_is_no_checkpoint(tmp_path):
    """Its zip holds code."""
    path = tmp_path / "script.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("script/constants.pkl", pickle.dumps(()))
        archive.writestr("script/data.pkl", pickle.dumps(None))
        archive.writestr("script/version", "3\n")
        archive.writestr("script/code/__torch__.py", "")
    with pytest.raises(CheckpointError, match=r"script\.ckpt"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [[1, 2], {"epoch": 1}, torch.zeros(3), {"state_dict": [1]}, {"state_dict": {"weight": 1.0}}, {"state_dict": None}],
    ids=str,
)
def test_torch_files_without_weights(tmp_path, content):
    path = tmp_path / "other.ckpt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"other.ckpt is no checkpoint of nablafx"):
        read_checkpoint(path)


def test_another_models_weights(good):
    with pytest.raises(CheckpointError) as told:
        check_fits(read_checkpoint(good), LSTM(hidden_size=3), good)
    message = str(told.value)
    assert "good.ckpt is another model's" in message
    assert "linear.weight: (1, 2) there, (1, 3) here" in message
    assert "-c config.yaml" in message
    with pytest.raises(CheckpointError, match=r"blocks\.0\.conv\.bias: absent there, \(16,\) here.* and \d+ more"):
        check_fits(read_checkpoint(good), TCN(), good)
    extra = LSTM(hidden_size=2, direct_path=True)
    with pytest.raises(CheckpointError, match=r"\(direct_gain: absent there, \(\) here\)"):
        check_fits(read_checkpoint(good), extra, good)
