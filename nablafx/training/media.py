"""What is logged to listen to and to look at while a model trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from nablafx.training.figures import FigureName, Subject, draw
from nablafx.training.sinks import Sink

if TYPE_CHECKING:
    from nablafx.data.dataset import Batch


class MediaCallback(Callback):
    """Audio and figures, every so many optimizer steps and at the end, to every sink among the trainer's loggers.

    The audio is the data module's `excerpt(max_seconds)`, at its own rate and level: input and target once, then
    prediction and difference (target - prediction), as "audio/prediction/<item>" and so on, and of the first item what
    comes out of each stage of a gray box ("audio/stage/<stage>/<item>"). Figures are of the first item, as
    "figures/<name>". Between its events it costs nothing.
    """

    def __init__(
        self,
        log_media_every_n_steps: int = 1000,
        max_seconds: float = 5.0,
        audio: bool = True,
        figures: Sequence[FigureName] = ("comparison", "response", "stages"),
    ) -> None:
        """
        Args:
            log_media_every_n_steps: optimizer steps; 0 switches all of it off.
            max_seconds: of audio, at most.
            audio: whether to log audio.
            figures: which to draw; none: [].

        Raises:
            ValueError: in training, where the trainer has no data module.
        """
        self.log_media_every_n_steps = log_media_every_n_steps
        self.max_seconds = max_seconds
        self.audio = audio
        self.figures = list(figures)
        self._periods = 0
        self._folder = ""  # that has input and target already
        self._last_step = -1
        self._excerpt: Batch | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._excerpt = None
        sinks = _sinks(trainer)
        if not self.log_media_every_n_steps or not sinks or not trainer.is_global_zero:
            return
        datamodule: Any = getattr(trainer, "datamodule", None)
        if datamodule is None:
            raise ValueError(
                "MediaCallback takes its audio from a data module, and the trainer has none: "
                "give it one, or set log_media_every_n_steps: 0"
            )
        self._excerpt = batch = datamodule.excerpt(self.max_seconds)
        self._periods = trainer.global_step // self.log_media_every_n_steps
        self._last_step = -1
        if self._folder != trainer.default_root_dir:
            self._log_audio(trainer, pl_module, (("input", batch.x), ("target", batch.y)))
        self._folder = trainer.default_root_dir

    def state_dict(self) -> dict[str, Any]:
        return {"folder": self._folder}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._folder = state_dict["folder"]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self._excerpt is None:
            return
        # Truncated training takes many optimizer steps a batch, so a multiple of n may be jumped over.
        periods = trainer.global_step // self.log_media_every_n_steps
        if periods > self._periods:
            self._periods = periods
            self._log(self._excerpt, trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._excerpt is not None and trainer.global_step != self._last_step:
            self._log(self._excerpt, trainer, pl_module)
        self._excerpt = None

    @torch.no_grad()
    def _log(self, batch: Batch, trainer: Trainer, pl_module: Any) -> None:
        target = batch.y
        assert target is not None  # held-out audio has both sides
        self._last_step = step = trainer.global_step
        controls = None if batch.controls is None else batch.controls.to(pl_module.device)
        prediction = pl_module.render(batch.x.to(pl_module.device), controls).cpu()
        self._log_audio(trainer, pl_module, (("prediction", prediction), ("difference", target - prediction)))
        first = None if controls is None else controls[:1]
        title = f"{batch.names[0]}, step {step}"
        rate, shown = pl_module.sample_rate, (batch.x[:1], target[:1], first)
        subject = Subject(pl_module.effect, pl_module.render, rate, *shown, title, prediction[:1])
        for sink in _sinks(trainer):
            for tag, audio in _stages(subject, batch.names[0]) if self.audio else ():
                sink.log_audio(tag, audio, pl_module.sample_rate, step)
        for name in self.figures:
            figure = draw(name, subject)
            if figure is not None:
                for sink in _sinks(trainer):
                    sink.log_figure(f"figures/{name}", figure, step)

    def _log_audio(self, trainer: Trainer, pl_module: Any, tracks: Sequence[tuple[str, Tensor]]) -> None:
        assert self._excerpt is not None
        for sink in _sinks(trainer) if self.audio else ():
            for kind, audio in tracks:
                for name, item in zip(self._excerpt.names, audio, strict=True):
                    sink.log_audio(f"audio/{kind}/{name}", item, pl_module.sample_rate, trainer.global_step)


class NormsCallback(Callback):
    """Norms of gradients, before they are clipped, and of parameters, every so many optimizer steps: to every sink.

    As "norms/gradient/<part>" and "norms/parameter/<part>", a part being a block, a stage or a layer of the effect, and
    "all". On an accelerator it waits for it then; between, it costs nothing.
    """

    def __init__(self, log_norms_every_n_steps: int = 100) -> None:
        if log_norms_every_n_steps < 1:
            raise ValueError(f"NormsCallback: log_norms_every_n_steps is {log_norms_every_n_steps}; it needs 1 or more")
        self.log_norms_every_n_steps = log_norms_every_n_steps

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        step = trainer.global_step
        if step % self.log_norms_every_n_steps or not trainer.is_global_zero:
            return
        effect: Any = pl_module.effect
        parts: dict[str, list[Tensor]] = {}
        for name, parameter in effect.named_parameters():
            part = ".".join(name.split(".")[:2])
            for kind, value in (("parameter", parameter), ("gradient", parameter.grad)):
                if value is not None:
                    parts.setdefault(f"norms/{kind}/{part}", []).append(value.detach().norm())
                    parts.setdefault(f"norms/{kind}/all", []).append(parts[f"norms/{kind}/{part}"][-1])
        norms = {tag: torch.stack(values).norm().item() for tag, values in parts.items()}
        for logger in trainer.loggers:
            logger.log_metrics(norms, step)


def _sinks(trainer: Trainer) -> list[Sink]:
    # A foreign logger may have a log_audio of its own, with other arguments.
    return [logger for logger in trainer.loggers if isinstance(logger, Sink)]


def _stages(subject: Subject, item: str) -> Iterator[tuple[str, Tensor]]:
    assert subject.x is not None
    device = next(subject.effect.parameters(), torch.zeros(())).device
    for tap in subject.effect.taps(subject.x.to(device), subject.controls):
        yield f"audio/stage/{tap.name}/{item}", tap.audio[0].cpu()
