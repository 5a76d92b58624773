"""A model as one file: weights, what builds them, what a user has to know, and a proof that it sounds as it did.

A bundle is a safetensors file, so that nothing in it can run. Its tensors are the effect's state dict under `effect.`
and the snapshot: `snapshot.x` and `snapshot.y` (1, 1, T), `snapshot.controls` (1, P) where the effect has controls. Its
header has one entry, `nablafx`, with JSON: format_version, effect (as a config describes it), sample_rate,
control_names, latency, name, facts and the version of nablafx that wrote it. Readers leave fields alone that they do
not know; what changes the meaning of one raises format_version.
"""

from __future__ import annotations

import json
import math
from argparse import ArgumentError
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nablafx.data.audio import RATES_HZ
from nablafx.effects import Effect
from nablafx.export import nam
from nablafx.export.formats import Check, Request, compare
from nablafx.export.model import Facts, Model
from nablafx.training.build import build_with
from nablafx.training.checkpoints import CheckpointError
from nablafx.trust import PARTS

SUFFIX = ".nablafx"
FORMAT_VERSION = 1
_KEY = "nablafx"
_EFFECT, _SNAPSHOT = "effect.", "snapshot."
_SNAPSHOT_SAMPLES = 4096
# of the snapshot: other processors round otherwise, other weights are far from it
_LIMIT = 1e-8
# what is built is described by classes of these rooms alone, whatever else the user allows to configs
_ROOMS = tuple(map(import_module, PARTS))
_KNOWN = {name for room in _ROOMS for name in room.__all__}
_KNOWN |= {f"{room.__name__}.{name}" for room in (*_ROOMS, nam) for name in room.__all__}


class BundleError(CheckpointError):
    """A bundle that cannot be read, or that does not sound as it did."""


def write(model: Model, path: Path, request: Request) -> None:
    """Write a bundle.

    Raises:
        BundleError: the effect has classes that are not of nablafx, and so could not be built elsewhere.
    """
    _check_classes(model.description, path)
    x = _loudest(request.audio)
    tensors = {f"{_EFFECT}{name}": value for name, value in model.effect.state_dict().items()}
    tensors |= {f"{_SNAPSHOT}x": x, f"{_SNAPSHOT}y": _run(model.effect, x, request.controls)}
    if request.controls is not None:
        tensors[f"{_SNAPSHOT}controls"] = request.controls
    header = {
        "format_version": FORMAT_VERSION,
        "nablafx": version("nablafx"),
        "name": model.name,
        "effect": _without_files(model.description),
        "sample_rate": model.sample_rate,
        "control_names": list(model.control_names),
        "latency": model.latency,
        "facts": model.facts,
    }
    kept = {name: value.detach().contiguous() for name, value in tensors.items()}
    path.write_bytes(save(kept, {_KEY: json.dumps(header, allow_nan=False)}))


def check(model: Model, path: Path, request: Request) -> list[Check]:
    """Read the bundle again, and compare it over all of the audio."""
    again = read_bundle(path)
    heard, expected = (_run(effect, request.audio, request.controls) for effect in (again.effect, model.effect))
    return [compare("nablafx", heard, expected, model.sample_rate, 0.0)]


def read_bundle(path: str | Path) -> Model:
    """The model of a bundle, after it has proved by its snapshot that it sounds as it did when it was written.

    Raises:
        BundleError: no such file, or it is damaged, foreign, of a newer version, wants classes that are not of nablafx,
            or sounds otherwise.
    """
    tensors, header = _content(Path(path))
    _check_classes(header["effect"], path)
    names = tuple(header["control_names"])
    weights = {name.removeprefix(_EFFECT): value for name, value in tensors.items() if name.startswith(_EFFECT)}
    try:
        effect = build_with(weights, path, _without_files(header["effect"]), len(names), header["sample_rate"])
    except CheckpointError:
        raise
    except (ArgumentError, LookupError, TypeError, ValueError) as error:
        raise BundleError(f"{path} describes no effect of this version of nablafx: {error}") from error
    effect.requires_grad_(False)
    _check_snapshot(effect, tensors, header["sample_rate"], path)
    return Model(effect, header["sample_rate"], names, header["name"], header["effect"], header["facts"])


def _content(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise BundleError(f"there is no bundle {path}; `nablafx export RUN --format bundle` writes one")
    try:
        with safe_open(path, framework="pt") as file:
            told = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read ({error}); it is damaged, or no bundle of nablafx") from error
    if told is None:
        raise BundleError(f"{path} is no bundle of nablafx: its header does not say what its tensors are")
    return tensors, _header(told, path)


def _header(told: str, path: Path) -> dict[str, Any]:
    """The header, checked: every field that is used is there, and is what it must be."""
    try:
        header = json.loads(told)
    except (ValueError, RecursionError):
        header = None
    number = header.get("format_version") if isinstance(header, dict) else None
    if not isinstance(header, dict) or type(number) is not int or number < 1:
        raise BundleError(f"{path}: its header is damaged; export the model anew")
    if number > FORMAT_VERSION:
        raise BundleError(
            f"{path} is a bundle of format {number}, made by nablafx {header.get('nablafx')}; this version reads up to "
            f"{FORMAT_VERSION}: install a newer one"
        )
    facts = {"name": str(path.stem), "facts": {}, **header}
    rate, names, effect = facts.get("sample_rate"), facts.get("control_names"), facts.get("effect")
    class_path = effect.get("class_path") if isinstance(effect, dict) else effect
    wrong = [
        *([] if isinstance(class_path, str) else ["effect"]),
        *([] if type(rate) is int and 0 < rate <= RATES_HZ[1] else ["sample_rate"]),
        *([] if isinstance(names, list) and all(isinstance(n, str) for n in names) else ["control_names"]),
        *([] if _sound(facts["facts"]) else ["facts"]),
        *([] if isinstance(facts["name"], str) else ["name"]),
    ]
    if wrong:
        raise BundleError(f"{path}: its header says nothing usable of {' and '.join(wrong)}; export the model anew")
    return facts


def _sound(facts: Any) -> bool:
    """Whether what is known of Facts has its type."""
    if not isinstance(facts, dict):
        return False
    known = {name: kind for name, kind in get_type_hints(Facts).items() if name in facts}
    # JSON writes a number without a fraction as a whole one
    if not all(
        isinstance(facts[name], (int, float) if kind is float else get_origin(kind) or kind)
        for name, kind in known.items()
    ):
        return False
    return all(isinstance(value, (int, float)) for value in facts.get("metrics", {}).values())


def _check_snapshot(effect: Effect, tensors: dict[str, Tensor], sample_rate: int, path: str | Path) -> None:
    x, y = tensors.get(f"{_SNAPSHOT}x"), tensors.get(f"{_SNAPSHOT}y")
    if x is None or y is None or x.shape != y.shape or not 0 < x.numel() <= 2**20:
        raise BundleError(f"{path} has no snapshot of what it sounds like; export the model anew")
    try:
        heard = _run(effect, x, tensors.get(f"{_SNAPSHOT}controls"))
    except (LookupError, RuntimeError, TypeError, ValueError) as error:
        raise BundleError(f"{path}: its snapshot does not fit its effect ({error}); export the model anew") from error
    found = compare("nablafx", heard, y, sample_rate, _LIMIT)
    if not found.passed:
        raise BundleError(
            f"{path} does not sound as it did when it was written (ESR {found.esr:.1e}, {_LIMIT:.0e} is allowed); its "
            "weights are damaged, or this version of nablafx computes something else: export the model anew"
        )


def _run(effect: Effect, x: Tensor, controls: Tensor | None) -> Tensor:
    with torch.inference_mode():
        return effect(x, controls)[0].clone()


def _loudest(audio: Tensor) -> Tensor:
    """The stretch of (1, 1, T) around its largest sample; whole frames of any size in use."""
    start = int(audio.abs().argmax()) - _SNAPSHOT_SAMPLES // 2
    start = max(0, min(start, audio.shape[-1] - _SNAPSHOT_SAMPLES))
    return audio[..., start : start + _SNAPSHOT_SAMPLES].clone()


def _check_classes(description: Any, path: str | Path) -> None:
    for name in _classes(description):
        if name not in _KNOWN:
            raise BundleError(
                f"{path}: the effect is made of {name}, which is no class of nablafx; a bundle builds nothing else"
            )


def _classes(value: Any) -> Iterator[str]:
    """Every name of a class in a description: after class_path, and where one stands alone."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in ("class_path", "processor", "controller", "conditioning") and isinstance(inner, str):
                yield inner
            elif not isinstance(inner, str):
                yield from _classes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from () if isinstance(inner, str) else _classes(inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise BundleError(f"the effect is described by {value}, which is no number")


def _without_files(value: Any) -> Any:
    """A description that needs no file: what was started from pre-trained weights has its own now."""
    if isinstance(value, dict):
        return {key: _without_files(inner) for key, inner in value.items() if key != "pretrained"}
    return [_without_files(inner) for inner in value] if isinstance(value, list) else value
