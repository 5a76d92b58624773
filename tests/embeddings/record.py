"""What the published networks answer to seeded weights: writes recorded.json.

In an environment of its own: pip install torch torchvggish resampy soundfile panns-inference torchlibrosa
python tests/embeddings/record.py
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from seeded import front, seeded, sound  # noqa: E402


def shapes(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items() if value.is_floating_point()}


def vggish() -> dict[str, list[float]]:
    from torchvggish.torchvggish import VGG, make_layers
    from torchvggish.vggish_input import waveform_to_examples

    network = VGG(make_layers(), False).eval()
    network.load_state_dict(seeded(shapes(network)))
    examples = waveform_to_examples(sound(32_000, 16_000).double().numpy(), 16_000).float()
    with torch.no_grad():
        answer = network(examples)
    return {"log_mel": examples[1, 0, ::19, ::9].flatten().tolist(), "embedding": answer.flatten().tolist()}


def panns() -> dict[str, list[float]]:
    # the package itself fetches labels when it is imported, so only its networks are
    package = Path(importlib.util.find_spec("panns_inference").submodule_search_locations[0])
    place = importlib.util.spec_from_file_location("networks", package / "__init__.py")
    sys.modules["networks"] = importlib.util.module_from_spec(place)
    sys.modules["networks"].__path__ = [str(package)]
    from networks.models import Cnn14

    network = Cnn14(32_000, 1024, 320, 64, 50, 14_000, 527).eval()
    weights = {**network.state_dict(), **seeded(shapes(network)), **front(1024, 64)}
    network.load_state_dict(weights)
    with torch.no_grad():
        answer = network(torch.stack([sound(32_000, 32_000), 0.1 * sound(48_000, 32_000)[16_000:]]))
    return {"embedding": answer["embedding"][:, ::16].flatten().tolist()}


if __name__ == "__main__":
    recorded = {"vggish": vggish(), "panns": panns()}
    text = json.dumps({k: {n: [float(f"{x:.6g}") for x in v] for n, v in part.items()} for k, part in recorded.items()})
    (HERE / "recorded.json").write_text(text + "\n")
