"""Published networks, in this framework's terms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nablafx.conditioning import FiLM, FixedConditioning, TFiLM, TinyTFiLM, TVFiLM
from nablafx.convert.old import Arguments, NoCounterpartError, described
from nablafx.effects import GCN, LSTM, S4, TCN

Described = str | dict[str, Any]
CONDITIONING: dict[str, Callable] = {"film": FiLM, "tfilm": TFiLM, "ttfilm": TinyTFiLM, "tvfilm": TVFiLM}
LSTM_CONDITIONING: dict[str, Callable] = {"fixed": FixedConditioning, "tvcond": TVFiLM}
IN_BLOCKS = {"tfilm", "ttfilm", "tvfilm"}


def convert_net(name: str, old: Arguments, exact: bool) -> Described:
    """`effect` of a config for a published net.

    Args:
        name: of its class.
        exact: for a checkpoint: what sounds as it did. Else what is meant, without its mistakes.

    Raises:
        NoCounterpartError: this framework has no such net.
    """
    if name not in NETS:
        raise NoCounterpartError(f"there is no counterpart of the published {name}; nets are {', '.join(NETS)}")
    for channels in ("num_inputs", "num_outputs"):
        old.need(channels, 1, 1, "one channel goes in and one comes out")
    effect = NETS[name](old, exact)
    old.end()
    return effect


def _tcn(old: Arguments, exact: bool) -> Described:
    values = {**_stack(old, exact), "act_type": old.take("act_type", "tanh")}
    growth = old.take("channel_growth", 1)
    if growth > 1:
        # published, the first block has as many channels, and the width is not looked at
        values |= {"channel_width": growth, "channel_growth": growth}
    return described(TCN, values)


def _gcn(old: Arguments, exact: bool) -> Described:
    values = _stack(old, exact)
    if old.take("channel_growth", 1) > 1:
        old.notes.change("GCN.channel_growth: left out, for the published net does not look at it")
    return described(GCN, values)


def _stack(old: Arguments, exact: bool) -> dict[str, Any]:
    """What TCN and GCN share."""
    old.need("causal", False, True, "the net would hear the future")
    old.need("groups", 1, 1)
    old.need("batchnorm", False, False)
    if not old.take("bias", False):
        old.notes.change(f"{old.where}.bias: convolutions have one here; that of a converted checkpoint is zero")
    kind = old.take("cond_type")
    kernel_size = old.take("kernel_size", 3)
    values = {
        "num_blocks": old.take("num_blocks", 10),
        "kernel_size": kernel_size,
        "dilation_growth": old.take("dilation_growth", 2),
        "channel_width": old.take("channel_width", 32),
        "stack_size": old.take("stack_size", 10),
        "residual": old.take("residual", False),
        "direct_path": old.take("direct_path", False),
        "conditioning": _conditioning(kind, old, CONDITIONING),
    }
    if not exact or kernel_size == 1:
        return values
    old.notes.change(f"{old.where}: residual_delay: 1, for its residual and skip paths were a sample late")
    if kind in IN_BLOCKS:
        old.notes.change(
            f"{old.where}: cold_start: true, for each layer counted its blocks from another sample: such a net takes "
            "whole files. Without cold_start it streams: blocks begin with the stream, and it sounds a little other"
        )
    return {**values, "residual_delay": 1, "cold_start": kind in IN_BLOCKS}


def _s4(old: Arguments, exact: bool) -> Described:
    old.need("batchnorm", False, False)
    values = {
        "num_blocks": old.take("num_blocks", 4),
        "num_states": old.take("s4_state_dim", 4),
        "channel_width": old.take("channel_width", 32),
        "act_type": old.take("act_type", "tanh"),
        "residual": old.take("residual", False),
        "direct_path": old.take("direct_path", False),
        "s4_learning_rate": old.take("s4_learning_rate", 0.0005),
        "conditioning": _conditioning(old.take("cond_type"), old, CONDITIONING),
    }
    old.notes.change("S4.s4_learning_rate: takes effect here; published, it was ignored")
    return described(S4, {**values, "cold_start": cold_start(exact, old)})


def _lstm(old: Arguments, exact: bool) -> Described:
    kind = old.take("cond_type")
    values = {
        "hidden_size": old.take("hidden_size", 32),
        "num_layers": old.take("num_layers", 1),
        "residual": old.take("residual", False),
        "direct_path": old.take("direct_path", False),
        "conditioning": _conditioning(kind, old, LSTM_CONDITIONING, num_features=16),
    }
    return described(LSTM, {**values, "cold_start": cold_start(exact, old)})


def cold_start(exact: bool, old: Arguments) -> bool:
    """Whether a sequence begins in zeros, as published."""
    if exact:
        old.notes.change(
            f"{old.where}: cold_start: true, for a file began in zeros. Leave it out to begin in what silence leaves, "
            "which spares the first moments a transient"
        )
    return exact


def _conditioning(kind: str | None, old: Arguments, known: dict[str, Callable], **features: int) -> Described | None:
    controls = old.take("num_controls", 0)
    if controls:
        old.notes.change(f"{old.where}.num_controls: {controls}, as the data say (data.controls), and not in the model")
    size, layers = old.take("cond_block_size", 128), old.take("cond_num_layers", 1)
    if kind is None:
        return None
    if kind not in known:
        raise NoCounterpartError(f"{old.where}: cond_type {kind} has no counterpart; there are {', '.join(known)}")
    in_blocks = kind not in ("film", "fixed")
    if in_blocks and layers != 1:
        raise NoCounterpartError(f"{old.where}: cond_num_layers is {layers}, and a conditioning has one layer here")
    values = {"block_size": size, **(features if kind == "tvcond" else {})} if in_blocks else {}
    return described(known[kind], values)


NETS: dict[str, Callable[[Arguments, bool], Described]] = {"TCN": _tcn, "GCN": _gcn, "S4": _s4, "LSTM": _lstm}
