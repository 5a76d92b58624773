"""Published configs and calls that the converter refuses, and what it says."""

from __future__ import annotations

import pytest
import torch
import yaml

from nablafx.convert.configs import Conversion
from nablafx.convert.old import NoCounterpartError
from nablafx.errors import UserError
from tests.cli import nablafx
from tests.published.cases import S4, STACK, black_box, gray_box


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (black_box("TCN", STACK, causal=False), "TCN: causal is False, and here it is always True: the net would hear"),
        (black_box("GCN", STACK, batchnorm=True), "GCN: batchnorm is True"),
        (black_box("TCN", STACK, groups=2), "TCN: groups is 2"),
        (black_box("TCN", STACK, num_inputs=2), "TCN: num_inputs is 2"),
        (black_box("S4", S4, cond_type="tfilm", cond_num_layers=2), "S4: cond_num_layers is 2"),
        (black_box("LSTM", {"cond_type": "film"}), "LSTM: cond_type film has no counterpart; there are fixed, tvcond"),
        (black_box("Reverb", {}), "there is no counterpart of the published Reverb; nets are TCN, GCN, S4, LSTM"),
        (gray_box(("Chorus", {})), "there is no counterpart of the published processor Chorus"),
        (gray_box(("StaticRationalNonlinearity", {"init_approx_func": "relu"})), "init_approx_func is relu"),
        (gray_box(("Gain", {"control_type": "lfo"})), "Gain: control_type lfo has no counterpart; there are static"),
    ],
)
def test_a_model_without_a_counterpart_is_refused(model, message):
    with pytest.raises(NoCounterpartError, match=message):
        Conversion({"model": model})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"layers": 3}, "a published config has a section model, data or trainer"),
        ({"model": {"class_path": "torch.nn.Linear"}}, "model: Linear is no system of the published framework"),
        ({"model": {"lr": 0.1}}, "needed a class_path, and got .*is this a config of the published framework"),
        (
            {"data": {"class_path": "nablafx.data.Other"}},
            "data: Other is not the published DryWetFilesPluginDataModule",
        ),
    ],
)
def test_other_files_are_refused(content, message):
    with pytest.raises(UserError, match=message):
        Conversion(content)


def test_mistakes_of_the_caller_are_told(tmp_path):
    missing = nablafx("convert", tmp_path / "none.yaml")
    assert (missing.status, "there is no file" in missing.err) == (1, True)
    (tmp_path / "broken.yaml").write_text("a: [")
    assert "cannot be read as YAML" in nablafx("convert", tmp_path / "broken.yaml").err
    torch.save({"state_dict": {"model.processor.x": torch.zeros(1)}}, tmp_path / "old.ckpt")
    assert "give the config that it was trained with" in nablafx("convert", tmp_path / "old.ckpt").err
    (tmp_path / "old.yaml").write_text(yaml.safe_dump({"model": black_box("S4", S4)}))
    other = nablafx("convert", tmp_path / "old.ckpt", "-c", tmp_path / "old.yaml")
    assert (other.status, "is of another model than the config" in other.err) == (1, True)
    assert not (tmp_path / "old").exists()
