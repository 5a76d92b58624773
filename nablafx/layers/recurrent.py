"""LSTM whose state is an argument and whose silence is its fixed point."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nablafx.kernels.recurrent import lstm

# cuDNN refuses very long sequences (seen at 480,000 steps); carried state makes pieces exact
_MAX_STEPS = 65_536
# of the recurrence itself: it ends near the fixed point that a long run reaches, where Newton's method finds it
_SETTLING_STEPS = 256
_NEWTON_ITERATIONS = 4
# of (I - J)^-1: beyond it the fixed point is marginal, and its gradient would be noise
_MAX_SENSITIVITY = 1e3

State = tuple[Tensor, Tensor]


class Recurrent(nn.LSTM):
    """`num_layers` LSTM layers over (B, T, input_size), state (h, c) each (B, num_layers, hidden_size)."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1) -> None:
        super().__init__(input_size, hidden_size, num_layers, batch_first=True)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:  # type: ignore[override]
        """x (B, T, input_size) -> h of the last layer (B, T, hidden_size) and the state after the last step."""
        h, c = (s.transpose(0, 1).contiguous() for s in state)
        y, (h, c) = self._run(x, (h, c))
        return y, (h.transpose(0, 1), c.transpose(0, 1))

    def rest(self, x: Tensor, start: State | None = None) -> tuple[Tensor, State]:
        """Output (B, hidden_size) and state after the constant input x (B, input_size) held for ever.

        Found layer by layer as the fixed point of the recurrence near which a run from `start` (None: zero) settles.
        Where a layer has none that attracts (it may oscillate for ever), the nearest point found is taken: a valid
        state, like any other.
        """
        zero = x.new_zeros(x.shape[0], self.num_layers, self.hidden_size)
        h, c = (s.transpose(0, 1).contiguous() for s in start or (zero, zero))
        with torch.no_grad():
            _, (settled, _) = self._run(x.unsqueeze(1).expand(-1, _SETTLING_STEPS, -1), (h, c))
        states = []
        for layer in range(self.num_layers):
            w_ih, w_hh, bias = self._weights(layer)
            x, c = _fixed_point(x @ w_ih.T + bias, w_hh, settled[layer])
            states.append((x, c))
        h, c = (torch.stack(s, dim=1) for s in zip(*states, strict=True))
        return x, (h, c)

    def _run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """As `forward`, state and its successor (num_layers, B, hidden_size)."""
        h, c = state
        if x.device.type == "cpu" and (x.dtype == torch.float32 or torch.is_autocast_enabled("cpu")):
            return self._run_layers(x, h, c)
        outputs = []
        for piece in x.split(_MAX_STEPS, dim=1):
            y, (h, c) = super().forward(piece, (h, c))
            outputs.append(y)
        return (torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]), (h, c)

    def _run_layers(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, State]:
        self.check_forward_args(x, (h, c), None)
        states = []
        for layer in range(self.num_layers):
            x, *after = lstm(x, h[layer], c[layer], *self._weights(layer))
            states.append(after)
        h, c = (torch.stack(s) for s in zip(*states, strict=True))
        return x, (h, c)

    def _weights(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of the input, of the recurrence, and the bias."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        w_ih, w_hh, b_ih, b_hh = (getattr(self, f"{name}_l{layer}") for name in names)
        return w_ih, w_hh, b_ih + b_hh


def _fixed_point(drive: Tensor, w_hh: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Solve h = o tanh(c), c = f c + i g for gates at drive + W h: drive (B, 4 H), h near it (B, H) -> h, c (B, H).

    c is eliminated, c = i g / (1 - f), so that slow forget gates need no long iteration; h follows by Newton's method.
    No step waits for the accelerator. The last Newton step is differentiable: it does not move the solution, and gives
    it the gradient of the implicit function theorem.
    """
    with torch.no_grad():
        for _ in range(_NEWTON_ITERATIONS):
            target, _, slopes = _cell(drive, w_hh, h)
            inverse, trusted = _inverse(slopes, w_hh)
            step = (inverse @ (target - h).unsqueeze(-1)).squeeze(-1)
            h = torch.where(trusted, h + step, target).clamp(-1, 1)
        target, _, slopes = _cell(drive, w_hh, h)
        inverse, trusted = _inverse(slopes, w_hh)
        inverse = torch.where(trusted.unsqueeze(-1), inverse, torch.zeros_like(inverse))
    target = _cell(drive, w_hh, h)[0]
    h = h + (inverse @ (target - h).unsqueeze(-1)).squeeze(-1)
    _, c, _ = _cell(drive, w_hh, h)
    return h, c


def _cell(drive: Tensor, w_hh: Tensor, h: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """o tanh(c) and c at the given h, and the slope of the former by each gate's input, (B, H) each."""
    i, f, g, o = (drive + h @ w_hh.T).chunk(4, dim=-1)
    # 1 - sigmoid(f) without cancellation; bounded, for a gate that never forgets has no fixed point
    leak = torch.sigmoid(-f).clamp_min(1e-6)
    keep, i, g, o = 1 - leak, torch.sigmoid(i), torch.tanh(g), torch.sigmoid(o)
    c = i * g / leak
    out = torch.tanh(c)
    by_c = o * (1 - out * out)
    slopes = (by_c * c * (1 - i), by_c * c * keep, by_c * i * (1 - g * g) / leak, o * (1 - o) * out)
    return o * out, c, slopes


def _inverse(slopes: tuple[Tensor, ...], w_hh: Tensor) -> tuple[Tensor, Tensor]:
    """(I - J)^-1 (B, H, H) for the map's Jacobian J, and where it can be trusted (B, 1)."""
    hidden = w_hh.shape[1]
    jacobian = (torch.stack(slopes, dim=1).unsqueeze(-1) * w_hh.view(4, hidden, hidden)).sum(1)
    identity = torch.eye(hidden, dtype=w_hh.dtype, device=w_hh.device)
    inverse = torch.linalg.inv_ex(identity - jacobian).inverse
    size = inverse.abs().sum(-1).amax(-1, keepdim=True)
    return inverse, size < _MAX_SENSITIVITY
