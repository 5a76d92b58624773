"""Losses between a prediction and its target, both (B, 1, T), and their weighted sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nablafx import processes
from nablafx.errors import UserError
from nablafx.kernels import spectra

FLOOR = 1e-8  # mean square of a batch taken for silence, -80 dB of full scale: loss and gradient stay finite


class TooShortError(UserError, ValueError):
    """Audio that is shorter than what a loss looks at."""


class Loss(nn.Module):
    """A loss of this package: its short name in a config is taken before auraloss' and torch's."""


class PooledLoss(Loss):
    """A loss that is made of sums over all audio, and not the mean of what its parts would give.

    So it is known of more audio than one process or batch holds: its sums are added first.
    """

    size: int
    """How many sums there are."""

    def sums(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(B, 1, T) twice -> what they add, (size,)."""
        raise NotImplementedError

    def value(self, sums: Tensor) -> Tensor:
        """The loss, a scalar, of sums (size,)."""
        raise NotImplementedError

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.value(self.sums(prediction, target))

    def joined(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of the audio of all processes, in each of them; its gradient as `processes.summed` has it."""
        return self.value(processes.summed(self.sums(prediction, target)))


@dataclass
class Term:
    """One summand. loss: any module of (prediction, target) -> scalar, such as torch.nn.L1Loss."""

    loss: Loss | nn.Module
    weight: float = 1.0


class WeightedSum(nn.Module):
    """total = Σ_k weight_k · loss_k(prediction, target).

    terms: by the names that logs use. None: ESR with weight 1, which hears polarity and level, and a
    multi-resolution STFT with weight 0.1, which hears the quiet and the high where ESR hears little.
    `size` is how many sums all terms are made of; a loss that is no `PooledLoss` is taken for a mean over items.
    """

    def __init__(self, terms: dict[str, Term] | None = None) -> None:
        super().__init__()
        if terms is None:
            terms = {"esr": Term(ESRLoss()), "mrstft": Term(MultiResolutionSTFT(), weight=0.1)}
        if not terms:
            raise ValueError("WeightedSum: got no terms, needs at least one; leave terms out for the default")
        for name, term in terms.items():
            # a null in a config comes through as None
            if not isinstance(term.weight, (int, float)) or not math.isfinite(term.weight):
                raise ValueError(f"WeightedSum: the weight of {name} is {term.weight}; it needs a number")
        self.losses = nn.ModuleDict({name: term.loss for name, term in terms.items()})
        self.weights = {name: term.weight for name, term in terms.items()}
        # a plain dict: what is wrapped is registered already
        self._pooled = {
            name: term.loss if isinstance(term.loss, PooledLoss) else _MeanOverItems(term.loss)
            for name, term in terms.items()
        }
        self.size = sum(loss.size for loss in self._pooled.values())

    def forward(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, 1, T) twice -> the total and the unweighted values, scalar tensors on the device."""
        prediction, target = _checked(prediction, target)
        return self._weighted({name: loss(prediction, target) for name, loss in self.losses.items()})

    def joined(self, prediction: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The same of the audio of all processes, in each of them; the gradient as `processes.summed` has it."""
        if processes.count() == 1:
            return self(prediction, target)
        prediction, target = _checked(prediction, target)
        return self._weighted({name: loss.joined(prediction, target) for name, loss in self._pooled.items()})

    def sums(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(B, 1, T) twice -> what they add to the sums of all terms, (size,)."""
        prediction, target = _checked(prediction, target)
        return torch.cat([loss.sums(prediction, target) for loss in self._pooled.values()])

    def of_sums(self, sums: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and the unweighted values of all audio whose sums (size,) were added."""
        parts = sums.split([loss.size for loss in self._pooled.values()])
        terms = zip(self._pooled.items(), parts, strict=True)
        return self._weighted({name: loss.value(part) for (name, loss), part in terms})

    def _weighted(self, values: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.stack([self.weights[name] * value for name, value in values.items()]).sum(), values


class ESRLoss(PooledLoss):
    """Error-to-signal ratio: energy of the error over energy of the target, both pooled over the batch.

        Σ (y - ŷ)² / (Σ y² + FLOOR · number of samples)

    Pooled, for an almost silent item would otherwise outweigh all others. No unit: 0 is perfect, 1 as bad as
    silence, 4 perfect but upside down.
    pre_emphasis: c of the high-pass 1 - c z⁻¹ that both pass first, 0.85 to 0.95 in the literature. The first
    sample of each item then only serves as history.
    Reference: Wright, Välimäki, "Perceptual loss function for neural modelling of audio systems", ICASSP
    2020, arXiv 1911.08922.
    """

    size = 3

    def __init__(self, pre_emphasis: float | None = None) -> None:
        super().__init__()
        self.pre_emphasis = pre_emphasis

    def sums(self, prediction: Tensor, target: Tensor) -> Tensor:
        error = target - prediction
        if self.pre_emphasis is not None:
            error, target = (x[..., 1:] - self.pre_emphasis * x[..., :-1] for x in (error, target))
        return _beside(error.square().sum(), target)

    def value(self, sums: Tensor) -> Tensor:
        error, energy, number = sums
        return error / (energy + FLOOR * number)


class DCLoss(PooledLoss):
    """Energy of the constant part of the error over energy of the target, pooled over the batch.

        Σ_items (mean_t (y - ŷ))² / (Σ_items mean_t y² + FLOOR · B)

    Reference: as ESRLoss.
    """

    size = 3

    def sums(self, prediction: Tensor, target: Tensor) -> Tensor:
        offset = (target - prediction).mean(dim=-1)
        return _beside(target.shape[-1] * offset.square().sum(), target)

    def value(self, sums: Tensor) -> Tensor:
        offset, energy, number = sums
        return offset / (energy + FLOOR * number)


class MultiResolutionSTFT(PooledLoss):
    """Mean over resolutions of spectral convergence + L1 distance of log magnitudes, as auraloss has them.

        ‖ |S| - |Ŝ| ‖_F / ‖ |S| ‖_F + mean | log|S| - log|Ŝ| |,   S = STFT(y), magnitudes at least 1e-4

    Norms and mean run over the batch too. Deaf to polarity.
    fft_sizes, hop_sizes, win_lengths: samples, one of each per resolution.
    Raises ValueError for signals of half the longest FFT or less: frames are centred and the ends reflected.
    Reference: Yamamoto, Song, Kim, "Parallel WaveGAN", ICASSP 2020, arXiv 1910.11480.
    """

    def __init__(
        self,
        fft_sizes: Sequence[int] = (1024, 2048, 512),
        hop_sizes: Sequence[int] = (120, 240, 50),
        win_lengths: Sequence[int] = (600, 1200, 240),
    ) -> None:
        super().__init__()
        if not len(fft_sizes) == len(hop_sizes) == len(win_lengths) > 0:
            raise ValueError(
                "MultiResolutionSTFT: needs as many fft_sizes as hop_sizes and win_lengths, got "
                f"{len(fft_sizes)}, {len(hop_sizes)} and {len(win_lengths)}"
            )
        self.fft_sizes, self.hop_sizes = list(fft_sizes), list(hop_sizes)
        for n, length in enumerate(win_lengths):
            # buffers move along with the module
            self.register_buffer(f"window_{n}", torch.hann_window(length), persistent=False)
        self.shortest = max(fft_sizes) // 2 + 1
        self.size = 4 * len(fft_sizes)

    def sums(self, prediction: Tensor, target: Tensor) -> Tensor:
        """They have no gradient; `forward` and `joined` have it, found along with the value."""
        return spectra.measure(**self._arguments(prediction, target)).flatten().to(prediction.dtype)

    def value(self, sums: Tensor) -> Tensor:
        return spectra.value(sums.unflatten(0, (-1, 4)))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return spectra.distance(**self._arguments(prediction, target))

    def joined(self, prediction: Tensor, target: Tensor) -> Tensor:
        return spectra.distance(**self._arguments(prediction, target), joined=True)

    def _arguments(self, prediction: Tensor, target: Tensor) -> dict[str, Any]:
        if target.shape[-1] < self.shortest:
            raise TooShortError(
                f"MultiResolutionSTFT: got {target.shape[-1]} samples, needs at least {self.shortest} "
                f"(half of the longest FFT, and one). Give it longer pieces or smaller fft_sizes"
            )
        told, wanted = (track.reshape(-1, track.shape[-1]) for track in (prediction, target))
        sizes = {"fft_sizes": self.fft_sizes, "hop_sizes": self.hop_sizes}
        return {"prediction": told, "target": wanted, "windows": list(self.buffers()), **sizes}


@torch.no_grad()
def deaf_to_polarity(loss: WeightedSum) -> list[str]:
    """Names of the terms that rate an inverted prediction as high as the prediction itself.

    With nothing but such terms a model may well converge upside down. Found by trying, on noise without DC as
    audio has none: DCLoss hears the sign of an offset and of nothing else, so it counts as deaf.
    """
    like = next((t for t in (*loss.buffers(), *loss.parameters()) if t.is_floating_point()), torch.zeros(1))
    noise = torch.randn(2, 2, 1, 2**15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target, other = (noise - noise.mean(dim=-1, keepdim=True)).to(like.device, like.dtype)
    prediction = target + 0.3 * other
    _, upright = loss(prediction, target)
    _, inverted = loss(-prediction, target)
    return [name for name, value in upright.items() if torch.isclose(value, inverted[name], 1e-4, 1e-6)]


class _MeanOverItems(PooledLoss):
    """Any other loss, taken for a mean over the items of a batch."""

    size = 2

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def sums(self, prediction: Tensor, target: Tensor) -> Tensor:
        mean = self.loss(prediction, target)
        return torch.stack([mean * len(target), torch.full_like(mean, len(target))])

    def value(self, sums: Tensor) -> Tensor:
        return sums[0] / sums[1]


def _beside(energy: Tensor, target: Tensor) -> Tensor:
    """An energy, that of the target, and the number of its samples."""
    return torch.stack([energy, target.square().sum(), torch.full_like(energy, target.numel())])


def _checked(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both of one shape, at least float32.

    Raises:
        ValueError: their shapes differ.
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"loss: the prediction is {tuple(prediction.shape)} and the target {tuple(target.shape)}; "
            "they must be alike, (B, 1, T)"
        )
    return _single(prediction), _single(target)


def _single(x: Tensor) -> Tensor:
    """At least float32: sums of squares leave float16, and it has no STFT on a CPU."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
