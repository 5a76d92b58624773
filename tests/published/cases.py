"""Small models of each kind in configs of the published framework. No imports: its environment reads this too."""

from __future__ import annotations

from typing import Any

NUM_CONTROLS = 2
SAMPLES = 700  # ends in the middle of a block
STACK = {"num_inputs": 1, "num_outputs": 1, "num_blocks": 4, "kernel_size": 5, "dilation_growth": 3, "channel_width": 4}
STACK = {**STACK, "channel_growth": 1, "stack_size": 12, "groups": 1, "bias": True, "causal": True, "batchnorm": False}
STACK = {**STACK, "residual": True, "direct_path": False, "cond_block_size": 128, "cond_num_layers": 1}
S4 = {"num_blocks": 2, "s4_state_dim": 3, "channel_width": 4, "residual": True, "act_type": "tanh"}
LSTM = {"hidden_size": 6, "num_layers": 1, "residual": True, "direct_path": False}
LOSS = {
    "class_path": "nablafx.evaluation.FlexibleLoss",
    "init_args": {
        "losses": [
            {"name": "l1_loss", "weight": 0.5, "alias": "l1"},
            {"name": "mrstft_loss", "weight": 0.5, "alias": "mrstft"},
        ]
    },
}


def black_box(name: str, arguments: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """The section `model` around one net."""
    processor = {"class_path": f"nablafx.processors.{name}", "init_args": {**arguments, **changed}}
    model = {"class_path": "nablafx.core.BlackBoxModel", "init_args": {"processor": processor}}
    arguments = {"lr": 0.005, "log_media_every_n_steps": 3000, "use_callbacks": True, "model": model, "loss": LOSS}
    return {"class_path": "nablafx.core.BlackBoxSystem", "init_args": arguments}


def gray_box(*stages: tuple[str, dict[str, Any]], num_controls: int = 0) -> dict[str, Any]:
    """The section `model` around a chain."""
    processors = [
        {"class_path": f"nablafx.processors.{name}", "init_args": {"sample_rate": 48000, **arguments}}
        for name, arguments in stages
    ]
    model = {
        "class_path": "nablafx.core.GreyBoxModel",
        "init_args": {"processors": processors, "num_controls": num_controls, "stat_control_params_initial": "rnd"},
    }
    arguments = {"lr": 0.1, "log_media_every_n_steps": 3000, "use_callbacks": True, "model": model, "loss": LOSS}
    return {"class_path": "nablafx.core.GreyBoxSystem", "init_args": arguments}


def eq(steering: str) -> tuple[str, dict[str, Any]]:
    return "ParametricEQ", {"min_gain_db": -3.0, "max_gain_db": 3.0, "max_q_factor": 1.0, "control_type": steering}


def gain(steering: str) -> tuple[str, dict[str, Any]]:
    return "Gain", {"min_gain_db": -4.0, "max_gain_db": 4.0, "control_type": steering}


def offset(steering: str) -> tuple[str, dict[str, Any]]:
    return "DCOffset", {"min_offset": -0.1, "max_offset": 0.1, "control_type": steering}


LOWPASS = ("Lowpass", {"min_cutoff_freq": 20000, "max_cutoff_freq": 20000, "min_q_factor": 0.7, "max_q_factor": 0.7})
MLP = ("StaticMLPNonlinearity", {"hidden_dim": 6, "num_layers": 3, "w0_initial": 30.0, "lr_multiplier": 0.01})
RATIONAL = ("StaticRationalNonlinearity", {"degrees": [6, 5]})
FIR = ("StaticFIRFilter", {"n_taps": 64, "hidden_dim": 6, "num_layers": 5, "w0_initial": 1000.0, "lr_multiplier": 0.01})
INVERSION: tuple[str, dict[str, Any]] = ("PhaseInversion", {})


def chain(*nonlinearity: tuple[str, dict[str, Any]], to_offset: str, steering: str, **given: Any) -> dict[str, Any]:
    """DIST or FUZZ around its curve; what follows the curve in `nonlinearity` goes before the low-pass."""
    before = [stage for stage in nonlinearity if stage is not FIR]
    after = [stage for stage in nonlinearity if stage is FIR]
    ends = (gain(steering), eq(steering), *after, LOWPASS)
    return gray_box(eq(steering), gain(steering), offset(to_offset), *before, *ends, **given)


KNOBS = {"num_controls": NUM_CONTROLS}
CASES: dict[str, dict[str, Any]] = {
    **{f"tcn-{act}": black_box("TCN", STACK, act_type=act) for act in ("tanh", "prelu", "rational")},
    "tcn-direct": black_box("TCN", STACK, direct_path=True, residual=False, bias=False),
    "tcn-growth": black_box("TCN", STACK, channel_growth=2, num_blocks=3),
    "tcn-pointwise": black_box("TCN", STACK, kernel_size=1),
    "gcn": black_box("GCN", STACK),
    "gcn-direct": black_box("GCN", STACK, direct_path=True),
    "s4": black_box("S4", S4),
    "s4-direct-prelu": black_box("S4", S4, direct_path=True, residual=False, act_type="prelu"),
    **{
        f"{name.lower()}-{kind}": black_box(name, arguments, cond_type=kind, **KNOBS)
        for name, arguments in (("TCN", STACK), ("GCN", STACK), ("S4", S4))
        for kind in ("film", "tfilm", "ttfilm", "tvfilm")
    },
    "tcn-tfilm-knobless": black_box("TCN", STACK, cond_type="tfilm"),
    "gcn-tvfilm-direct": black_box("GCN", STACK, cond_type="tvfilm", direct_path=True, **KNOBS),
    "lstm": black_box("LSTM", LSTM),
    "lstm-direct": black_box("LSTM", LSTM, num_layers=2, residual=False, direct_path=True),
    "lstm-fixed": black_box("LSTM", LSTM, cond_type="fixed", **KNOBS),
    "lstm-tvcond": black_box("LSTM", LSTM, cond_type="tvcond", **KNOBS),
    "comp": gray_box(eq("static"), gain("dynamic"), eq("static"), gain("static")),
    "dist-rnl": chain(RATIONAL, to_offset="static", steering="static"),
    "dist-mlp-fir-inv": chain(INVERSION, MLP, FIR, to_offset="static", steering="static"),
    "fuzz-rnl": chain(RATIONAL, to_offset="dynamic", steering="static"),
    "fuzz-mlp-cond": chain(MLP, to_offset="dynamic-cond", steering="static-cond", **KNOBS),
    "singles": gray_box(
        *((name, {"min_gain_db": -3.0, "max_gain_db": 3.0}) for name in ("Peaking", "Lowshelf", "Highshelf")),
        ("Highpass", {}),
        ("Lowpass", {}),
    ),
}
