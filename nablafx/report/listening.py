"""A listening test for webMUSHRA: its config, and what is to be rated."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from nablafx.errors import UserError
from nablafx.report.gather import Scene
from nablafx.report.sound import matching_gains
from nablafx.training.files import write_wav
from nablafx.writing import replacing

# webMUSHRA refuses more, as ITU-R BS.1534 does
MOST_SECONDS = 12.0
MOST_CONDITIONS = 12
NAME = "nablafx"
ANCHOR_HZ = 3500.0
ANCHOR_STOP_HZ = 4000.0
ANCHOR_STOP_DB = 60.0
INTRODUCTION = (
    "You will hear a reference and several versions of it, one of them the reference itself. Rate how close each is to "
    "the reference: 100 for what you cannot tell from it."
)


def write_listening_test(folder: Path, scenes: Sequence[Scene], labels: Sequence[str]) -> Path:
    """Write `configs/nablafx.yaml` with its stimuli below `configs/resources/nablafx`, and return the config's path.

    A page a scene, in random order: the target as reference, which webMUSHRA also hides among the conditions, its
    3.5 kHz anchor, and the prediction of every run (`labels`). Predictions have the loudness of the target.

    Raises:
        UserError: there is no audio, it is too long, there are too many models, or the folder cannot be written.
    """
    _check(scenes, labels)
    pages = []
    rows = []
    try:
        for number, scene in enumerate(scenes):
            stimuli = _stimuli(scene, labels)
            paths = {}
            for name, audio in stimuli.items():
                paths[name] = f"configs/resources/{NAME}/trial-{number + 1}/{name}.wav"
                # at what the audio has: 32-bit float, which webMUSHRA's browsers read
                write_wav(folder / paths[name], torch.from_numpy(audio).float(), scene.sample_rate)
                rows.append([paths[name], name, scene.device, scene.name, scene.start / scene.sample_rate])
            pages.append(_page(number, paths))
        config = folder / "configs" / f"{NAME}.yaml"
        with replacing(config) as temporary:
            temporary.write_text(yaml.safe_dump(_config(pages), sort_keys=False, width=1000))
        with replacing(folder / "stimuli.csv") as temporary, temporary.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([["path", "condition", "device", "file", "start_s"], *rows])
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error}; name another folder after --listening-test") from error
    return config


def low_pass_anchor(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """The 3.5 kHz anchor of ITU-R BS.1534-3 (section 5.1) for audio (T,), without delay.

    Flat to 0.1 dB up to 3.5 kHz; from 4 kHz on 60 dB down, where 25 dB at 4 kHz and 50 dB at 4.5 kHz are asked for.
    """
    if sample_rate <= 2 * ANCHOR_STOP_HZ:
        return audio
    width = (ANCHOR_STOP_HZ - ANCHOR_HZ) / sample_rate
    half = int(np.ceil((ANCHOR_STOP_DB - 7.95) / (2.285 * 2 * np.pi * width) / 2))
    middle = (ANCHOR_HZ + ANCHOR_STOP_HZ) / 2 / sample_rate
    steps = np.arange(-half, half + 1)
    taps = 2 * middle * np.sinc(2 * middle * steps) * np.kaiser(2 * half + 1, 0.1102 * (ANCHOR_STOP_DB - 8.7))
    return np.convolve(audio.astype(np.float64), taps / taps.sum())[half : half + len(audio)]


def _check(scenes: Sequence[Scene], labels: Sequence[str]) -> None:
    if not scenes:
        raise UserError("a listening test needs audio, and there is none: the data of the runs are not here")
    seconds = max(len(scene.tracks[0].audio) / scene.sample_rate for scene in scenes)
    if seconds > MOST_SECONDS:
        raise UserError(f"webMUSHRA takes {MOST_SECONDS:g} s a trial, and these have {seconds:.1f} s; set --seconds")
    if len(labels) + 2 > MOST_CONDITIONS:
        raise UserError(
            f"webMUSHRA takes {MOST_CONDITIONS} conditions, reference and anchor among them, and there are "
            f"{len(labels)} models; name fewer runs"
        )


def _stimuli(scene: Scene, labels: Sequence[str]) -> dict[str, np.ndarray]:
    (target,) = scene.of("target")
    models = {_slug(labels[track.run or 0]): track.audio for track in scene.of("prediction")}
    named = {"reference": target.audio, **models}
    gains = matching_gains(named, "reference", scene.sample_rate)
    stimuli = {name: audio * 10 ** (gains[name] / 20) for name, audio in named.items()}
    # an anchor is what the filter leaves, and not louder again
    anchor = low_pass_anchor(stimuli["reference"], scene.sample_rate)
    return {"reference": stimuli.pop("reference"), "anchor35": anchor, **stimuli}


def _slug(label: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", label).strip("-")


def _page(number: int, paths: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "mushra",
        "id": f"trial{number + 1}",
        "name": "Rate each version",
        "content": INTRODUCTION,
        "showWaveform": True,
        "enableLooping": True,
        "randomize": True,
        "showConditionNames": False,
        "reference": paths["reference"],
        # the anchor is among the stimuli: made once, and not in each participant's browser
        "createAnchor35": False,
        "createAnchor70": False,
        "stimuli": {name: path for name, path in paths.items() if name != "reference"},
    }


def _config(pages: list[dict[str, Any]]) -> dict[str, Any]:
    opening = [
        {"type": "generic", "id": "introduction", "name": "Listening test", "content": INTRODUCTION},
        {
            "type": "volume",
            "id": "volume",
            "name": "Volume",
            "content": "Set a comfortable volume, and leave it there.",
            "stimulus": pages[0]["reference"],
            "defaultVolume": 0.5,
        },
    ]
    finish = {
        "type": "finish",
        "name": "Thank you",
        "content": "Please send.",
        "showResults": True,
        "writeResults": True,
    }
    return {
        "testname": "How close are the models?",
        "testId": NAME,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": True,
        "remoteService": "service/write.php",
        "pages": [*opening, ["random", *pages], {**finish, "showResults": True, "writeResults": True}],
    }
