"""Arguments for the kernels, and how far two backends differ."""

from __future__ import annotations

import torch
from torch import Tensor

# how the sets lie: block and offset, given the length
LAYOUTS = {"static": lambda length: (length, 0), "blocks": lambda _: (100, 37), "every sample": lambda _: (1, 0)}


def section_case(rows: tuple[int, int], length: int, sections: int, layout: str, batch: int) -> tuple:
    """x, coefficients, zi, block and offset: rows (B, C), sets for `batch` items, all values float32 can hold."""
    generator = torch.Generator().manual_seed(length + sections)
    block, offset = LAYOUTS[layout](length)
    sets = -(-(length + offset) // block)
    coefficients = torch.randn(batch, sets, sections, 9, generator=generator)
    # A of norm under 1, so that the state stays
    coefficients[..., :4] *= 0.95 / coefficients[..., :4].norm(dim=-1, keepdim=True)
    x = torch.randn(*rows, length, generator=generator)
    zi = torch.randn(*rows, sections, 2, generator=generator)
    return x.double(), coefficients.double(), zi.double(), block, offset


def envelope_case(rows: tuple[int, int], length: int, layout: str, batch: int) -> tuple:
    """x, attack, release, zi, block and offset."""
    generator = torch.Generator().manual_seed(length)
    block, offset = LAYOUTS[layout](length)
    sets = -(-(length + offset) // block)
    attack, release = torch.rand(2, batch, sets, generator=generator) * 0.99
    x = torch.randn(*rows, length, generator=generator)
    return x.double(), attack.double(), release.double(), torch.randn(rows, generator=generator).double(), block, offset


def in_float32(arguments: tuple) -> tuple:
    """The same case with audio in float32."""
    return (arguments[0].float(), *arguments[1:])


def run(backend, name: str, arguments: tuple) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What a kernel gives, and what its backward function gives for random gradients of y and zf."""
    generator = torch.Generator().manual_seed(0)
    outputs = getattr(backend, name)(*arguments)
    grads = [torch.randn(t.shape, generator=generator).to(t.dtype) for t in outputs[:2]]
    x, *parameters, zi, block, offset = arguments
    start = zi if name == "envelope" else outputs[2]
    return outputs, getattr(backend, f"{name}_backward")(*grads, x, *parameters, start, block, offset)


def assert_close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float) -> None:
    """Each within the tolerance of its largest value."""
    for f, e in zip(found, expected, strict=True):
        assert f.shape == e.shape
        assert (f.double() - e).abs().max() <= tolerance * e.abs().max()
