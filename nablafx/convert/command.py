"""nablafx convert: a config or a checkpoint of the published framework, as one of this framework."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from nablafx.convert.configs import Config, Conversion
from nablafx.convert.old import Notes
from nablafx.errors import UserError
from nablafx.foreign import ForeignError, read_yaml

WIDTH = 110
BESIDE = 3  # folders above a checkpoint in which Lightning and W&B may have left its config


def run(words: list[str]) -> None:
    """Run `nablafx convert WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    arguments = _parser().parse_args(words)
    old = Path(arguments.old)
    if not old.is_file():
        raise UserError(
            f"there is no file {old}; give a config (.yaml) or a checkpoint (.ckpt) of the published framework"
        )
    if old.suffix in (".yaml", ".yml"):
        _convert_config([old, *map(Path, arguments.config)], arguments.output, arguments.overwrite)
    else:
        _convert_checkpoint(old, list(map(Path, arguments.config)), arguments.output, arguments.overwrite)


def _convert_config(files: list[Path], output: str | None, overwrite: bool) -> None:
    converted = Conversion(_merged([_read(file) for file in files]))
    text = _text(converted.config, converted.notes, ", ".join(map(str, files)))
    if output is None:
        print(text, end="")
        return
    from nablafx.writing import replacing

    path = _free(Path(output), overwrite)
    with replacing(path) as temporary:
        temporary.write_text(text)
    _tell(converted.notes)
    print(f"The config is in {path}")


def _convert_checkpoint(old: Path, files: list[Path], output: str | None, overwrite: bool) -> None:
    import torch

    from nablafx.convert.weights import chain_weights, net_weights
    from nablafx.training.build import build
    from nablafx.training.checkpoints import read_checkpoint
    from nablafx.training.runs import CHECKPOINTS
    from nablafx.writing import replacing

    files = files or [_config_of(old)]
    content = read_checkpoint(old)
    converted = Conversion(_merged([_read(file) for file in files]), exact=True)
    if "model" not in converted.config:
        raise UserError(f"{', '.join(map(str, files))} has no section model; give the model's config too: -c old.yaml")
    effect: Any = build(converted.config["model"]["effect"], converted.num_controls)
    if converted.chain is not None:
        weights = chain_weights(effect, converted.chain, content["state_dict"])
    else:
        assert converted.net is not None
        weights = net_weights(effect, *converted.net, content["state_dict"])
    folder = _free(Path(output) if output else old.with_suffix(""), overwrite)
    with replacing(folder / CHECKPOINTS / "best.ckpt") as temporary:
        torch.save(_checkpoint(weights, content), temporary)
    with replacing(folder / "config.yaml") as temporary:
        temporary.write_text(_text(converted.config, converted.notes, ", ".join(map(str, [old, *files]))))
    _tell(converted.notes)
    more = "" if "data" in converted.config else " -c DATA.yaml"
    print(f"The run is in {folder}: nablafx test -c {folder / 'config.yaml'}{more}")


def _checkpoint(weights: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """What Lightning needs in order to test and to render."""
    from lightning.pytorch import __version__

    return {
        "state_dict": {f"effect.{name}": value for name, value in weights.items()},
        "epoch": old.get("epoch", 0),
        "global_step": old.get("global_step", 0),
        "pytorch-lightning_version": __version__,
    }


def _read(path: Path) -> Config:
    try:
        content = read_yaml(path)
    except ForeignError as error:
        raise UserError(
            f"the config {path} cannot be read as YAML ({error}); give one of the published framework"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"the config {path} holds no sections; give one of the published framework")
    return content


def _merged(contents: list[Config]) -> Config:
    """Later files over earlier ones, section by section."""
    merged: Config = {}
    for content in contents:
        merged |= content
    return merged


def _config_of(checkpoint: Path) -> Path:
    """The config that lies beside a checkpoint, or in a folder above it."""
    for folder in list(checkpoint.resolve().parents)[:BESIDE]:
        if (folder / "config.yaml").is_file():
            return folder / "config.yaml"
    raise UserError(
        f"a published checkpoint does not say what it is of, and there is no config.yaml near {checkpoint}; "
        "give the config that it was trained with: -c old.yaml"
    )


def _free(path: Path, overwrite: bool) -> Path:
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; give another -o, or --overwrite")
    return path


def _text(config: Config, notes: Notes, origin: str) -> str:
    """The config, under a comment that says where it comes from, what is changed and what is lost."""
    lines = [f"Converted by `nablafx convert` from {origin}", *_lines(notes)]
    comment = "".join(f"# {line}\n" for line in lines)
    return comment + yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=WIDTH, allow_unicode=True)


def _lines(notes: Notes) -> list[str]:
    return [*(f"changed: {text}" for text in notes.changed), *(f"lost: {text}" for text in notes.missing)]


def _tell(notes: Notes) -> None:
    for line in _lines(notes):
        print(line, file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nablafx convert",
        description="Turn a config (.yaml) or a checkpoint (.ckpt) of the published framework (nablafx 1.0.0 on PyPI, "
        "or older) into one of this framework.",
        epilog="What is changed and what has no counterpart stands at the head of the new config.",
    )
    parser.add_argument("old", help="a published config, or a checkpoint")
    parser.add_argument(
        "-c",
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="more published configs: of the model that a "
        "checkpoint is of (default: config.yaml beside it), of the data",
    )
    parser.add_argument(
        "-o",
        "--output",
        help="of a config: a file (default: print it); of a checkpoint: the run's folder "
        "(default: named as the checkpoint, beside it)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    return parser
