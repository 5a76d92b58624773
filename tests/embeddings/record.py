"""What torchvggish, panns-inference with torchlibrosa, and transformers make of the weights and audio of made.py.

python record.py FILE.json   in an environment that has them, and nablafx for CLAP
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.embeddings.made import audio, fill

PANNS = {"panns_16k": (16_000, 512, 160, 64, 50, 8_000), "panns_32k": (32_000, 1024, 320, 64, 50, 14_000)}
AFX_REP = (48_000, 2048, 1024, 128, 20, 20_000)


def some(values: torch.Tensor) -> list[float]:
    """A hundred of them, spread evenly."""
    flat = values.flatten()
    return [float(f"{value:.7g}") for value in flat[:: max(len(flat) // 100, 1)].tolist()]


def vggish() -> dict[str, list[float]]:
    from torchvggish import torchvggish, vggish_input

    network = fill(torchvggish.VGG(torchvggish.make_layers(), postprocess=False))
    network.embeddings = network.embeddings[:-1]  # its last rectifier
    patches = vggish_input.waveform_to_examples(audio(48_000)[0].double().numpy(), 16_000).detach()
    return {"spectrogram": some(patches), "embedding": some(network(patches))}


def panns(settings: tuple[int, ...]) -> dict[str, list[float]]:
    from panns_inference.models import Cnn14

    network = fill(Cnn14(*settings, 527))
    x = audio(10 * settings[0])
    levels = network.logmel_extractor(network.spectrogram_extractor(x))
    return {"spectrogram": some(levels), "embedding": some(network(x)["embedding"])}


def afx_rep() -> dict[str, list[float]]:
    from torchlibrosa.stft import LogmelFilterBank, Spectrogram

    rate, fft, hop, bands, low, high = AFX_REP
    spectrum = Spectrogram(fft, hop)(audio(2**18))
    return {"spectrogram": some(LogmelFilterBank(rate, fft, bands, low, high, top_db=None)(spectrum))}


def clap() -> float:
    """The largest difference between transformers and ours, of a small random CLAP read from a folder."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    from nablafx.embeddings import embedding

    text = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    sound = {"hidden_size": 32, "patch_embeds_hidden_size": 16, "depths": [1, 1], "num_attention_heads": [2, 2]}
    sizes = {"num_hidden_layers": 2, "projection_dim": 32}
    torch.manual_seed(0)
    network = ClapModel(ClapConfig(text_config=text, audio_config={**sound, **sizes}, projection_dim=32)).eval()
    extractor = ClapFeatureExtractor(truncation="rand_trunc")
    x = audio(528_000)
    with tempfile.TemporaryDirectory() as folder:
        network.save_pretrained(Path(folder, "clap-htsat-unfused"))
        extractor.save_pretrained(Path(folder, "clap-htsat-unfused"))
        ours = embedding("clap", folder)(x)[0]
    windows = [x[0, :480_000].numpy(), x[0, 48_000:].numpy()]
    features = extractor(windows, sampling_rate=48_000, return_tensors="pt")
    return float((network.get_audio_features(**features).pooler_output - ours).abs().max())


if __name__ == "__main__":
    with torch.no_grad():
        made = {"vggish": vggish(), **{name: panns(settings) for name, settings in PANNS.items()}}
        made["afx_rep"] = afx_rep()
        difference = clap()
    Path(sys.argv[1]).write_text(json.dumps(made))
    print(difference)
