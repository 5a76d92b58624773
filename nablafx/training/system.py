"""The training of an effect: one step, over whole sequences or truncated ones."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from torch import Tensor
from torch.utils import _pytree as pytree

from nablafx.data import Batch
from nablafx.effects import Effect
from nablafx.training.beginning import initialise
from nablafx.training.callbacks import ProgressBar
from nablafx.training.compiling import CompiledEffect
from nablafx.training.handshake import check_data, check_loss, compare_memory
from nablafx.training.losses import WeightedSum, deaf_to_polarity
from nablafx.training.memory import keep_freed
from nablafx.training.metrics import Correlation, LossSums, default_metrics, joined
from nablafx.training.optimizers import OptimizerError, adamw, clip, parameter_groups
from nablafx.training.perceptual import AliasingMeter, file_metrics
from nablafx.training.pieces import pieces, target_of
from nablafx.training.schedules import Schedule, WarmupCosine
from nablafx.training.watch import INVERTED, NonFiniteWatch, check_validation_loss, inversion_message

# samples: what a forward pass without gradients takes at once, so that the memory does not grow with a file
_RENDER_PIECE = 2**18
# samples of a file that one update of the metrics hears
_SCORE_PIECE = 2**19


class System(LightningModule):
    """Trains, validates, tests and renders an effect.

    Every step runs the segment from the state that its context leaves (silence for ever, where there is none). With
    `tbptt_samples`, an optimizer step follows every so many samples, the state carried on and detached (truncated
    back-propagation through time); without, the whole segment is one piece.
    """

    def __init__(
        self,
        effect: Effect,
        loss: WeightedSum | None = None,
        lr: float = 0.005,
        weight_decay: float = 0.01,
        lr_multipliers: dict[str, float] | None = None,
        schedule: Schedule | None = None,
        initialise: bool = True,
        tbptt_samples: int | None = None,
        learn_from_context: bool = False,
        gradient_clip_val: float | None = 10.0,
        gradient_clip_algorithm: Literal["value", "norm"] = "value",
        compile: bool = False,
        sample_rate: int = 48_000,
    ) -> None:
        """
        Args:
            effect: what is trained.
            loss: default: ESR and a tenth of multi-resolution STFT.
            lr: learning rate of AdamW, where the effect asks for no other.
            lr_multipliers: factors of it for parts of the effect, by the start of their parameters' names.
            schedule: of the learning rates; default: WarmupCosine.
            initialise: a fit that begins anew lets the effect take from the training audio what needs no training.
            tbptt_samples: samples per optimizer step in truncated training.
            learn_from_context: gradients reach back through the context, by the state that it leaves: for effects whose
                states are slow. Else it is heard only, which costs a third of the time.
            gradient_clip_val: largest gradient; None: unclipped.
            gradient_clip_algorithm: clip each value, or the norm of all.
            compile: train through torch.compile, which takes a minute at first and pays where many small operations
                follow each other, as in gray boxes.
            sample_rate: Hz, of the data; supplied by them.
        """
        super().__init__()
        # truncated training steps the optimizer within a batch; whole sequences take the same way with one piece
        self.automatic_optimization = False
        self.effect = effect
        self.loss = loss or WeightedSum()
        self.lr, self.weight_decay, self.lr_multipliers = lr, weight_decay, lr_multipliers
        self.schedule = schedule or WarmupCosine()
        self._is_to_initialise = initialise
        self.tbptt_samples, self.learn_from_context = tbptt_samples, learn_from_context
        self.gradient_clip_val, self.gradient_clip_algorithm = gradient_clip_val, gradient_clip_algorithm
        self.sample_rate = sample_rate
        self._compiled = CompiledEffect(effect, self._waiting) if compile else None
        metrics = default_metrics()
        self.train_metrics = joined(metrics.clone(prefix="metrics/train/"))
        self.val_metrics = metrics.clone(prefix="metrics/val/")
        self.test_metrics = metrics.clone()
        self.file_metrics = file_metrics()
        self.test_totals: dict[str, float] = {}
        self._val_loss = LossSums(self.loss.size)
        self._correlation = Correlation()
        self._aliasing = AliasingMeter()
        self._watch = NonFiniteWatch()
        self._inversion_told = False

    def setup(self, stage: str) -> None:
        """Model, loss and data check each other.

        Raises:
            HandshakeError: they do not fit.
        """
        data = getattr(self.trainer, "datamodule", None)
        check_data(self.effect, data, self.tbptt_samples)
        if stage == "fit":
            self.schedule.check(self.trainer)
            check_loss(self.loss, data, self.tbptt_samples, self.device)
            compare_memory(self.effect, data, self.sample_rate)

    def forward(self, x: Tensor, controls: Tensor | None = None, state: Any = None) -> tuple[Tensor, Any]:
        return self.effect(x, controls, state)

    def configure_optimizers(self) -> Any:
        try:
            groups = parameter_groups(self.effect, self.lr, self.weight_decay, self.lr_multipliers)
            optimizer = adamw(groups, self.lr)
            scheduler = self.schedule.scheduler(optimizer)
        except (TypeError, ValueError) as error:
            raise OptimizerError(f"there is no optimizer for this model: {error}") from error
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "name": "lr"}}

    def training_step(self, batch: Batch, batch_index: int) -> None:
        step = self.global_step
        x, y = (track[..., batch.context :] for track in (batch.x, target_of(batch)))
        state = self._warm_up(batch)
        totals, values, predictions = [], [], []
        for x_piece, y_piece in pieces(x, y, self.tbptt_samples):
            prediction, state = self._run(x_piece, batch.controls, state)
            total, terms = self.loss.joined(prediction, y_piece)
            self._watch.note(total, self.global_step, batch.names)
            self._optimize(total, batch_index)
            state = pytree.tree_map(torch.detach, self.effect.absorb(state))
            totals.append(total.detach())
            values.append({name: value.detach() for name, value in terms.items()})
            predictions.append(prediction.detach())
        total = torch.stack(totals).mean()
        self.log("loss", total, prog_bar=True, logger=False)
        logs_now = self.trainer._logger_connector.should_update_logs
        # callbacks read what was logged last; each value costs as much as a small optimizer step
        if logs_now or self.trainer.is_last_batch:
            mean = {name: torch.stack([v[name] for v in values]).mean() for name in values[0]}
            self._log_losses("train", total, mean, step)
        if logs_now:
            self._log(self.train_metrics(torch.cat(predictions, dim=-1), y), step)
        if logs_now or self.device.type == "cpu":
            self._watch.look(self._last_checkpoint())

    def on_fit_start(self) -> None:
        if self.device.type == "cpu":
            keep_freed()
        count = sum(p.numel() for p in self.effect.parameters())
        field = self.effect.receptive_field
        reach = f", receptive field {field} samples ({1000 * field / self.sample_rate:.0f} ms)" if field else ""
        remark = self.effect.remark()
        rank_zero_info(f"{type(self.effect).__name__}: {count:,} parameters{reach}{remark and ', '}{remark}")
        if self._is_to_initialise and not self.trainer.ckpt_path:
            initialise(self.effect, getattr(self.trainer, "datamodule", None), self.device)
        # what is fitted again has learned more than it would be given
        self._is_to_initialise = False

    def on_validation_start(self) -> None:
        self._watch.look(self._last_checkpoint())

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        if batch.is_idle:
            return
        prediction, _ = self._run(batch.x, batch.controls)
        prediction, target = (track[..., batch.context :] for track in (prediction, target_of(batch)))
        self._val_loss.update(self.loss.sums(prediction, target))
        self.val_metrics.update(prediction, target)
        self._correlation.update(prediction, target)

    def on_validation_epoch_end(self) -> None:
        total, values = self.loss.of_sums(self._val_loss.compute())
        self._log_losses("val", total, values, self.global_step)
        self._log(self.val_metrics.compute(), self.global_step)
        correlation = float(self._correlation.compute())
        for metric in (self._val_loss, self.val_metrics, self._correlation):
            metric.reset()
        if self.trainer.sanity_checking:
            return
        check_validation_loss(float(total), self.global_step, self._last_checkpoint())
        self._tell_inversion(correlation)
        if self.trainer.training:
            scheduler: Any = self.lr_schedulers()
            self.schedule.after_validation(scheduler, total)

    def on_test_start(self) -> None:
        self._aliasing.forget()

    def test_step(self, batch: Batch, batch_index: int) -> dict[str, Any] | None:
        if batch.is_idle:
            return None
        prediction, target = self.render(batch.x, batch.controls), target_of(batch)
        metrics = self.test_metrics.clone()
        metrics.reset()
        for metric in metrics.values():
            metric.distributed_available_fn = lambda: False  # other processes have other files, and perhaps fewer
        for piece in pieces(prediction, target, _SCORE_PIECE):
            metrics.update(*piece)
            self.test_metrics.update(*piece)
        self._correlation.update(prediction, target)
        x, y, heard = (track.cpu() for track in (batch.x, target, prediction))
        aliasing = self._aliasing.measure(self.render, batch.controls, self.sample_rate, self.device)
        whole = self.file_metrics(prediction=heard, target=y, x=x, sample_rate=self.sample_rate, aliasing=aliasing)
        return {
            "name": batch.names[0],
            "values": {name: value.cpu() for name, value in {**metrics.compute(), **whole}.items()},
            **{"x": x[0], "y": y[0], "prediction": heard[0]},
        }

    def on_test_epoch_end(self) -> None:
        totals = {**self.test_metrics.compute(), **self.file_metrics.compute()}
        self.test_totals = {name: float(value) for name, value in totals.items()}
        self.log_dict({f"metrics/test/{name}": value for name, value in totals.items()})
        self._tell_inversion(float(self._correlation.compute()))
        for metric in (self.test_metrics, self.file_metrics, self._correlation):
            metric.reset()

    def predict_step(self, batch: Batch, batch_index: int) -> dict[str, Any] | None:
        if batch.is_idle:
            return None
        return {"name": batch.names[0], "prediction": self.render(batch.x, batch.controls)[0].cpu()}

    @torch.no_grad()
    def render(self, x: Tensor, controls: Tensor | None = None) -> Tensor:
        """x (B, 1, T) -> y (B, 1, T), in pieces with the state carried: any length, the same result.

        It is computed, and comes, in the precision of the weights.
        """
        training = self.effect.training
        self.effect.eval()
        dtype = next((p.dtype for p in self.effect.parameters() if p.is_floating_point()), x.dtype)
        x, controls = x.to(dtype), None if controls is None else controls.to(dtype)
        piece = max(_RENDER_PIECE // self.effect.frame_size, 1) * self.effect.frame_size
        state, outputs = None, []
        for part in x.split(piece, dim=-1):
            y, state = self.effect(part, controls, state)
            outputs.append(y)
        self.effect.train(training)
        return torch.cat(outputs, dim=-1)

    def _run(self, x: Tensor, controls: Tensor | None, state: Any = None) -> tuple[Tensor, Any]:
        """The effect, compiled where that is asked for and there is time to win it back."""
        run = self._compiled if self._compiled and self.trainer.state.fn == "fit" else self.effect
        return run(x, controls, state)

    def _warm_up(self, batch: Batch) -> Any:
        """The state at the start of the segment."""
        if not batch.context:
            return None
        with torch.set_grad_enabled(self.learn_from_context):
            return self.effect(batch.x[..., : batch.context], batch.controls)[1]

    def _optimize(self, total: Tensor, batch_index: int) -> None:
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        self.schedule.before_step(scheduler, self.trainer, batch_index)
        optimizer.zero_grad()
        self.manual_backward(total)
        if self.gradient_clip_val is not None:
            # not by Lightning's: it refuses fused optimizers in half precision
            clip(optimizer, self.gradient_clip_val, self.gradient_clip_algorithm)
        optimizer.step()

    def _log_losses(self, stage: str, total: Tensor, values: dict[str, Tensor], step: int) -> None:
        """The total, each weighted term that it is the sum of, and each term as it is."""
        weighted = {f"loss/{stage}/weighted/{name}": self.loss.weights[name] * v for name, v in values.items()}
        logged = {f"loss/{stage}/{name}": value for name, value in values.items()}
        self._log({f"loss/{stage}/total": total, **logged, **weighted}, step)

    def _log(self, values: dict[str, Tensor], step: int) -> None:
        if self.trainer.state.fn == "fit":
            # the axis of every sink is the optimizer step, also where one batch makes many
            axis = {"step": step, "epoch": self.current_epoch}
            values = {**values, **{k: torch.full((), float(v), device=self.device) for k, v in axis.items()}}
        self.log_dict(values)

    def _tell_inversion(self, correlation: float) -> None:
        if correlation < INVERTED and not self._inversion_told:
            self._inversion_told = True
            rank_zero_warn(inversion_message(correlation, deaf_to_polarity(self.loss)))

    def _waiting(self, what: str) -> AbstractContextManager[None]:
        bar = self.trainer.progress_bar_callback
        return bar.naming(what) if isinstance(bar, ProgressBar) else nullcontext()

    def _last_checkpoint(self) -> str:
        callback: Any = self.trainer.checkpoint_callback
        path = getattr(callback, "last_model_path", "") or getattr(callback, "best_model_path", "")
        return f"The last good checkpoint is {path}." if path else "There is no checkpoint yet."
