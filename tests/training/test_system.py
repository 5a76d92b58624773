"""The System: steps, truncation, resuming, losses and metrics of epochs."""

from __future__ import annotations

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from nablafx.conditioning import TVFiLM
from nablafx.effects import TCN
from nablafx.training.losses import ESRLoss, MultiResolutionSTFT, Term, WeightedSum
from nablafx.training.media import MediaCallback
from nablafx.training.metrics import default_metrics
from nablafx.training.schedules import PlateauSchedule
from nablafx.training.sinks import FileSink

from .small import SEGMENT, data, lstm, system, trainer


@pytest.fixture
def demo(knobbed):
    return knobbed


@pytest.mark.parametrize("tbptt", [None, 1280], ids=["whole", "truncated"])
def test_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(demo, tmp_path, tbptt):
    def train(folder, epochs, checkpoint=None):
        saver = pl.callbacks.ModelCheckpoint(folder, monitor="loss/val/total", save_last=True)
        run = trainer(folder, max_epochs=epochs, callbacks=[saver], enable_checkpointing=True)
        model = system(lstm if tbptt else None, tbptt_samples=tbptt, schedule=PlateauSchedule(patience=0), lr=0.02)
        run.fit(model, data(demo), ckpt_path=checkpoint, weights_only=True)
        return model, run

    straight, _ = train(tmp_path / "straight", 4)
    train(tmp_path / "resumed", 2)
    torch.manual_seed(1234)  # another process would not have this one's generator
    resumed, run = train(tmp_path / "resumed", 4, tmp_path / "resumed" / "last.ckpt")
    assert run.current_epoch == 4
    for (name, a), b in zip(straight.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_resuming_in_the_middle_of_an_epoch_goes_on_with_the_batches_not_seen_yet(demo, tmp_path):
    seen = []

    class Spy(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append(batch.names)

    def train(steps, checkpoint=None):
        saver = pl.callbacks.ModelCheckpoint(tmp_path / str(steps), save_last=True, every_n_train_steps=1)
        run = trainer(tmp_path, max_steps=steps, callbacks=[saver, Spy()], enable_checkpointing=True)
        run.fit(system(), data(demo), ckpt_path=checkpoint, weights_only=True)

    train(8)
    whole = list(seen)
    seen.clear()
    train(3)
    train(8, tmp_path / "3" / "last.ckpt")
    assert seen == whole


def test_truncated_training_steps_every_so_many_samples_with_carried_state(demo, tmp_path):
    """Against a loop written down here: one AdamW step per piece, the state carried and detached."""
    held = {"gradient_clip_val": 0.01, "weight_decay": 0.0, "schedule": PlateauSchedule()}
    model = system(lstm, tbptt_samples=1536, **held)
    twin = system(lstm, tbptt_samples=1536)
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    source = data(demo)
    run.fit(model, source)
    assert run.global_step == 3
    batch = next(iter(source.train_dataloader()))
    optimizer = torch.optim.AdamW(twin.effect.parameters(), lr=twin.lr, weight_decay=0.0)
    state = None
    for start, stop in ((0, 1536), (1536, 3072), (3072, SEGMENT)):
        piece = slice(start, stop)
        y, state = twin.effect(batch.x[..., piece], batch.controls, state)
        total, _ = twin.loss(y, batch.y[..., piece])
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_value_(twin.effect.parameters(), 0.01)
        optimizer.step()
        state = torch.utils._pytree.tree_map(torch.detach, state)
    for (name, a), b in zip(model.effect.state_dict().items(), twin.effect.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_a_rest_shorter_than_a_piece_goes_with_the_last_one(demo, tmp_path):
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    run.fit(system(lstm, tbptt_samples=2048), data(demo))
    assert run.global_step == 2


@pytest.mark.parametrize(("algorithm", "size"), [("value", 1e-4), ("norm", 1e-4)])
@pytest.mark.parametrize("tbptt", [None, 1280], ids=["whole", "truncated"])
def test_clipping_works(demo, tmp_path, algorithm, size, tbptt):
    norms = []

    class Spy(pl.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            gradients = [p.grad for p in pl_module.effect.parameters() if p.grad is not None]
            by = {"value": lambda g: g.abs().max(), "norm": lambda g: g.norm()}[algorithm]
            norms.append(float(by(torch.cat([g.flatten() for g in gradients]))))

    model = system(lstm if tbptt else None, tbptt_samples=tbptt)
    model.gradient_clip_val, model.gradient_clip_algorithm = size, algorithm
    trainer(tmp_path, max_steps=3, callbacks=[Spy()]).fit(model, data(demo))
    assert len(norms) >= 3
    assert norms == pytest.approx([size] * len(norms), rel=1e-3)


def test_context_is_run_and_not_scored(demo, tmp_path):
    """With context as long as the receptive field, validation scores what a run over the whole file gives."""
    model = system()
    field = model.effect.receptive_field
    source = data(demo, context=field, batch_size=1)
    run = trainer(tmp_path)
    run.validate(model, source, verbose=False)
    scored = run.callback_metrics["metrics/val/mse"]
    errors, count = 0.0, 0
    for batch in source.val_dataloader():
        with torch.no_grad():
            y, _ = model.effect(batch.x, batch.controls)
        error = (y - batch.y)[..., field:]
        assert error.shape[-1] == SEGMENT
        errors, count = errors + float(error.square().sum()), count + error.numel()
    assert float(scored) == pytest.approx(errors / count, rel=1e-5)


@pytest.mark.parametrize("reaches_back", [True, False])
def test_gradients_reach_back_through_the_context_where_they_are_to(demo, tmp_path, reaches_back):
    """They are those of one run over context and segment, scored on the segment; else of the segment alone."""
    model = system(lstm, learn_from_context=reaches_back, gradient_clip_val=None, initialise=False)
    names, found, expected = [name for name, _ in model.effect.named_parameters()], [], []

    class Spy(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            y, _ = pl_module.effect(batch.x, batch.controls)
            loss = pl_module.loss(y[..., batch.context :], batch.y[..., batch.context :])[0]
            expected.extend(torch.autograd.grad(loss, pl_module.effect.parameters()))

        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            found.extend(p.grad.clone() for p in pl_module.effect.parameters())

    trainer(tmp_path, max_steps=1, callbacks=[Spy()]).fit(model, data(demo, context=512))
    apart = [(a - b).abs().max() / b.abs().max() for a, b in zip(found, expected, strict=True)]
    assert len(apart) == len(names) > 0
    assert (max(apart) < 1e-3) == reaches_back, dict(zip(names, apart, strict=True))


def test_validation_metrics_are_those_of_the_whole_epoch(demo, tmp_path):
    """Unequal batches (the last one is smaller) count by what they hold."""
    model, source = system().eval(), data(demo, batch_size=3)
    run = trainer(tmp_path)
    run.validate(model, source, verbose=False)
    batches = list(source.val_dataloader())
    sizes = {len(batch.x) for batch in batches}
    assert len(sizes) > 1
    with torch.no_grad():
        predictions = torch.cat([model.effect(b.x, b.controls)[0] for b in batches])
    targets = torch.cat([b.y for b in batches])
    for name, value in default_metrics()(predictions, targets).items():
        assert float(run.callback_metrics[f"metrics/val/{name}"]) == pytest.approx(float(value), rel=1e-4), name


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_validation_loss_is_that_of_all_held_out_audio(demo, tmp_path, batch_size):
    """However it is cut into batches; of a loss that is a mean over items too."""
    esr_stft = {"esr": Term(ESRLoss()), "mrstft": Term(MultiResolutionSTFT(), 0.1)}
    model = system(loss=WeightedSum({**esr_stft, "l1": Term(nn.L1Loss(), 2.0)})).eval()
    source, run = data(demo, batch_size=batch_size), trainer(tmp_path)
    run.validate(model, source, verbose=False)
    batches = list(source.val_dataloader())
    with torch.no_grad():
        predictions = torch.cat([model.effect(b.x, b.controls)[0] for b in batches])
        total, values = model.loss(predictions, torch.cat([b.y for b in batches]))
    for name, value in {"total": total, **values}.items():
        assert float(run.callback_metrics[f"loss/val/{name}"]) == pytest.approx(float(value), rel=1e-5), name


def test_losses_are_logged_as_total_weighted_and_unweighted(demo, tmp_path):
    run = trainer(tmp_path, max_epochs=1)
    run.fit(system(), data(demo))
    for stage in ("train", "val"):
        logged = {name: float(run.callback_metrics[f"loss/{stage}/{name}"]) for name in ("total", "esr", "mrstft")}
        weighted = {name: float(run.callback_metrics[f"loss/{stage}/weighted/{name}"]) for name in ("esr", "mrstft")}
        assert weighted == pytest.approx({"esr": logged["esr"], "mrstft": 0.1 * logged["mrstft"]}, rel=1e-5)
        assert logged["total"] == pytest.approx(sum(weighted.values()), rel=1e-5)


def test_test_scores_each_file_alone_and_all_together(demo, tmp_path):
    model, source = system().eval(), data(demo)
    outputs = {}

    class Spy(pl.Callback):
        def on_test_batch_end(self, trainer, pl_module, out, batch, batch_idx, dataloader_idx=0):
            outputs[out["name"]] = (out, batch)

    trainer(tmp_path, callbacks=[Spy()]).test(model, source, verbose=False)
    assert len(outputs) == 2
    errors = []
    for out, batch in outputs.values():
        with torch.no_grad():
            y, _ = model.effect(batch.x, batch.controls)
        torch.testing.assert_close(out["prediction"], y[0])
        errors.append((y - batch.y).square())
        assert float(out["values"]["mse"]) == pytest.approx(float(errors[-1].mean()), rel=1e-4)
    total = torch.cat([e.flatten() for e in errors]).mean()
    assert model.test_totals["mse"] == pytest.approx(float(total), rel=1e-4)


def test_a_file_is_scored_without_other_processes(demo):
    """They have other files: their sums belong to the totals, and a process with fewer files would never answer."""

    def gather(state, group=None):
        raise AssertionError("must not be called")

    model, source = system().eval(), data(demo)
    source.setup("test")
    for metric in (*model.test_metrics.values(), *model.file_metrics.values()):
        metric.distributed_available_fn, metric.dist_sync_fn = (lambda: True), gather
    batch = next(iter(source.test_dataloader()))
    assert set(model.test_step(batch, 0)["values"]) == {*model.test_metrics.keys(), *model.file_metrics.keys()}
    with pytest.raises(AssertionError, match="must not be called"):
        model.test_metrics.compute()


def test_render_equals_one_call_whatever_the_length(monkeypatch):
    monkeypatch.setattr("nablafx.training.system._RENDER_PIECE", 1000)
    model = system(TCN(2, num_blocks=2, channel_width=4, conditioning=TVFiLM)).eval()
    x, controls = torch.randn(1, 1, 5001), torch.rand(1, 2)
    with torch.no_grad():
        torch.testing.assert_close(model.render(x, controls), model.effect(x, controls)[0], rtol=1e-5, atol=1e-6)


def test_double_precision_trains_draws_and_tests(demo, tmp_path):
    model = system()
    media = MediaCallback(log_media_every_n_steps=1, max_seconds=0.1)
    sink = FileSink(str(tmp_path))
    run = trainer(tmp_path, max_steps=2, precision="64-true", callbacks=[media], logger=sink)
    run.fit(model, data(demo))
    run.test(model, data(demo), verbose=False)
    assert {p.dtype for p in model.effect.parameters()} == {torch.float64}
    assert all(np.isfinite(value) for value in model.test_totals.values())
    assert len(list((tmp_path / "audio/prediction").rglob("*.wav"))) == 2 * 2  # items, steps


def test_plateau_schedule_steps_per_validation_and_not_in_the_sanity_check(demo, tmp_path):
    model = system(schedule=PlateauSchedule(0.5, patience=0), lr=1e-12)
    run = trainer(tmp_path, max_epochs=3, num_sanity_val_steps=2)
    run.fit(model, data(demo))
    # the loss cannot improve at this rate: the first validation sets the mark, each later one halves
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.25e-12, rel=1e-6)


def test_best_checkpoint_holds_the_weights_that_were_validated(demo, tmp_path):
    saver = pl.callbacks.ModelCheckpoint(tmp_path, monitor="loss/val/total", filename="best")
    run = trainer(tmp_path, max_epochs=3, callbacks=[saver], enable_checkpointing=True)
    run.fit(system(lr=0.02), data(demo))
    again = trainer(tmp_path)
    again.validate(system(), data(demo), ckpt_path=saver.best_model_path, weights_only=True, verbose=False)
    assert float(again.callback_metrics["loss/val/total"]) == pytest.approx(float(saver.best_model_score), rel=1e-6)


def test_film_statistics_move_in_training_only(demo, tmp_path):
    model = system()
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=2)
    run.fit(model, data(demo))
    norm = model.effect.blocks[0].modulation.norm
    assert norm.updates == 2
    before = norm.mean.clone()
    run.validate(model, data(demo), verbose=False)
    assert torch.equal(norm.mean, before)
