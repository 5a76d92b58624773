"""Files of pre-trained weights: safetensors that say in their header what they hold. Reading one runs no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from nablafx.errors import UserError
from nablafx.foreign import is_weight
from nablafx.shipped import ROOT

KEY = "nablafx"  # of the header's one entry: safetensors writes several in an order that changes from call to call
Fact = str | float


class PretrainedError(UserError, ValueError):
    """Pre-trained weights that are not there, cannot be read, or are made for another block."""


class Pretrained(NamedTuple):
    """The content of a file: its tensors by name, and what its header says of them."""

    tensors: dict[str, Tensor]
    facts: dict[str, Fact]


def find(path: str | Path) -> Path:
    """The file as given, from the current directory, or else among those that come with the package.

    Raises:
        PretrainedError: it is in neither; the message lists what lies in its folder.
    """
    given = Path(path).expanduser()
    for place in (given, ROOT / given):
        if place.is_file():
            return place
    found = sorted({file.name for folder in (given.parent, ROOT / given.parent) for file in _weights(folder)})
    there = f"; {given.parent} holds {', '.join(found)}" if found else ""
    raise PretrainedError(
        f"there are no weights {path}, neither here ({Path.cwd()}) nor in {ROOT}{there}. `nablafx pretrain` makes some"
    )


def read_pretrained(path: str | Path) -> Pretrained:
    """The content of a file of weights.

    Raises:
        PretrainedError: there is none, it is damaged or no safetensors, or `nablafx pretrain` did not make it.
    """
    place = find(path)
    try:
        with safe_open(place, framework="pt") as file:
            header = (file.metadata() or {}).get(KEY, "null")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise PretrainedError(
            f"the weights {path} cannot be read ({error}); the file is damaged or no safetensors. "
            "Make it anew with `nablafx pretrain`, or take it from git again"
        ) from error
    strange = [name for name, value in tensors.items() if not is_weight(name, value)]
    if strange:
        raise PretrainedError(f"the weights {path} hold {strange[0]!r}, which is no weight. Make the file anew")
    facts = _parsed(header)
    if facts is None:
        raise PretrainedError(
            f"the weights {path} do not say what they are for: their header has no facts under {KEY!r}. "
            "Take a file that `nablafx pretrain` made"
        )
    return Pretrained(tensors, facts)


def load_pretrained(module: nn.Module, path: str | Path, facts: Mapping[str, Fact]) -> None:
    """Copy the weights of a file into `module`.

    Args:
        facts: what the header must say, such as {"kind": "tanh", "w0": 30.0}; it may say more.

    Raises:
        PretrainedError: see :func:`read_pretrained`; or the facts, the names or the shapes of tensors are others, or
            a weight is no number. The module is then as it was.
    """
    content = read_pretrained(path)
    differing = {key: value for key, value in facts.items() if content.facts.get(key) != value}
    if differing:
        raise PretrainedError(_another_block(path, content.facts, differing))
    ours = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in content.tensors.items()}
    if ours != theirs:
        names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        lines = [f"{name}: {theirs.get(name, 'absent')} there, {ours.get(name, 'absent')} here" for name in names]
        raise PretrainedError(
            f"the weights {path} do not fit {type(module).__name__} ({'; '.join(lines)}). "
            "Make the file anew with `nablafx pretrain`"
        )
    broken = [name for name, value in content.tensors.items() if not torch.isfinite(value).all()]
    if broken:
        raise PretrainedError(
            f"the weights {path} hold values that are no numbers, in {', '.join(broken)}. "
            "Make the file anew with `nablafx pretrain`"
        )
    module.load_state_dict(content.tensors)


def save_pretrained(module: nn.Module, path: str | Path, facts: Mapping[str, Fact]) -> None:
    """Write the weights of `module`, with facts in the header; the same weights and facts give the same bytes.

    Raises:
        OSError: the file cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    Path(path).write_bytes(save(tensors, {KEY: json.dumps(dict(facts), sort_keys=True)}))


def _another_block(path: str | Path, theirs: Mapping[str, Fact], needed: Mapping[str, Fact]) -> str:
    if "kind" in needed:
        return (
            f"the weights {path} are made for a block of the kind {theirs.get('kind')!r}, and this one is of the kind "
            f"{needed['kind']!r}. Take a file that `nablafx pretrain {needed['kind']}` made"
        )
    there = ", ".join(f"{key} {_told(theirs.get(key, 'absent'))}" for key in needed)
    here = ", ".join(f"{key} {_told(value)}" for key, value in needed.items())
    return (
        f"the weights {path} are made with {there}, and this block has {here}. "
        "Give the block what the file has, or make another file with `nablafx pretrain`"
    )


def _told(value: Fact) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _parsed(header: str) -> dict[str, Fact] | None:
    try:
        facts = json.loads(header)
    except (ValueError, RecursionError):
        return None
    kinds = (str, int, float)
    return facts if isinstance(facts, dict) and all(isinstance(value, kinds) for value in facts.values()) else None


def _weights(folder: Path) -> list[Path]:
    return list(folder.glob("*.safetensors"))
