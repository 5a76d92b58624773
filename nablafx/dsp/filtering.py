"""Filters whose coefficients may change from block to block and whose state is an argument.

Sections have scipy's order, [b0, b1, b2, 1, a1, a2], and shape (B or 1, N, K, 6): K of them in series, N = 1 for a
filter that stays as it is, or one set for every `block` samples. Blocks are counted from `offset` samples before x[0].
By default they share x evenly, N = T being one set a sample. Everything is differentiable; the loops are in
:mod:`nablafx.kernels`.

Two functions compute the same for sections that stay, and differ in what they carry across a change. `sosfilt` carries
the two sums of the transposed direct form II, as scipy does. A jump of cut-off makes those a burst, and jumps in the
right rhythm feed an oscillation without bound. `svfilt` carries the integrators of a state-variable filter with
trapezoidal integration, whose energy only the input can raise, whatever the sections do: see Wishnick, "Time-varying
filters for musical applications", DAFx 2014.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from nablafx.kernels import filters

# measured on a CPU: fewer products than this are done before an FFT has started
_DIRECT_TAPS = 96
_DIRECT_SAMPLES = 128


def sosfilt(
    x: Tensor, sos: Tensor, zi: Tensor | None = None, block: int | None = None, offset: int = 0
) -> tuple[Tensor, Tensor]:
    """Second-order sections in series, in transposed direct form II: scipy.signal.sosfilt with sections that change.

        y[n] = b0 x[n] + z1[n],   z1[n+1] = b1 x[n] - a1 y[n] + z2[n],   z2[n+1] = b2 x[n] - a2 y[n]

    Args:
        x: (B, C, T) audio, float32 or float64; inside, all is float64.
        sos: (B or 1, N, K, 6) sections, a0 = 1.
        zi: (B, C, K, 2) float64, z1 and z2 before x[0]; None: zeros.
        block: samples that a set of sections holds for; None: ceil(T / N).
        offset: samples of the first block that lie before x[0].

    Returns:
        y (B, C, T) in the type of x, and the state zf after the last sample, (B, C, K, 2) float64: in float32 it
        would lose a filter of low frequency.

    Raises:
        ValueError: shapes that do not fit each other, or a number of sets that does not cover x.
    """
    return _filter("sosfilt", transposed_direct_form, x, sos, zi, block, offset)


def svfilt(
    x: Tensor, sos: Tensor, zi: Tensor | None = None, block: int | None = None, offset: int = 0
) -> tuple[Tensor, Tensor]:
    """As `sosfilt`, for sections that may jump: stable however stable sections follow each other.

    zi, zf: (B, C, K, 2) float64, the integrators' states.
    """
    return _filter("svfilt", state_variable_form, x, sos, zi, block, offset)


def sosfilt_zi(x: Tensor, sos: Tensor) -> tuple[Tensor, Tensor]:
    """Answer of `sosfilt` to a constant held for ever: x (B, C, 1), sos (B or 1, 1, K, 6) -> y (B, C, 1), zi."""
    return _settle(x, transposed_direct_form(sos))


def svfilt_zi(x: Tensor, sos: Tensor) -> tuple[Tensor, Tensor]:
    """As `sosfilt_zi`, with the state of `svfilt`."""
    return _settle(x, state_variable_form(sos))


def transposed_direct_form(sos: Tensor) -> Tensor:
    """The matrices A (2 x 2), b, c, d of each section: (..., 6) -> (..., 9) float64, the kernels' order."""
    b0, b1, b2, _, a1, a2 = sos.double().unbind(-1)
    one, zero = torch.ones_like(b0), torch.zeros_like(b0)
    return torch.stack([-a1, one, -a2, zero, b1 - a1 * b0, b2 - a2 * b0, one, zero, b0], dim=-1)


def state_variable_form(sos: Tensor) -> Tensor:
    """As `transposed_direct_form`, in the states of two trapezoidal integrators.

    With z^-1 = (1 - w) / (1 + w) a section is (n2 w² + n1 w + n0) / (d2 w² + d1 w + d0): an analog state-variable
    filter of frequency g = √(d0 / d2) and damping k = d1 / (g d2) behind the bilinear transform. Needs poles inside the
    unit circle.
    """
    b0, b1, b2, _, a1, a2 = sos.double().unbind(-1)
    n2, n1, n0 = b0 - b1 + b2, 2 * (b0 - b2), b0 + b1 + b2
    d2, d1, d0 = 1 - a1 + a2, 2 * (1 - a2), 1 + a1 + a2
    root = (d0 * d2).sqrt()
    direct = n2 / d2
    band, low = (n1 - d1 * direct) / root, n0 / d0 - direct
    matrices = [d2 / 2 - 1, -root / 2, root / 2, 1 - d0 / 2, root / 2, d0 / 2]
    readout = [(band * d2 + low * root) / 4, low * (1 - d0 / 4) - band * root / 4, b0]
    return torch.stack([*matrices, *readout], dim=-1)


def fir(x: Tensor, taps: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Convolve audio with taps: y[n] = Σ_k taps[k] x[n - k].

    Directly for few taps or samples, else by FFTs of overlapping pieces (overlap-save).

    Args:
        x: (B, C, T).
        taps: (L,), the first one meets the newest sample.
        context: (B, C, L - 1) samples before x[0]; None: silence.

    Returns:
        y (B, C, T) and the context of what follows.

    Raises:
        ValueError: taps or context of another shape.
    """
    if taps.dim() != 1 or len(taps) < 1:
        raise ValueError(f"fir: taps must have shape (L,), got {tuple(taps.shape)}")
    shape = (*x.shape[:-1], len(taps) - 1)
    if context is None:
        context = x.new_zeros(shape)
    elif context.shape != shape:
        raise ValueError(f"fir: context must be the {shape[-1]} samples before x, {shape}, got {tuple(context.shape)}")
    taps = taps.to(x.dtype)
    signal = torch.cat([context, x], dim=-1)
    short = len(taps) <= _DIRECT_TAPS or x.shape[-1] <= _DIRECT_SAMPLES
    y = (_direct if short else _overlap_save)(signal, taps)
    return y, signal[..., signal.shape[-1] - len(taps) + 1 :]


def envelope(
    x: Tensor,
    attack: Tensor,
    release: Tensor,
    zi: Tensor | None = None,
    block: int | None = None,
    offset: int = 0,
) -> tuple[Tensor, Tensor]:
    """Follow x with one pole while it rises above the envelope, and with another while it falls below.

        e[n] = p e[n-1] + (1 - p) x[n],   p = attack where x[n] > e[n-1], else release

    The switch is exact at every sample; gradients are those of the side taken.

    Args:
        x: (B, C, T).
        attack, release: (B or 1, N) poles in [0, 1); :func:`nablafx.dsp.units.pole` makes them of times.
        zi: (B, C) float64, e before x[0]; None: zeros.
        block, offset: as in `sosfilt`.

    Returns:
        e (B, C, T) in the type of x, and its last value, (B, C) float64.

    Raises:
        ValueError: shapes that do not fit each other, or a number of poles that does not cover x.
    """
    attack, release = _poles(x, attack, release)
    block = _block("envelope", x.shape[-1], attack.shape[1], block, offset)
    zi = _state("envelope", zi, x, x.shape[:2])
    e, last = filters.envelope(_single(x), attack.contiguous(), release.contiguous(), zi, block, offset)
    return e.to(x.dtype), last


def _filter(
    name: str,
    form: Callable[[Tensor], Tensor],
    x: Tensor,
    sos: Tensor,
    zi: Tensor | None,
    block: int | None,
    offset: int,
) -> tuple[Tensor, Tensor]:
    if x.dim() != 3 or sos.dim() != 4 or sos.shape[-1] != 6 or sos.shape[0] not in (1, x.shape[0]):
        raise ValueError(
            f"{name}: needs x (B, C, T) and sections (B or 1, N, K, 6), got {tuple(x.shape)} and {tuple(sos.shape)}"
        )
    block = _block(name, x.shape[-1], sos.shape[1], block, offset)
    zi = _state(name, zi, x, (*x.shape[:2], sos.shape[2], 2))
    y, zf, _ = filters.sections(_single(x), form(sos).contiguous(), zi, block, offset)
    return y.to(x.dtype), zf


def _poles(x: Tensor, attack: Tensor, release: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float64 of one shape (B or 1, N)."""
    if x.dim() == 3 and attack.dim() == release.dim() == 2:
        sets = max(attack.shape[1], release.shape[1])
        if all(p.shape[0] in (1, x.shape[0]) and p.shape[1] in (1, sets) for p in (attack, release)):
            attack, release = torch.broadcast_tensors(attack.double(), release.double())
            return attack, release
    raise ValueError(
        f"envelope: needs x (B, C, T), attack and release (B or 1, N), got {tuple(x.shape)}, {tuple(attack.shape)} "
        f"and {tuple(release.shape)}"
    )


def _block(name: str, length: int, sets: int, block: int | None, offset: int) -> int:
    """Samples that a set holds for: checked, or found."""
    if length < 1:
        raise ValueError(f"{name}: x has no samples; needs at least 1")
    if offset < 0 or (block is not None and block < 1):
        raise ValueError(f"{name}: block must be at least 1 and offset at least 0, got {block} and {offset}")
    if sets == 1:
        return length + offset
    block = -(-length // sets) if block is None else block
    needed = -(-(length + offset) // block)
    if sets != needed:
        raise ValueError(
            f"{name}: {sets} sets of coefficients for {length} samples in blocks of {block}, of which {offset} lie "
            f"before; needs 1 or {needed}"
        )
    return block


def _single(x: Tensor) -> Tensor:
    """At least float32, which the kernels read, and in one piece."""
    return x.to(torch.promote_types(x.dtype, torch.float32)).contiguous()


def _state(name: str, zi: Tensor | None, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    if zi is None:
        return torch.zeros(shape, dtype=torch.float64, device=x.device)
    if zi.shape != torch.Size(shape):
        raise ValueError(f"{name}: zi must have shape {tuple(shape)}, got {tuple(zi.shape)}")
    return zi.double().contiguous()


def _settle(x: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
    """s = (I - A)^-1 b u, section by section."""
    u = x[..., 0].double()
    states = []
    for a11, a12, a21, a22, b1, b2, c1, c2, d in (q[:, 0, None].unbind(-1) for q in matrices.unbind(2)):
        determinant = (1 - a11) * (1 - a22) - a12 * a21
        s1 = ((1 - a22) * b1 + a12 * b2) / determinant * u
        s2 = (a21 * b1 + (1 - a11) * b2) / determinant * u
        states.append(torch.stack([s1, s2], dim=-1))
        u = c1 * s1 + c2 * s2 + d * u
    return u.unsqueeze(-1).to(x.dtype), torch.stack(states, dim=2)


def _direct(signal: Tensor, taps: Tensor) -> Tensor:
    batch, channels, length = signal.shape
    y = F.conv1d(signal.reshape(batch * channels, 1, length), taps.flip(0).view(1, 1, -1))
    return y.view(batch, channels, -1)


def _overlap_save(signal: Tensor, taps: Tensor) -> Tensor:
    history, length = len(taps) - 1, signal.shape[-1] - len(taps) + 1
    # four times the taps: as measured, between too many FFTs and too large ones
    size = 1 << (4 * len(taps) - 1).bit_length()
    hop = size - history
    pieces = -(-length // hop)
    frames = F.pad(signal, (0, pieces * hop - length)).unfold(-1, size, hop)
    spectrum = torch.fft.rfft(frames) * torch.fft.rfft(taps, size)
    y = torch.fft.irfft(spectrum, size)[..., history:]
    return y.flatten(-2)[..., :length]
