"""Metrics of whole files: properties that algebra gives, the rules for silence, and files that add up."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
from lightning.pytorch import Callback

from nablafx.analysis import crest_factor_db, gain_trace, integrated_loudness
from nablafx.effects import LSTM
from nablafx.report.compare import HIGHER_IS_BETTER
from nablafx.training.metrics import default_metrics
from nablafx.training.perceptual import AliasingMeter, file_metrics

from .small import data, system, trainer

RATE = 8000
CPU = torch.device("cpu")


def noise(seed, seconds=1.0, level=0.1):
    samples = round(seconds * RATE)
    return level * torch.randn(1, 1, samples, generator=torch.Generator().manual_seed(seed))


def scored(prediction, target, x=None, aliasing=1e-6, metrics=None):
    """Values of one file."""
    metrics = metrics or file_metrics()
    given = {"prediction": prediction, "target": target, "x": target if x is None else x}
    values = metrics(**given, sample_rate=RATE, aliasing=aliasing)
    return {name: float(value) for name, value in values.items()}


def totals(metrics):
    return {name: float(value) for name, value in metrics.compute().items()}


@pytest.mark.parametrize("gain_db", [6.02, -3.0])
def test_a_gain_is_heard_in_lufs_and_gain_and_not_in_crest(gain_db):
    target = noise(0)
    values = scored(10 ** (gain_db / 20) * target, target, noise(1))
    assert values == pytest.approx({"lufs": abs(gain_db), "crest": 0, "gain": abs(gain_db), "asr": -60}, abs=1e-4)


def test_a_clipped_sine_has_the_crest_of_algebra():
    """Clipped at sin a of its peak, a sine has the mean square (2 a - sin 2 a) / (2 π) + (1 - 2 a / π) sin² a."""
    angle = math.pi / 5
    sine = torch.sin(2 * math.pi * 50.5 * torch.arange(RATE) / RATE).view(1, 1, -1)
    clipped = sine.clamp(-math.sin(angle), math.sin(angle))
    power = (2 * angle - math.sin(2 * angle)) / math.pi / 2 + (1 - 2 * angle / math.pi) * math.sin(angle) ** 2
    want = 10 * math.log10(2) - 10 * math.log10(math.sin(angle) ** 2 / power)
    assert scored(clipped, sine)["crest"] == pytest.approx(want, abs=0.01)


def test_polarity_and_delay_of_a_whole_block_are_not_heard():
    """That is what sets them apart from ESR."""
    target = noise(0)
    assert scored(-target, target) == pytest.approx({"lufs": 0, "crest": 0, "gain": 0, "asr": -60}, abs=1e-4)


def test_a_compressor_that_is_not_there_costs_its_gain():
    """Half of the time 6 dB less: 3 dB in the mean, where loudness alone could be made up for."""
    target = noise(0, 2.0)
    target[..., RATE:] /= 2
    x = noise(0, 2.0)
    assert scored(x, target, x)["gain"] == pytest.approx(20 * math.log10(2) / 2, abs=1e-3)


FILES = [(0, 1.0, 0.3), (1, 0.5, 0.01), (2, 2.5, 0.1)]


def pairs():
    for seed, seconds, level in FILES:
        x = noise(seed, seconds, level)
        yield torch.tanh(2.5 * x), torch.tanh(3 * x) * 0.8 + noise(seed + 10, seconds, level / 10), x


def by_formula():
    lufs, crest, gains = [], [], []
    for prediction, target, x in pairs():
        lufs.append(abs(integrated_loudness(prediction[0], RATE) - integrated_loudness(target[0], RATE)))
        crest.append(abs(crest_factor_db(prediction) - crest_factor_db(target)))
        dry, told, wanted = (track[0, 0].numpy() for track in (x, prediction, target))
        gains.append(np.abs(gain_trace(dry, told, RATE).gain_db - gain_trace(dry, wanted, RATE).gain_db))
    ratios = [10.0**-k for k in range(len(lufs))]
    values = {"lufs": np.mean(lufs), "crest": np.mean(crest), "gain": np.mean(np.concatenate(gains))}
    return {**values, "asr": 10 * np.log10(np.mean(ratios))}


def test_files_weigh_the_same_but_in_gain_where_windows_do():
    metrics = file_metrics()
    for k, file in enumerate(pairs()):
        scored(*file, aliasing=10.0**-k, metrics=metrics)
    assert totals(metrics) == pytest.approx(by_formula(), rel=1e-4)


def test_processes_add_up_as_one():
    """What torchmetrics does with the gathered states under DDP."""
    ranks = [file_metrics(), file_metrics()]
    for k, file in enumerate(pairs()):
        scored(*file, aliasing=10.0**-k, metrics=ranks[k % 2])
    for name, metric in ranks[0].items():
        other = iter([getattr(ranks[1][name], state) for state in metric._defaults])
        metric.dist_sync_fn = lambda mine, group=None, other=other: [mine, next(other)]
        metric.distributed_available_fn = lambda: True
        assert metric.compute().item() == pytest.approx(by_formula()[name], rel=1e-4)


def test_a_batch_of_files_is_its_files():
    prediction, target, x = (torch.cat([noise(seed + k) for k in range(3)]) for seed in (0, 10, 20))
    one_by_one = file_metrics()
    for k in range(3):
        scored(prediction[k : k + 1], target[k : k + 1], x[k : k + 1], metrics=one_by_one)
    assert totals(one_by_one) == pytest.approx(scored(prediction, target, x), rel=1e-5)


def test_the_state_is_two_numbers_however_many_files():
    metrics = file_metrics()
    for seed in range(5):
        scored(noise(seed), noise(seed + 1), metrics=metrics)
    assert all(getattr(m, state).numel() == 1 for m in metrics.values() for state in m._defaults)
    assert sum(len(m._defaults) for m in metrics.values()) == 8


def test_silence_has_a_rule():
    loud, silence = noise(0), torch.zeros(1, 1, RATE)
    loudness = integrated_loudness(loud[0], RATE)
    both = scored(silence, silence, loud)
    assert (both["lufs"], both["gain"]) == (0, 0)
    assert math.isnan(both["crest"])
    for values in (scored(silence, loud, loud), scored(loud, silence, loud)):
        assert values["lufs"] == pytest.approx(loudness + 70)
        assert values["gain"] == pytest.approx(50, abs=0.5)  # noise of -20 dB, to -70
        assert math.isnan(values["crest"])
    assert math.isnan(scored(loud, loud, silence)["gain"])
    assert math.isnan(scored(loud, loud, aliasing=None)["asr"])


def test_what_has_no_value_is_left_out_of_the_whole():
    metrics = file_metrics()
    values = scored(2 * noise(0), noise(0), metrics=metrics)
    silence = torch.zeros(1, 1, RATE)
    scored(silence, silence, aliasing=None, metrics=metrics)
    assert totals(metrics) == pytest.approx({**values, "lufs": values["lufs"] / 2})


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_prediction_that_is_no_number_makes_all_of_it_none(broken):
    metrics, bad = file_metrics(), noise(0)
    bad[..., 100] = broken
    scored(bad, noise(0), aliasing=math.nan, metrics=metrics)
    scored(noise(1), noise(1), metrics=metrics)
    assert all(map(math.isnan, totals(metrics).values()))


@pytest.mark.parametrize("samples", [1, 159, 160, 400])
def test_short_files(samples):
    """A window is 160 samples."""
    values = scored(2 * noise(0)[..., :samples], noise(0)[..., :samples])
    assert values["lufs"] == pytest.approx(6.02, abs=0.01)
    assert values["crest"] == pytest.approx(0, abs=1e-5)
    assert math.isnan(values["gain"]) == (samples < 160)


def test_a_comparison_ranks_them_the_right_way_round():
    every = {**dict(default_metrics().items()), **dict(file_metrics().items())}
    assert {name for name, metric in every.items() if metric.higher_is_better} == HIGHER_IS_BETTER


def test_refuses_unlike_tracks():
    with pytest.raises(
        ValueError, match=r"CrestError: the prediction is \(1, 1, 7\), the target \(1, 1, 8\) and x \(1, 1, 8\)"
    ):
        scored(torch.zeros(1, 1, 7), torch.zeros(1, 1, 8))


def clip(x):
    return (10 * x).clamp(-1, 1)


def oversampled(x):
    up = scipy.signal.resample_poly(x.numpy(), 8, 1, axis=-1)
    return torch.from_numpy(scipy.signal.resample_poly(clip(torch.from_numpy(up)).numpy(), 1, 8, axis=-1)).float()


def decibels(function, rate=48_000):
    ratio = AliasingMeter().measure(lambda x, controls: function(x), None, rate, CPU)
    metric = file_metrics()["asr"]
    metric.update(ratio)
    return float(metric.compute())


def test_aliasing_is_told():
    assert -200 <= decibels(lambda x: x) < -100
    assert decibels(oversampled) < decibels(clip) - 10
    assert -40 < decibels(clip) < 0
    assert math.isnan(decibels(lambda x: 0 * x))
    assert math.isnan(decibels(lambda x: 0 * x + 0.1))
    assert math.isnan(decibels(lambda x: x * math.nan))


def test_a_setting_is_measured_once():
    calls = []

    def render(x, controls):
        calls.append(controls)
        return x if controls is None else x + controls[:, :1, None] * x**2

    meter = AliasingMeter()
    settings = [torch.tensor([[0.1, 0.2]]), torch.tensor([[0.5, 0.2]]), torch.tensor([[0.1, 0.2]]), None, None]
    for controls in settings:
        meter.measure(render, controls, 48_000, CPU)
    assert len(calls) == 3
    assert calls[0].shape[1] == 2
    assert len(calls[0]) > 1
    meter.forget()
    meter.measure(render, None, 48_000, CPU)
    assert len(calls) == 4


def test_a_test_tells_them_of_each_file_and_of_all(knobbed, tmp_path):
    """Against the whole file, however the waveform metrics cut it; a second test measures changed weights anew."""
    model, rows = system().eval(), {}

    class Spy(Callback):
        def on_test_batch_end(self, trainer, pl_module, out, batch, batch_idx, dataloader_idx=0):
            rows[out["name"]] = out

    run = trainer(tmp_path, callbacks=[Spy()])
    run.test(model, data(knobbed), verbose=False)
    assert list(model.test_totals) == [*default_metrics().keys(), *file_metrics().keys()]
    assert {"metrics/test/lufs", "metrics/test/asr"} <= set(run.callback_metrics)
    rate = model.sample_rate
    for out in rows.values():
        want = abs(integrated_loudness(out["prediction"], rate) - integrated_loudness(out["y"], rate))
        assert float(out["values"]["lufs"]) == pytest.approx(want, rel=1e-5)
    for name in ("lufs", "crest"):
        mean = np.mean([float(out["values"][name]) for out in rows.values()])
        assert model.test_totals[name] == pytest.approx(mean, rel=1e-5)
    ratios = [10 ** (float(out["values"]["asr"]) / 10) for out in rows.values()]
    assert model.test_totals["asr"] == pytest.approx(10 * math.log10(np.mean(ratios)), rel=1e-5)
    before = model.test_totals
    with torch.no_grad():
        for weights in model.effect.parameters():
            weights.mul_(3)
    run.test(model, data(knobbed), verbose=False)
    assert model.test_totals["asr"] != before["asr"]


def test_aliasing_of_a_model_at_its_knobs_costs_little():
    """Of an LSTM with 32 cells: 24 sines of 0.7 s."""
    model = system(LSTM(hidden_size=32))
    assert AliasingMeter().measure(model.render, None, 48_000, CPU) > 0
