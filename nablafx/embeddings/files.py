"""Where weights of others lie, and reading them: nothing is downloaded, and no file may run code."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nablafx.errors import UserError
from nablafx.foreign import ForeignError, is_weight, read_tensors

FOLDER_VARIABLE = "NABLAFX_EMBEDDINGS"


class WeightsError(UserError, ValueError):
    """Weights of an embedding that are not there, cannot be read, or are those of another network."""


def weights_folder() -> Path:
    """$NABLAFX_EMBEDDINGS, or ~/.cache/nablafx/embeddings."""
    return Path(os.environ.get(FOLDER_VARIABLE) or "~/.cache/nablafx/embeddings").expanduser()


def found(name: str, path: Path, url: str) -> Path:
    """The path, if something is there.

    Raises:
        WeightsError: nothing is; the message says where to get it and where to put it.
    """
    if path.exists():
        return path
    raise WeightsError(
        f"the embedding {name} needs weights that are not part of nablafx, and there is no {path}. "
        f"Download {url} to there, or to another folder named by ${FOLDER_VARIABLE}"
    )


def read(path: Path, source: str) -> dict[str, Any]:
    """The content of a checkpoint: tensors, numbers, texts and arrays by name.

    Raises:
        WeightsError: it is damaged, holds more than such, or no names.
    """
    try:
        content = read_tensors(path, _arrays())
    except ForeignError as error:
        raise WeightsError(
            f"{path} cannot be read: it is damaged, or holds objects besides weights, which may run code and are "
            f"refused. Download {source} again ({error})"
        ) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__} and no weights by name; download {source} again")
    return content


def tensors(content: Mapping[str, Any], key: str, path: Path, source: str) -> dict[str, Tensor]:
    """The weights that a checkpoint holds under a key.

    Raises:
        WeightsError: it has no such key.
    """
    weights = content.get(key)
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        told = ", ".join(map(str, list(content)[:5])) or "nothing"
        raise WeightsError(f"{path} has no weights under {key!r}: it holds {told}; download {source} again")
    return weights


def fill(
    module: nn.Module, weights: Mapping[str, Tensor], path: Path, source: str, constants: Collection[str] = ()
) -> None:
    """Copy all weights into a module that has places for exactly these.

    Args:
        constants: names in the file of what is no weight, and is left out.

    Raises:
        WeightsError: names or shapes are others, or a weight is no number. The module is then as it was.
    """
    strange = [name for name, value in weights.items() if not is_weight(name, value)]
    if strange:
        raise WeightsError(f"{path} holds {strange[0]!r}, which is no weight; download {source} again")
    ours = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in weights.items() if name not in constants}
    # counts of batches, which files older than torch 0.4.1 lack, and which only training needs
    counts = {name for name in ours.keys() - theirs.keys() if name.endswith("num_batches_tracked")}
    differing = [n for n in sorted(ours.keys() | theirs.keys()) if n not in counts and ours.get(n) != theirs.get(n)]
    if differing:
        lines = [f"{n}: {theirs.get(n, 'absent')} there, {ours.get(n, 'absent')} here" for n in differing[:4]]
        more = f"; and {len(differing) - 4} more" if len(differing) > 4 else ""
        raise WeightsError(
            f"{path} does not fit {type(module).__name__} ({'; '.join(lines)}{more}); it is of another network. "
            f"Download {source}"
        )
    broken = [name for name in theirs if not torch.isfinite(weights[name]).all()]
    if broken:
        raise WeightsError(f"{path} holds values that are no numbers, in {broken[0]}; download {source} again")
    module.load_state_dict({name: weights[name] for name in theirs}, strict=False)


def _arrays() -> list[Any]:
    """What makes numpy arrays: the 16 kHz PANNs keep the order of their training data beside the weights."""
    make = np.empty(0).__reduce__()[0]  # wherever this numpy keeps it; files name the place of theirs
    kinds = (np.dtypes.Int64DType, np.dtypes.Int32DType, np.dtypes.Float64DType, np.dtypes.Float32DType)
    return [
        *((make, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
        *((np.ndarray, "numpy.ndarray"), (np.dtype, "numpy.dtype"), *kinds),
    ]
