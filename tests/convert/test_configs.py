"""Published configs become those of this framework, and say what they lose on the way."""

from __future__ import annotations

import pytest
import torch
import yaml

from nablafx.convert.configs import Conversion
from nablafx.training.build import build
from tests.cli import nablafx
from tests.effects.committed import GRID, build_chain, config
from tests.published.cases import CASES, LOSS, S4, STACK, black_box, gray_box

# the sizes of the published study, in its words
STUDY = {
    **{
        f"{net}/{size}": black_box(
            net.upper(), STACK, num_blocks=n, kernel_size=k, dilation_growth=g, channel_width=16, direct_path=False
        )
        for net in ("tcn", "gcn")
        for size, (n, k, g) in GRID.items()
    },
    "s4/s": black_box("S4", S4, num_blocks=4, s4_state_dim=4, channel_width=16, s4_learning_rate=0.001),
    "s4/l": black_box("S4", S4, num_blocks=8, s4_state_dim=32, channel_width=16, s4_learning_rate=0.001),
    "lstm/32": black_box("LSTM", {"hidden_size": 32, "residual": True}),
    "lstm/96": black_box("LSTM", {"hidden_size": 96, "residual": True}),
}
OVERLAYS = {
    "film": "film",
    "tfilm": "tfilm",
    "ttfilm": "ttfilm",
    "tvfilm": "tvfilm",
    "fixed": "fixed",
    "tvcond": "tvcond",
}


def said(effect: str | dict) -> tuple[str, dict]:
    """Class and arguments, however a config says them."""
    effect = {"class_path": effect} if isinstance(effect, str) else effect
    return effect["class_path"], effect.get("init_args", {})


@pytest.mark.parametrize("name", STUDY)
def test_a_net_of_the_study_becomes_the_config_that_is_here(name):
    assert said(Conversion({"model": STUDY[name]}).config["model"]["effect"]) == said(config(name)["effect"])


@pytest.mark.parametrize("kind", OVERLAYS)
def test_a_conditioning_of_the_study_becomes_the_overlay_that_is_here(kind):
    net = "LSTM" if kind in ("fixed", "tvcond") else "TCN"
    name = {"LSTM": "lstm/32", "TCN": "tcn/45-s"}[net]
    arguments = {"hidden_size": 32, "residual": True} if net == "LSTM" else {**STACK, "num_blocks": 5, "kernel_size": 7}
    old = black_box(net, arguments, dilation_growth=4, channel_width=16, cond_type=kind, num_controls=2)
    if net == "LSTM":
        for key in ("dilation_growth", "channel_width"):
            old["init_args"]["model"]["init_args"]["processor"]["init_args"].pop(key)
    _, ours = said(Conversion({"model": old}).config["model"]["effect"])
    _, theirs = said(config(name, kind)["effect"])
    assert said(ours["conditioning"]) == said(theirs["conditioning"])


def published_chain(kind: str, curve: dict, offset: str) -> dict:
    def eq(n):
        return "ParametricEQ", {"block_size": 128, "control_type": "static"}

    gain = "Gain", {"min_gain_db": -40.0, "max_gain_db": 40.0, "control_type": "static"}
    lowpass = "Lowpass", {"min_cutoff_freq": 20000, "max_cutoff_freq": 20000, "min_q_factor": 0.7, "max_q_factor": 0.7}
    if kind == "comp":
        return gray_box(eq(0), ("Gain", {**gain[1], "control_type": "dynamic"}), eq(1), gain)
    return gray_box(eq(0), gain, ("DCOffset", {"control_type": offset}), (kind, curve), gain, eq(1), lowpass)


CURVE = {"hidden_dim": 32, "num_layers": 3, "w0_initial": 30.0, "lr_multiplier": 0.01}
CHAINS = {
    "comp": published_chain("comp", {}, ""),
    "dist-rnl": published_chain("StaticRationalNonlinearity", {}, "static"),
    "fuzz-rnl": published_chain("StaticRationalNonlinearity", {}, "dynamic"),
    "fuzz-mlp": published_chain(
        "StaticMLPNonlinearity", {**CURVE, "pretrained": "weights/static_mlp_nonlinearity_h32-l3_tanh.pt"}, "dynamic"
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_the_study_is_the_chain_that_is_here(name):
    conversion = Conversion({"model": CHAINS[name]})
    ours = build(conversion.config["model"]["effect"], 0)
    theirs = build_chain(name)
    links = list(zip(ours.links.values(), theirs.links.values(), strict=True))
    for mine, given in links:
        assert type(mine.processor) is type(given.processor)
        assert mine.processor.ranges == given.processor.ranges
        assert type(mine.controller) is type(given.controller)
        assert getattr(mine.controller, "sidechain", False) == getattr(given.controller, "sidechain", False)
    assert conversion.config["model"]["lr"] == 0.1
    assert "lr_multipliers" not in conversion.config["model"]
    curve = "stages.nonlinearity.processor.siren.siren.layers.0.weight"
    if curve in ours.state_dict():  # the same weights to start from
        assert torch.equal(ours.state_dict()[curve], theirs.state_dict()[curve])


@pytest.mark.parametrize("package", ["nablafx.system", "nnlafx.system", "nablafx.core", "nablafx.core.blackbox_system"])
def test_class_paths_of_every_age(package):
    old = black_box("TCN", STACK)
    old["class_path"] = f"{package}.BlackBoxSystemWithTBPTT"
    old["init_args"] |= {"step_num_samples": 4800, "lr": 0.001}
    old["init_args"]["model"]["class_path"] = "nnlafx.models.BlackBoxModel"
    old["init_args"]["model"]["init_args"]["processor"]["class_path"] = "nablafx.tcn.TCN"
    model = Conversion({"model": old}).config["model"]
    assert (model["tbptt_samples"], model["lr"]) == (4800, 0.001)
    # which the published framework had without saying so
    assert (model["schedule"], model["initialise"]) == ("PlateauSchedule", False)
    assert model["effect"]["class_path"] == "TCN"


def test_what_the_published_config_leaves_out_has_the_published_default():
    effect = Conversion({"model": black_box("TCN", {"causal": True})}).config["model"]["effect"]
    assert effect["init_args"] == {
        "num_blocks": 10,
        "kernel_size": 3,
        "dilation_growth": 2,
        "channel_width": 32,
        "stack_size": 10,
        "residual": False,
    }


WEIGHTED = {"l1": {"weight": 0.5, "loss": "torch.nn.L1Loss"}, "mrstft": {"weight": 0.5, "loss": "MultiResolutionSTFT"}}
OLD_LOSSES = {
    "flexible": LOSS,
    "two domains": {
        "class_path": "nnlafx.loss.TimeAndFrequencyDomainLoss",
        "init_args": {
            "time_domain_weight": 0.5,
            "frequency_domain_weight": 0.5,
            "time_domain_loss": {"class_path": "torch.nn.L1Loss"},
            "frequency_domain_loss": {"class_path": "auraloss.freq.MultiResolutionSTFTLoss"},
        },
    },
    "listed": {
        "class_path": "nablafx.loss.WeightedMultiLoss",
        "init_args": {
            "losses": [
                {"loss": {"class_path": "torch.nn.L1Loss"}, "weight": 0.5, "name": "l1"},
                {"loss": {"class_path": "auraloss.freq.MultiResolutionSTFTLoss"}, "weight": 0.5, "name": "mrstft"},
            ]
        },
    },
}


@pytest.mark.parametrize("loss", OLD_LOSSES)
def test_losses(loss):
    old = black_box("TCN", STACK)
    old["init_args"]["loss"] = OLD_LOSSES[loss]
    ours = Conversion({"model": old}).config["model"]["loss"]
    assert ours == {"class_path": "WeightedSum", "init_args": {"terms": WEIGHTED}}


def test_a_loss_without_a_counterpart_is_named():
    old = black_box("TCN", STACK)
    terms = [{"name": "edc_loss", "weight": 0.5}, {"name": "esr_loss", "weight": 1.0, "params": {"eps": 1e-6}}]
    old["init_args"]["loss"] = {"class_path": "nablafx.evaluation.FlexibleLoss", "init_args": {"losses": terms}}
    conversion = Conversion({"model": old})
    assert conversion.config["model"]["loss"]["init_args"]["terms"] == {"esr": {"loss": "ESRLoss"}}
    assert "loss: edc_loss (weight 0.5) has no counterpart and is left out" in conversion.notes.missing
    assert "loss: esr_loss.eps: 1e-06 has no counterpart" in conversion.notes.missing


def data(**changed) -> dict:
    arguments = {
        "root_dir_dry": "data/TONETWIST/EXTERNAL/keith-bloemer/DRY/trainval",
        "root_dir_wet": "data/TONETWIST/EXTERNAL/keith-bloemer/Klon/trainval/DSi_G090_T080_O060",
        "data_to_use": 1.0,
        "trainval_split": 0.9,
        "sample_length": 144000,
        "sample_rate": 48000,
        "preload": True,
        "batch_size": 16,
        "num_workers": 4,
    }
    return {"class_path": "nnlafx.data.DryWetFilesPluginDataModule", "init_args": {**arguments, **changed}}


def test_data():
    converted = Conversion({"data": data()}).config
    root = "data/TONETWIST/EXTERNAL/keith-bloemer"
    assert converted == {
        "data": {
            "dry": f"{root}/DRY",
            "wet": f"{root}/Klon",
            "setting": "DSi_G090_T080_O060",
            "num_workers": 4,
            "preload": True,
        }
    }
    wet = "data/FUZZ/trainval"
    knobs = Conversion({"data": data(root_dir_wet=wet, params_idxs_to_use=[0], data_to_use=0.9)}).config["data"]
    assert (knobs["wet"], knobs["controls"], knobs["data_to_use"]) == ("data/FUZZ", [0], 0.9)
    assert "setting" not in knobs


def test_a_test_config_is_that_of_the_training():
    old = data(root_dir_wet="d/Klon/test/G1", root_dir_dry="d/DRY/test", sample_length=240000, batch_size=8)
    assert Conversion({"data": old}).config["data"] == {
        "dry": "d/DRY",
        "wet": "d/Klon",
        "setting": "G1",
        "preload": True,
    }


def test_trainer():
    old = {
        "gradient_clip_val": 1.0,
        "gradient_clip_algorithm": "norm",
        "max_steps": 15000,
        "devices": None,
        "logger": {
            "class_path": "lightning.pytorch.loggers.wandb.WandbLogger",
            "init_args": {"project": "p", "entity": "e", "name": "n", "save_dir": "x", "group": "g", "tags": ["a"]},
        },
        "callbacks": [
            {
                "class_path": "lightning.pytorch.callbacks.EarlyStopping",
                "init_args": {"monitor": "loss/val/tot", "patience": 30, "verbose": True},
            },
            {"class_path": "lightning.pytorch.callbacks.ModelSummary", "init_args": {"max_depth": 2}},
            {"class_path": "lightning.pytorch.callbacks.DeviceStatsMonitor"},
            {"class_path": "nablafx.callbacks.FADComputationCallback", "init_args": {"compute_every_n_epochs": 10}},
            {"class_path": "nablafx.callbacks.AudioLoggingCallback", "init_args": {"log_every_n_steps": 3000}},
        ],
    }
    conversion = Conversion({"trainer": old})
    assert conversion.config == {
        "model": {"gradient_clip_val": 1.0, "gradient_clip_algorithm": "norm"},
        "name": "n",
        "trainer": {
            "logger": {
                "class_path": "WandbSink",
                "init_args": {"project": "p", "entity": "e", "group": "g", "tags": ["a"]},
            },
            "callbacks+": [{"class_path": "lightning.pytorch.callbacks.DeviceStatsMonitor"}],
            "max_steps": 15000,
        },
        "early_stopping": {"patience": 30},
        "media": {"log_media_every_n_steps": 3000},
    }
    assert "FADComputationCallback has no counterpart" in conversion.notes.missing


def test_mistakes_are_mended_in_a_config_and_kept_for_a_checkpoint():
    old = {"model": gray_box(("Highshelf", {}))}
    mended, kept = Conversion(old), Conversion(old, exact=True)
    for conversion, cls in ((mended, "Highshelf"), (kept, "Lowshelf")):
        (stage,) = conversion.config["model"]["effect"]["init_args"]["stages"].values()
        assert stage["processor"]["class_path"] == cls
    for conversion in (mended, kept):
        assert any("Highshelf" in note for note in conversion.notes.changed)


def test_a_learning_rate_of_a_stage_is_kept():
    old = gray_box(("Gain", {"lr_multiplier": 0.5}), ("StaticMLPNonlinearity", {"lr_multiplier": 1.0}))
    multipliers = Conversion({"model": old}).config["model"]["lr_multipliers"]
    assert multipliers == {"stages.gain": 0.5, "stages.nonlinearity": 100.0}  # times 0.01, which a curve has here


@pytest.mark.parametrize("case", ["gcn-tvfilm", "s4-film", "lstm-fixed", "dist-mlp-fir-inv", "fuzz-mlp-cond"])
def test_the_command_line_reads_what_is_converted(case, tmp_path):
    trainer = {"max_steps": 10, "callbacks": [{"class_path": "lightning.pytorch.callbacks.DeviceStatsMonitor"}]}
    knobs = {"params_idxs_to_use": [0, 1]} if Conversion({"model": CASES[case]}).num_controls else {}
    old = {"model": CASES[case], "data": data(**knobs), "trainer": trainer, "seed_everything": 42}
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(old))
    done = nablafx("convert", tmp_path / "old.yaml", "-o", tmp_path / "new.yaml")
    assert done.status == 0, done.err
    with pytest.raises(SystemExit) as ending:
        nablafx("fit", "-c", tmp_path / "new.yaml", "--print_config")
    assert ending.value.code == 0


def test_a_config_goes_to_the_terminal_or_to_a_new_file(tmp_path):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(yaml.safe_dump({"model": STUDY["s4/s"]}))
    shown = nablafx("convert", old)
    assert shown.out.startswith(f"# Converted by `nablafx convert` from {old}\n# changed: S4.s4_learning_rate")
    assert nablafx("convert", old, "-o", new).status == 0
    assert new.read_text() == shown.out
    again = nablafx("convert", old, "-o", new)
    assert (again.status, f"{new} exists; give another -o, or --overwrite" in again.err) == (1, True)
    assert nablafx("convert", old, "-o", new, "--overwrite").status == 0
