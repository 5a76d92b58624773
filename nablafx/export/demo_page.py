"""What a demo's folder holds: the page, the model, a riff, and the runtime."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from nablafx.export.arguments import read_mono
from nablafx.export.command import save
from nablafx.export.demo_runtime import FILES, VERSION, get_runtime
from nablafx.export.formats import Request
from nablafx.export.model import Model

DESCRIPTION = "model.json"
RIFF_SECONDS = 10
# of the page and of what it starts: nothing but its own folder
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; connect-src 'self'; "
    "worker-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"
)
_ASSETS = files("nablafx.export") / "demo_assets"
_STYLE = files("nablafx.report") / "assets" / "page.css"
_COPIED = ("page.js", "live.js", "runner.js", "wav.js", "worker.js", "worklet.js")
_PAGE, _STYLES, _RUNTIME = "index.html", "page.css", "ort"
_MODEL, _RIFF, _TERMS = "model.onnx", "riff.flac", "riff-license.txt"
# all that a demo may hold
CONTENTS = {DESCRIPTION, _PAGE, _MODEL, _RIFF, _TERMS, _STYLES, _RUNTIME, *_COPIED}


def write_page(
    folder: Path,
    model: Model,
    controls: Tensor | None,
    block_size: int,
    riff: np.ndarray,
    name: str,
    terms: Path | None,
) -> None:
    """Write everything into an empty folder.

    Args:
        controls: (1, P), the knobs at first; None for an effect without.
        riff: (T,) of 16-bit samples at the model's rate, called `name`.
        terms: the file that says what may be done with the riff.

    Raises:
        UserError: the runtime cannot be got, or the model not exported.
    """
    runtime = get_runtime()
    # the check runs two blocks or more
    heard = np.pad(riff.astype(np.float32) / 2**15, (0, max(2 * block_size - len(riff), 0)))
    audio = torch.from_numpy(heard).view(1, 1, -1)
    save("onnx", model, folder / _MODEL, Request(controls, block_size, audio))
    soundfile.write(folder / _RIFF, riff, model.sample_rate, subtype="PCM_16")
    knobs = [] if controls is None else [round(value, 2) for value in controls[0].tolist()]
    told = {
        "nablafx": version("nablafx"),
        "sample_rate": model.sample_rate,
        "block_size": block_size,
        "controls": knobs,
        "states": _states(folder / _MODEL),
        # what is left of the past is gone by then: exactly, or for what never ends, after a second almost
        "settle": model.effect.receptive_field or model.sample_rate,
        "riff": _RIFF,
    }
    (folder / DESCRIPTION).write_text(json.dumps(told), encoding="utf-8")
    if terms:
        shutil.copyfile(terms, folder / _TERMS)
    page = _render(model, knobs, block_size, name, _TERMS if terms else None)
    (folder / _PAGE).write_text(page, encoding="utf-8")
    _write_assets(folder, runtime)


def _write_assets(folder: Path, runtime: Path) -> None:
    """What is the same for every model."""
    for file in _COPIED:
        (folder / file).write_text(_asset(file), encoding="utf-8")
    style = _STYLE.read_text(encoding="utf-8") + _asset(_STYLES)
    (folder / _STYLES).write_text(style, encoding="utf-8")
    (folder / _RUNTIME).mkdir()
    for file in FILES:
        shutil.copyfile(runtime / file, folder / _RUNTIME / file)
    (folder / _RUNTIME / "LICENSE.txt").write_text(_asset("onnxruntime-license.txt"), encoding="utf-8")


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def read_riff(path: Path, sample_rate: int) -> np.ndarray:
    """The first seconds of a file's first channel at another rate, (T,) of 16 bits.

    Raises:
        UserError: it cannot be read, or is empty.
    """
    mono = read_mono(path, sample_rate, "--riff", RIFF_SECONDS)
    return np.clip(np.rint(mono * 2**15), -(2**15), 2**15 - 1).astype(np.int16)


def _render(model: Model, knobs: list[float], block_size: int, riff: str, terms: str | None) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("page.html")).render(
        name=model.name,
        controls=list(zip(model.control_names, knobs, strict=False)),
        facts=_facts(model),
        block_size=block_size,
        sample_rate=model.sample_rate,
        riff=riff,
        terms=terms,
        runtime=VERSION,
        version=version("nablafx"),
        policy=POLICY,
    )


def _facts(model: Model) -> list[tuple[str, str]]:
    """What is known of the model, to be read."""
    facts: dict[str, Any] = dict(model.facts)
    metrics = facts.get("metrics", {})
    late = f"{model.latency} samples, within the buffer's" if model.latency else "none"
    told = {
        "Author": facts.get("author"),
        "Licence": facts.get("license"),
        "Comment": facts.get("comment"),
        "Gear": " ".join(str(facts[key]) for key in ("gear_make", "gear_model", "gear_type") if key in facts),
        "Tone": facts.get("tone_type"),
        "Made": facts.get("created"),
        "Test audio": ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()),
        "Validation ESR": f"{facts['validation_esr']:.4g}" if "validation_esr" in facts else None,
        "Optimizer steps": f"{facts['steps']:,}" if "steps" in facts else None,
        "Effect": type(model.effect).__name__,
        "Parameters": f"{sum(p.numel() for p in model.effect.parameters()):,}",
        "Sample rate": f"{model.sample_rate:,} Hz",
        "Look-ahead": late,
    }
    return [(key, str(value)) for key, value in told.items() if value]


def _states(path: Path) -> list[dict[str, Any]]:
    """Of each tensor of the model's state its names, type and shape; a stream begins with zeros."""
    import onnx

    graph = onnx.load(path).graph
    inputs = [value for value in graph.input if value.name not in ("x", "controls")]
    outputs = [value for value in graph.output if value.name != "y"]
    states = []
    for before, after in zip(inputs, outputs, strict=True):
        tensor = before.type.tensor_type
        shape = [dim.dim_value for dim in tensor.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        states.append({"input": before.name, "output": after.name, "type": kind, "shape": shape})
    return states
