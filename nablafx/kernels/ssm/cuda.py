"""The kernels on CUDA, in Triton: see :mod:`nablafx.kernels.ssm.reference` for what they compute.

Four launches forward: tables, what each chunk of audio adds to the states, the states before all chunks, and y along
with the states before all blocks. Six backward: the tables again, the adjoint of the second and of the third, gradients
of u and of the tables, their sum over programs, and gradients of what the tables are made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nablafx.kernels.ssm import cuda_scan, cuda_tables

BLOCK = 32  # samples of a block: the fewer, the less work in products, and the more states to keep
LEAST = 32  # states that tables are filled up to, for all warps of a program to have some
LANES = 16  # chunks of a program
PROGRAMS = 1024  # enough for a GPU to be busy; more would leave more sums
SHORTEST, LONGEST = 8, 32  # blocks of a chunk
GROUP, POWERS = 8, 8  # chunks that are read at once, and powers of z that have room in registers
FUSED = {"enable_fp_fusion": True}
AHEAD, NOT_AHEAD = {"num_stages": 3}, {"num_stages": 1}  # whether audio is fetched ahead, where registers suffice


class Plan(NamedTuple):
    """How audio (B, H, T) is cut, as kernels are told it."""

    items: int
    channels: int
    length: int
    states: int
    width: int
    blocks: int
    run: int

    @property
    def chunks(self) -> int:
        return -(-self.blocks // self.run)

    @property
    def rest(self) -> int:
        return self.length - self.blocks * BLOCK

    @property
    def numbers(self) -> tuple[int, ...]:
        cuts = (self.blocks, self.run, self.chunks, self.rest)
        return self.length, self.states, self.channels, self.items, *cuts

    @property
    def grid(self) -> tuple[int, int]:
        tiles = -(-self.items * self.chunks // LANES)
        return min(tiles, max(1, PROGRAMS // self.channels)) + (self.rest > 0), self.channels

    @property
    def sums(self) -> int:
        """Gradients of a channel's tables."""
        return BLOCK * BLOCK + 4 * BLOCK * self.width + 2 * self.width


class Tables(NamedTuple):
    """See :mod:`nablafx.kernels.ssm.cuda_tables`."""

    response: Tensor
    entry: Tensor
    exits: Tensor
    turns: Tensor


def starts_shape(audio: Sequence[int], states: int) -> tuple[int, int, int, int, int]:
    """Of the states before all blocks of audio (B, H, T), real and imaginary parts."""
    batch, channels, length = audio
    return batch, channels, -(-length // BLOCK), 2, states


def scan(
    u: Tensor, log_z: Tensor, gain: Tensor, readout: Tensor, direct: Tensor, state: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """y, the state after the last sample, and those before all blocks."""
    u, plan = u.contiguous(), _plan(u, log_z)
    y, starts = torch.empty_like(u), u.new_empty(starts_shape(u.shape, plan.states))
    with torch.cuda.device_of(u):
        tables = _tables(plan, log_z, gain, readout, direct)
        entered, after = _pass_chunks(plan, tables, u, state, back=False)
        cuda_scan.answer[plan.grid](u, *tables, entered, y, starts, *plan.numbers, **_options(plan), **AHEAD)
    return y, after, starts


def scan_backward(
    grad_y: Tensor,
    grad_state: Tensor,
    u: Tensor,
    log_z: Tensor,
    gain: Tensor,
    readout: Tensor,
    direct: Tensor,
    starts: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, log_z, gain, readout, direct and the state."""
    grad_y, u, plan = grad_y.contiguous(), u.contiguous(), _plan(u, log_z)
    grad_u, sums = torch.empty_like(u), u.new_empty(plan.channels, plan.grid[0], plan.sums)
    grads = [torch.empty_like(log_z, memory_format=torch.contiguous_format) for _ in range(3)]
    grad_direct = torch.empty_like(direct, memory_format=torch.contiguous_format)
    with torch.cuda.device_of(u):
        tables = _tables(plan, log_z, gain, readout, direct)
        entered, before = _pass_chunks(plan, tables, grad_y, grad_state, back=True)
        arrays = (grad_y, u, *tables, entered, starts, grad_u, sums)
        cuda_scan.differentiate[plan.grid](*arrays, *plan.numbers, **_options(plan), **NOT_AHEAD)
        summed = sums.sum(1, dtype=torch.float64)
        pairs = [_pairs(t) for t in (log_z, gain, readout, *grads)]
        cuda_tables.differentiate[(plan.channels,)](
            summed, *pairs, grad_direct, plan.states, ROWS=POWERS, **_shape(plan), **FUSED
        )
    return grad_u, *grads, grad_direct, before  # type: ignore[return-value]


def answers(
    grad_y: Tensor,
    grad_state: Tensor,
    u: Tensor,
    log_z: Tensor,
    gain: Tensor,
    readout: Tensor,
    direct: Tensor,
    state: Tensor,
) -> tuple[Tensor, ...]:
    """y, the state after the last sample, and gradients by all arguments."""
    system = (log_z, gain, readout, direct)
    y, after, starts = scan(u, *system, state)
    return y, after, *scan_backward(grad_y, grad_state, u, *system, starts)


def _plan(u: Tensor, log_z: Tensor) -> Plan:
    items, channels, length = u.shape
    states, blocks = log_z.shape[1], length // BLOCK
    run = min(LONGEST, max(SHORTEST, items * channels * blocks // (LANES * PROGRAMS)))
    return Plan(items, channels, length, states, max(LEAST, 1 << (states - 1).bit_length()), blocks, run)


def _shape(plan: Plan) -> dict[str, int]:
    return {"M": BLOCK, "W": plan.width, "num_warps": max(1, plan.width // 8)}


def _options(plan: Plan) -> dict[str, int | str]:
    # products of three numbers of TF32 each are within those of float32, on units that are made for TF32
    reduced = torch.backends.cuda.matmul.fp32_precision == "tf32"
    return {"PRECISION": "tf32" if reduced else "tf32x3", "ROWS": LANES, **_shape(plan), **FUSED}


def _tables(plan: Plan, log_z: Tensor, gain: Tensor, readout: Tensor, direct: Tensor) -> Tables:
    channels, width = plan.channels, plan.width
    tables = Tables(
        direct.new_empty(channels, BLOCK, dtype=torch.float32),
        direct.new_empty(channels, BLOCK, 2, width, dtype=torch.float32),
        direct.new_empty(channels, BLOCK, 2, width, dtype=torch.float32),
        direct.new_empty(channels, 4, 2, width),
    )
    last = plan.blocks - (plan.chunks - 1) * plan.run
    given = (*(_pairs(t) for t in (log_z, gain, readout)), direct.contiguous())
    cuda_tables.make[(channels,)](*given, *tables, plan.states, plan.rest, plan.run, last, **_shape(plan), **FUSED)
    return tables


def _pass_chunks(plan: Plan, tables: Tables, audio: Tensor, given: Tensor, back: bool) -> tuple[Tensor, Tensor]:
    """The states that enter all chunks (B, H, chunks, 2, W), and those that leave the last; back: the adjoint."""
    count = plan.chunks + (plan.rest > 0)
    ends = audio.new_empty(plan.items, plan.channels, count, 2, plan.width)
    left = torch.empty_like(given, memory_format=torch.contiguous_format)
    table = tables.exits if back else tables.entry
    arrays = (audio, table, tables.turns, ends)
    cuda_scan.gather[plan.grid](*arrays, *plan.numbers, BACK=back, **_options(plan), **AHEAD)
    numbers = (plan.states, plan.channels, plan.chunks, plan.rest)
    arrays = (ends, tables.turns, _pairs(given), _pairs(left))
    rows = (plan.items * plan.channels,)
    cuda_scan.connect[rows](*arrays, *numbers, BACK=back, GROUP=GROUP, W=plan.width, num_warps=1, **FUSED)
    return ends, left


def _pairs(numbers: Tensor) -> Tensor:
    """Complex numbers as real and imaginary parts; those of which a conjugate is yet to be taken are copied."""
    return torch.view_as_real(numbers.resolve_conj().contiguous())
