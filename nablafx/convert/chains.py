"""Published gray-box chains, in this framework's terms."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from nablafx import processors
from nablafx.controllers import DynamicCondController, DynamicController, StaticCondController, StaticController
from nablafx.convert.nets import Described, cold_start
from nablafx.convert.old import Arguments, NoCounterpartError, Notes, described, split_class
from nablafx.effects import GrayBox
from nablafx.processors import Processor

PUBLISHED_RATE = 48_000
# of a curve whose ends nobody reaches: published, there are none
FAR = 1000.0
# kind of parameter: the published names of the ends of its range
ENDS = {
    "gain_db": ("min_gain_db", "max_gain_db"),
    "cutoff_hz": ("min_cutoff_freq", "max_cutoff_freq"),
    "q": ("min_q_factor", "max_q_factor"),
    "offset": ("min_offset", "max_offset"),
    "shift_deg": ("min_shift", "max_shift"),
}
RANGES = {"gain_db": (-12.0, 12.0), "q": (0.1, 10.0), "offset": (-2.0, 2.0), "shift_deg": (-180.0, 180.0)}
CUTOFFS = {
    "Peaking": (20.0, 20_000.0),
    "Lowpass": (2000.0, 20_000.0),
    "Highpass": (20.0, 2000.0),
    "Lowshelf": (20.0, 2000.0),
    "Highshelf": (200.0, 2000.0),
}
STEERED = {*CUTOFFS, "ParametricEQ", "ShelvingEQ", "Gain", "DCOffset", "PhaseShift"}
STAGE_NAMES = {
    "ParametricEQ": "eq",
    "ShelvingEQ": "eq",
    "DCOffset": "offset",
    "PhaseInversion": "inversion",
    "PhaseShift": "phase",
    "StaticFIRFilter": "fir",
    "StaticMLPNonlinearity": "nonlinearity",
    "StaticRationalNonlinearity": "nonlinearity",
    "TanhNonlinearity": "nonlinearity",
}


class Chain(NamedTuple):
    """A converted chain.

    Attributes:
        effect: of a config.
        lr_multipliers: of a config's model, for stages whose rate is not that of their processor here.
        stages: the name of each stage, and the name and arguments of its published processor.
    """

    effect: Described
    lr_multipliers: dict[str, float]
    stages: dict[str, tuple[str, dict[str, Any]]]


def convert_chain(model: Arguments, exact: bool) -> Chain:
    """A chain of the arguments of a published GreyBoxModel; `exact` as for :func:`convert_net`.

    Raises:
        NoCounterpartError: this framework has no such processor or controller.
    """
    notes = model.notes
    controls = model.take("num_controls", 0)
    if controls:
        notes.change(f"{model.where}.num_controls: {controls}, as the data say (data.controls), and not in the model")
    listed = model.take("processors") or []
    recipes = _controllers(model, notes)
    model.end()
    stages: dict[str, Any] = {}
    origins, multipliers = {}, {}
    for given in listed:
        name, old, _ = split_class(given, notes)
        stage = _unique(STAGE_NAMES.get(name, name.lower()), stages)
        origins[stage] = (name, dict(given.get("init_args") or {}) if isinstance(given, dict) else {})
        stages[stage], factor = _stage(name, old, recipes, exact)
        if factor != 1:
            multipliers[f"stages.{stage}"] = factor
    if exact:
        notes.change(
            "GreyBoxModel: nothing is clipped between stages; published, filters clipped to full scale in tests"
        )
    values = {"stages": stages, "cold_start": cold_start(exact, model)}
    return Chain(described(GrayBox, values), multipliers, origins)


def _unique(name: str, taken: dict[str, Any]) -> str:
    number = 2
    candidate = name
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def _stage(name: str, old: Arguments, recipes: dict[str, Described], exact: bool) -> tuple[dict[str, Any], float]:
    """A stage, and the factor of its learning rate beside that of its processor here."""
    make = _other if name in OTHERS else _steered if name in STEERED else None
    if make is None:
        raise NoCounterpartError(f"there is no counterpart of the published processor {name}")
    rate = old.take("sample_rate", PUBLISHED_RATE)
    if rate != PUBLISHED_RATE:
        old.notes.change(f"{name}.sample_rate: {rate}, as the data say (data.sample_rate), and not in the model")
    factor = old.take("lr_multiplier", 1.0)
    steering = old.take("control_type", "static") if name in STEERED else None
    if steering is not None and steering not in recipes:
        raise NoCounterpartError(f"{name}: control_type {steering} has no counterpart; there are {', '.join(recipes)}")
    cls, values = make(name, old, exact)
    if steering in ("dynamic", "dynamic-cond") and issubclass(cls, processors.SosProcessor):
        old.notes.change(
            f"{name}: keeps its state from block to block; the published filter began anew in each, and clicked"
        )
    old.end()
    controller = {} if steering is None else {"controller": recipes[steering]}
    return {"processor": described(cls, values), **controller}, factor / cls.lr_multiplier


def _controllers(model: Arguments, notes: Notes) -> dict[str, Described]:
    """By control type, what each of its controllers is."""
    initial = model.take("stat_control_params_initial", 0.0)
    start = initial if initial == "rnd" else 1 / (1 + math.exp(-float(initial)))
    static = described(StaticController, {"init": start})
    model.need("stat_cond_num_layers", 3, 3)
    static_cond = described(StaticCondController, {"hidden_size": model.take("stat_cond_hidden_dim", 16)})
    dynamic: list[Described] = []
    for cls, prefix in ((DynamicController, "dyn"), (DynamicCondController, "dyn_cond")):
        model.need(f"{prefix}_num_layers", 1, 1)
        values = {"block_size": model.take(f"{prefix}_block_size", 128), "sidechain": True}
        dynamic.append(described(cls, values))
    return {"static": static, "static-cond": static_cond, "dynamic": dynamic[0], "dynamic-cond": dynamic[1]}


Made = tuple[type[Processor], dict[str, Any]]


def _steered(name: str, old: Arguments, exact: bool) -> Made:
    """A processor whose parameters have ranges."""
    old.drop("block_size")
    if name == "PhaseShift":
        old.notes.change("PhaseShift: turns all frequencies by one angle; published, it mixed in the sample before")
    if name == "Highshelf":
        if exact:
            name = "Lowshelf"
            old.notes.change("Highshelf: a Lowshelf, which is what the published one computed")
        else:
            old.notes.change("Highshelf: a high shelf; published, it was a low shelf")
    ranges = {**RANGES, "cutoff_hz": CUTOFFS.get(old.where), **({"gain_db": (-32.0, 32.0)} if name == "Gain" else {})}
    spans = {}
    for kind, default in ranges.items():
        if default is not None:
            low, high = (old.take(end, value) for end, value in zip(ENDS[kind], default, strict=True))
            spans[kind] = [low, high]
    cls = getattr(processors, name)
    values = {
        parameter: span
        for parameter in inspect.signature(cls).parameters
        for kind, span in spans.items()
        if parameter == kind or parameter.endswith(f"_{kind}")
    }
    return cls, values


def _plain(name: str, old: Arguments, exact: bool) -> Made:
    return getattr(processors, name), {}


def _rational(name: str, old: Arguments, exact: bool) -> Made:
    old.need("init_approx_func", "tanh", "tanh")
    return processors.StaticRationalNonlinearity, {"degrees": list(old.take("degrees", (6, 5)))}


def _siren(old: Arguments) -> dict[str, Any]:
    values = {
        "hidden_size": old.take("hidden_dim", 64),
        "num_hidden": old.take("num_layers", 3),
        "w0": old.take("w0_initial", 30.0),
    }
    old.notes.change(f"{old.where}: w0 multiplies every layer; published, the first alone")
    return values


def _curve(name: str, old: Arguments, exact: bool) -> Made:
    values, pretrained = _siren(old), old.take("pretrained")
    if exact:
        return processors.StaticMLPNonlinearity, {**values, "reach": FAR}
    if pretrained is not None and values["num_hidden"] == 3 and values["w0"] == 30:
        ours = f"weights/tanh-{values['hidden_size']}.safetensors"
        old.notes.change(f"StaticMLPNonlinearity.pretrained: {ours}, in place of {pretrained}")
        values["pretrained"] = ours
    elif pretrained is not None:
        old.notes.miss(f"StaticMLPNonlinearity.pretrained: {pretrained}; `nablafx pretrain tanh` makes its counterpart")
    return processors.StaticMLPNonlinearity, values


def _fir(name: str, old: Arguments, exact: bool) -> Made:
    values, pretrained = {"num_taps": old.take("n_taps"), **_siren(old)}, old.take("pretrained")
    if pretrained is not None and not exact:
        old.notes.miss(f"StaticFIRFilter.pretrained: {pretrained}; `nablafx pretrain fir` makes its counterpart")
    return processors.StaticFIRFilter, values


OTHERS: dict[str, Callable[[str, Arguments, bool], Made]] = {
    "PhaseInversion": _plain,
    "TanhNonlinearity": _plain,
    "StaticRationalNonlinearity": _rational,
    "StaticMLPNonlinearity": _curve,
    "StaticFIRFilter": _fir,
}


def _other(name: str, old: Arguments, exact: bool) -> Made:
    return OTHERS[name](name, old, exact)
