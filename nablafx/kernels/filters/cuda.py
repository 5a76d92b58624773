"""The kernels on CUDA, in Triton: see :mod:`nablafx.kernels.filters.reference` for what they compute.

Sections run in parallel over rows and chunks of CHUNK samples, in one launch a section; envelopes over rows only.
Coefficients that hold over whole chunks are read once a chunk, as those that stay; others once a sample.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nablafx.kernels.filters import cuda_envelope, cuda_sections
from nablafx.kernels.filters.reference import CHUNK

LANES = 128  # chunks of a program, one a thread
# samples read at once: more hide the latency of memory; where coefficients are read along with them, Triton would take
# a minute to compile more
_GROUP, _GROUP_CHANGING = 8, 2


def sections(x: Tensor, coefficients: Tensor, zi: Tensor, block: int, offset: int) -> tuple[Tensor, Tensor, Tensor]:
    batch, channels, length = x.shape
    depth, chunks = coefficients.shape[2], -(-length // CHUNK)
    zf, checkpoints = zi.new_empty(zi.shape), zi.new_empty(batch, channels, chunks, depth, 2)
    audio = _fold(x, zi.new_empty(batch * channels, CHUNK, chunks))
    arrays = (audio, coefficients.contiguous(), zi.contiguous(), zf, checkpoints, *_maps(audio))
    numbers = (*_numbers(x, coefficients, block, offset), depth)
    options = _options(_constant(coefficients, block, offset, CHUNK))
    with torch.cuda.device_of(x):
        for k in range(depth + 1):
            cuda_sections.forward[_grid(audio)](*arrays, *numbers, k, RUN=k > 0, AHEAD=k < depth, **options)
    return _unfold(audio, x), zf, checkpoints


def sections_backward(
    grad_y: Tensor,
    grad_zf: Tensor,
    x: Tensor,
    coefficients: Tensor,
    checkpoints: Tensor,
    block: int,
    offset: int,
) -> tuple[Tensor, Tensor, Tensor]:
    rows, chunks, depth = x.shape[0] * x.shape[1], checkpoints.shape[2], coefficients.shape[2]
    q, constant = coefficients.contiguous(), _constant(coefficients, block, offset, CHUNK)
    numbers, options = (*_numbers(x, q, block, offset), depth), _options(constant)
    audio = q.new_empty(depth, rows, CHUNK, chunks)
    states = q.new_empty(depth, rows, CHUNK // options["GROUP"], 2, chunks)
    grad = _fold(grad_y, torch.empty_like(audio[0]))
    grad_zi = grad_zf.new_empty(grad_zf.shape)
    grad_q = q.new_empty(depth, 9, rows, chunks) if constant else torch.zeros_like(q)
    arrays = (grad, audio, states, q, grad_zf.contiguous(), grad_zi, grad_q, *_maps(grad))
    _fold(x, audio[0])
    with torch.cuda.device_of(x):
        cuda_sections.recompute[_grid(grad)](audio, states, q, checkpoints.contiguous(), *numbers, **options)
        for k in range(depth, -1, -1):
            cuda_sections.backward[_grid(grad)](*arrays, *numbers, k, RUN=k < depth, AHEAD=k > 0, **options)
    if constant:
        by_chunk = grad_q.unflatten(2, x.shape[:2])
        grad_q = _sum_by_set(by_chunk, q, CHUNK, block, offset).permute(2, 3, 0, 1).contiguous()
    return _unfold(grad, x), grad_q, grad_zi


def envelope(x: Tensor, attack: Tensor, release: Tensor, zi: Tensor, block: int, offset: int) -> tuple[Tensor, Tensor]:
    return _follow(x, attack, release, zi, block, offset, x.dtype)


def envelope_backward(
    grad_y: Tensor,
    grad_zf: Tensor,
    x: Tensor,
    attack: Tensor,
    release: Tensor,
    zi: Tensor,
    block: int,
    offset: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # not from y: rounded to float32 it may lie on the other side of x
    e, _ = _follow(x, attack, release, zi, block, offset, torch.float64)
    grad_x, grad_zi = x.new_empty(x.shape), zi.new_empty(zi.shape)
    by_sample = e.new_empty(2, *x.shape)
    given = (t.contiguous() for t in (grad_y, grad_zf, x, e, attack, release, zi))
    numbers = _numbers(x, attack, block, offset)
    with torch.cuda.device_of(x):
        cuda_envelope.follow_back[(x.shape[0] * x.shape[1],)](
            *given, grad_x, *by_sample, grad_zi, *numbers, enable_fp_fusion=True
        )
    grad_attack, grad_release = _sum_by_set(by_sample, attack, 1, block, offset)
    return grad_x, grad_attack, grad_release, grad_zi


def _follow(
    x: Tensor, attack: Tensor, release: Tensor, zi: Tensor, block: int, offset: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    y, zf = x.new_empty(x.shape, dtype=dtype), zi.new_empty(zi.shape)
    given = (t.contiguous() for t in (x, attack, release, zi))
    constant = _constant(attack, block, offset, cuda_envelope.GROUP.value)
    with torch.cuda.device_of(x):
        # unfused, as the reference: where x meets e, a bit decides between attack and release
        cuda_envelope.follow[(x.shape[0] * x.shape[1],)](
            *given, y, zf, *_numbers(x, attack, block, offset), CONSTANT=constant, num_warps=1, enable_fp_fusion=False
        )
    return y, zf


def _constant(sets: Tensor, block: int, offset: int, span: int) -> bool:
    """Whether coefficients change nowhere within spans of samples."""
    return sets.shape[1] == 1 or (block % span == 0 and offset % span == 0)


def _numbers(x: Tensor, sets: Tensor, block: int, offset: int) -> tuple[int, ...]:
    return x.shape[2], x.shape[1], sets.shape[0], sets.shape[1], block, offset


def _options(constant: bool) -> dict[str, int]:
    group = _GROUP if constant else _GROUP_CHANGING
    warps = max(1, LANES // 32)
    return {"CONSTANT": constant, "GROUP": group, "LANES": LANES, "num_warps": warps, "enable_fp_fusion": True}


def _grid(audio: Tensor) -> tuple[int, int]:
    return audio.shape[0], -(-audio.shape[2] // LANES)


def _maps(audio: Tensor) -> tuple[Tensor, Tensor]:
    """Room for the maps of chunks and of tiles."""
    rows, tiles = _grid(audio)
    return audio.new_empty(2, 6, rows, audio.shape[2]), audio.new_empty(2, 6, rows, tiles)


def _fold(x: Tensor, audio: Tensor) -> Tensor:
    """x (B, C, T), padded with silence, as (rows, CHUNK, chunks)."""
    chunks = audio.shape[2]
    padded = F.pad(x.flatten(0, 1), (0, chunks * CHUNK - x.shape[2]))
    return audio.copy_(padded.unflatten(1, (chunks, CHUNK)).transpose(1, 2))


def _unfold(audio: Tensor, like: Tensor) -> Tensor:
    x = like.new_empty(audio.shape[0], audio.shape[2], CHUNK).copy_(audio.transpose(1, 2))
    return x.flatten(1)[:, : like.shape[2]].contiguous().view(like.shape)


def _sum_by_set(parts: Tensor, sets: Tensor, hop: int, block: int, offset: int) -> Tensor:
    """Gradients of hop samples each, (..., B, C, M), as those of sets: (..., B or 1, N)."""
    items, count = sets.shape[:2]
    parts = parts.sum(-2)
    if items == 1:
        parts = parts.sum(-2, keepdim=True)
    if count == 1:
        return parts.sum(-1, keepdim=True)
    index = (torch.arange(parts.shape[-1], device=parts.device) * hop + offset) // block
    return parts.new_zeros(*parts.shape[:-1], count).index_add_(-1, index, parts)
