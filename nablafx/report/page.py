"""The page: one file with everything in it, for a browser without a network."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from nablafx.plots import plot_histories, plot_history
from nablafx.report.compare import HIGHER_IS_BETTER
from nablafx.report.gather import KINDS, Entry, Picture, Scene, Track
from nablafx.report.runs import NOT_RECORDED, SHOWN, known_metrics
from nablafx.report.sound import flac, matching_gains, peaks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ASSETS = files("nablafx.report") / "assets"
# of the page: nothing from elsewhere, and of scripts and styles its own, by their digests
POLICY = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"
MEANINGS = {
    "esr": "energy of the error to that of the target",
    "mrstft": "multi-resolution STFT loss: spectral convergence and log-magnitude differences",
    "mae": "mean absolute error",
    "mape": "mean absolute error to the target's magnitude, sample by sample",
    "mse": "mean squared error",
    "cosine": "cosine similarity; 1 is best",
    "logcosh": "mean log-cosh of the error",
    "dc": "the part of esr that is a constant offset",
    "lufs": "difference of integrated loudness, in LU",
    "crest": "difference of crest factors, in dB",
    "gain": "mean difference of the gains over time, in dB: what counts for compressors",
    "asr": "aliasing to signal, in dB, of sines through the model; a figure of the model alone",
    "fad": "Fréchet distance between the sets of target and predicted audio in the embedding named after it",
}


def render(
    entries: Sequence[Entry], scenes: Sequence[Scene], histories: Mapping[str, Mapping[str, Any]], title: str
) -> str:
    """The HTML of a page about these runs. `histories`: of each run, by its label, as `read_history` gives them."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    read = FunctionLoader(lambda name: (ASSETS / name).read_text(encoding="utf-8"))
    environment = Environment(
        loader=read, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    script, style = (_digest(environment.get_template(name).render()) for name in ("script.js", "page.css"))
    known = known_metrics(entry.run for entry in entries)
    metrics = list(dict.fromkeys([*(name for name in SHOWN if name in known), *known]))
    return environment.get_template("page.html").render(
        policy=f"{POLICY}; script-src {script}; style-src {style}",
        title=title,
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        version=version("nablafx"),
        metrics=metrics,
        best=_best(entries, metrics),
        meanings=[(name, MEANINGS[kind]) for name in metrics if (kind := name.split("_")[0]) in MEANINGS],
        runs=[_run(entry) for entry in entries],
        scenes=[_scene(scene) for scene in scenes],
        training=[_shown(picture) for picture in _curves(histories)],
        several=len(entries) > 1,
    )


def _digest(text: str) -> str:
    """How a Content-Security-Policy names what may stand in a page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _best(entries: Sequence[Entry], metrics: Sequence[str]) -> dict[str, float]:
    """Of each metric, over runs of one device; of several devices, none is better than another."""
    if len(entries) < 2 or len({tuple(entry.run.device.values()) for entry in entries}) > 1:
        return {}
    best = {}
    for name in metrics:
        values = [v for entry in entries if not math.isnan(v := entry.run.metrics.get(name, math.nan))]
        if values:
            best[name] = (max if name in HIGHER_IS_BETTER else min)(values)
    return best


def _run(entry: Entry) -> dict[str, Any]:
    run = entry.run
    return {
        "label": entry.label,
        "note": entry.note,
        "name": run.name,
        "device": run.data,
        "parameters": run.record.get("parameters"),
        "metrics": {name: _cell(value) for name, value in run.metrics.items()},
        "files": [(file, {name: _cell(value) for name, value in values.items()}) for file, values in run.files.items()],
        "facts": _facts(entry),
        "split": _split(entry),
        "pictures": [_shown(picture) for picture in entry.pictures],
        "stages": entry.stages,
        "config": entry.config,
    }


def _cell(value: float) -> tuple[str, str]:
    """As it is sorted, and as it is read."""
    return ("", "—") if math.isnan(value) else (repr(value), f"{value:.4g}")


def _facts(entry: Entry) -> dict[str, str]:
    run, record = entry.run, entry.run.record
    seconds = record.get("seconds")
    field, rate = record.get("receptive_field"), record.get("sample_rate")
    reach = f"{field:,} samples ({1000 * field / rate:.0f} ms)" if field and rate else "without end, or not recorded"
    facts = {
        "Run": run.name,
        "Folder": str(run.folder),
        "Wet audio": ", ".join(f"{key} {value}" for key, value in run.device.items() if value != "None"),
        "Dry audio": str(run.facts["dry audio"]),
        "Controls": ", ".join(record.get("controls") or ()) or "none",
        "Sample rate": f"{rate:,} Hz" if rate else "not recorded",
        "Effect": str(record.get("effect", "not recorded")),
        "Parameters": f"{record['parameters']:,}" if "parameters" in record else "not recorded",
        "Receptive field": reach,
        "Seed": str(run.seed),
        "Optimizer steps": f"{record.get('steps', 0):,}, the best after {record.get('best_step')}",
        "Time of training": "not recorded" if seconds is None else f"{seconds / 60:.1f} min on {record.get('device')}",
        "Versions": f"nablafx {record.get('nablafx')}, torch {record.get('torch')}",
    }
    return facts


def _split(entry: Entry) -> list[tuple[str, str]]:
    """The files that trained, validated and tested, with their stretches in seconds."""
    record = entry.run.record
    rate = record.get("sample_rate") or 1
    rows = []
    for file in record.get("split", NOT_RECORDED)["files"]:
        stretches = {"train": file.get("train"), "val": file.get("val")}
        told = [f"{part} {s[0] / rate:.1f} to {s[1] / rate:.1f} s" for part, s in stretches.items() if s]
        rows.append((file["name"], ", ".join(told) or "not used"))
    return [*rows, *((file["name"], f"test, {file['frames'] / rate:.1f} s") for file in record["test"]["files"])]


def _scene(scene: Scene) -> dict[str, Any]:
    tracks = [track for kind in KINDS for track in scene.of(kind)]
    target = next(number for number, track in enumerate(tracks) if track.kind == "target")
    # a difference as loud as the target would not tell how small it is
    matched = {number: track.audio for number, track in enumerate(tracks) if track.kind != "difference"}
    gains = matching_gains(matched, target, scene.sample_rate)
    return {
        "title": f"{scene.device}: {scene.name}",
        "rate": scene.sample_rate,
        "start": scene.start / scene.sample_rate,
        "seconds": len(tracks[0].audio) / scene.sample_rate,
        "tracks": [
            {
                "label": track.label,
                "kind": track.kind,
                "gain": round(gains.get(number, 0.0), 2),
                "peaks": peaks(track.audio),
                # the page subtracts by itself
                "audio": "" if track.kind == "difference" else flac(track.audio, scene.sample_rate),
                "of": _prediction_of(track, tracks),
            }
            for number, track in enumerate(tracks)
        ],
    }


def _prediction_of(track: Track, tracks: Sequence[Track]) -> int | None:
    """The place of the prediction that a difference is of."""
    if track.kind != "difference":
        return None
    return next(n for n, other in enumerate(tracks) if (other.kind, other.run) == ("prediction", track.run))


def _curves(histories: Mapping[str, Mapping[str, Any]]) -> list[Picture]:
    logged = {label: history for label, history in histories.items() if history.get("loss/val/total")}
    if len(logged) > 1:
        about = "validation loss and ESR over the optimizer steps, a line a run"
        return [Picture("Training of all runs", about, lambda dark: plot_histories(logged, "Training", dark))]
    about = "loss, metrics of validation and learning rate over the optimizer steps"
    return [
        Picture(f"Training of {label}", about, lambda dark, h=history: plot_history(h, "Training", dark))  # type: ignore[misc]
        for label, history in logged.items()
    ]


def _shown(picture: Picture) -> dict[str, str]:
    return {
        "title": picture.title,
        "about": picture.about,
        "light": webp(picture.paint(False)),
        "dark": webp(picture.paint(True)),
    }


def webp(figure: Figure) -> str:
    """A figure as base64 of a lossless WebP: half the size of PNG."""
    target = io.BytesIO()
    figure.savefig(target, format="webp", pil_kwargs={"lossless": True, "quality": 60})
    return base64.b64encode(target.getvalue()).decode()
