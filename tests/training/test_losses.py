"""Oracles: numpy formulas, auraloss itself, and algebra."""

import auraloss
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from nablafx.training.losses import (
    FLOOR,
    DCLoss,
    ESRLoss,
    MultiResolutionSTFT,
    Term,
    WeightedSum,
    deaf_to_polarity,
)


@pytest.fixture
def audio():
    """A target whose items differ in level by 60 dB, and a prediction near it."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(3, 1, 4000, generator=generator, dtype=torch.float64)
    target *= torch.tensor([1.0, 0.1, 0.001], dtype=torch.float64).reshape(3, 1, 1)
    return target + 0.05 + 0.1 * torch.randn(3, 1, 4000, generator=generator, dtype=torch.float64), target


def emphasised(x, c):
    return x[..., 1:] - c * x[..., :-1]


@pytest.mark.parametrize("c", [None, 0.95])
def test_esr_is_the_pooled_ratio(audio, c):
    prediction, target = audio
    y, error = target.numpy(), (target - prediction).numpy()
    if c is not None:
        y, error = emphasised(y, c), emphasised(error, c)
    want = (error**2).sum() / ((y**2).sum() + FLOOR * y.size)
    assert ESRLoss(pre_emphasis=c)(prediction, target).item() == pytest.approx(want, rel=1e-12)


def test_esr_of_silence_and_of_inversion(audio):
    _, target = audio
    esr = ESRLoss()
    assert esr(target, target).item() == 0.0
    assert esr(torch.zeros_like(target), target).item() == pytest.approx(1.0, rel=1e-6)
    assert esr(-target, target).item() == pytest.approx(4.0, rel=1e-6)


def test_silent_target_keeps_loss_and_gradient_finite():
    prediction = torch.full((2, 1, 2000), 1e-3, requires_grad=True)
    total, _ = WeightedSum()(prediction, torch.zeros(2, 1, 2000))
    total.backward()
    assert total.isfinite()
    assert prediction.grad.isfinite().all()


def test_dc_is_the_pooled_ratio(audio):
    prediction, target = audio
    means = (target - prediction).numpy().mean(axis=-1)
    want = (means**2).sum() / ((target.numpy() ** 2).mean(axis=-1).sum() + FLOOR * 3)
    assert DCLoss()(prediction, target).item() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("sizes", [{}, {"fft_sizes": [256, 512], "hop_sizes": [64, 100], "win_lengths": [200, 512]}])
def test_stft_is_that_of_auraloss(audio, sizes):
    prediction, target = (x.float().requires_grad_() for x in audio)
    ours, theirs = MultiResolutionSTFT(**sizes), auraloss.freq.MultiResolutionSTFTLoss(**sizes)
    value, want = ours(prediction, target), theirs(prediction, target)
    torch.testing.assert_close(value, want)
    gradient, want = (torch.autograd.grad(v, prediction)[0] for v in (value, want))
    torch.testing.assert_close(gradient, want)


def test_stft_windows_move_with_the_module_and_stay_out_of_checkpoints():
    loss = MultiResolutionSTFT()
    assert {b.dtype for b in loss.double().buffers()} == {torch.float64}
    assert len(list(loss.buffers())) == 3
    assert not loss.state_dict()
    before = [b.data_ptr() for b in loss.buffers()]
    x = torch.randn(1, 1, 2000, dtype=torch.float64)
    loss(x, x)
    assert [b.data_ptr() for b in loss.buffers()] == before  # no copy per call


def test_nothing_waits_for_the_accelerator():
    """On the meta device every read-back of a value raises."""
    prediction, target = (torch.randn(2, 1, 3000, device="meta") for _ in range(2))
    terms = {"l1": Term(torch.nn.L1Loss()), "dc": Term(DCLoss()), "stft": Term(MultiResolutionSTFT())}
    for loss in (WeightedSum(), WeightedSum(terms)):
        total, _ = loss.to("meta")(prediction.requires_grad_(), target)
        total.backward()
        assert prediction.grad.is_meta


def test_stft_names_the_shortest_length():
    loss = MultiResolutionSTFT()
    x = torch.randn(2, 1, 1025)
    assert loss(x, x).item() == 0.0
    with pytest.raises(ValueError, match="got 1024 samples, needs at least 1025"):
        loss(x[..., 1:], x[..., 1:])
    with pytest.raises(ValueError, match="as many fft_sizes as hop_sizes"):
        MultiResolutionSTFT(fft_sizes=[512])


def test_sum_weights_its_terms(audio):
    prediction, target = (x.float().requires_grad_() for x in audio)
    terms = {"l1": Term(torch.nn.L1Loss(), weight=10.0), "esr": Term(ESRLoss())}
    total, values = WeightedSum(terms)(prediction, target)
    assert list(values) == ["l1", "esr"]
    torch.testing.assert_close(values["l1"], (prediction - target).abs().mean())
    torch.testing.assert_close(values["esr"], ESRLoss()(prediction, target))
    torch.testing.assert_close(total, 10 * values["l1"] + values["esr"])
    assert total.requires_grad


def test_default_is_esr_and_stft(audio):
    total, values = WeightedSum()(*audio)
    assert list(values) == ["esr", "mrstft"]
    torch.testing.assert_close(total, values["esr"] + 0.1 * values["mrstft"])


def test_half_precision_is_summed_in_float32():
    target = 300 * torch.ones(2, 1, 4000, dtype=torch.float16)  # 300² leaves float16
    total, values = WeightedSum()(0.9 * target, target)
    assert total.dtype == torch.float32
    assert values["esr"].item() == pytest.approx(0.01, rel=1e-2)


def test_refuses_what_broadcasting_would_hide():
    with pytest.raises(ValueError, match=r"\(2, 1, 3000\) and the target \(2, 3000\)"):
        WeightedSum()(torch.zeros(2, 1, 3000), torch.zeros(2, 3000))
    with pytest.raises(ValueError, match="got no terms"):
        WeightedSum({})


def test_finds_terms_deaf_to_polarity():
    terms = {
        "l1": Term(torch.nn.L1Loss()),
        "esr": Term(ESRLoss(pre_emphasis=0.9)),
        "dc": Term(DCLoss()),
        "stft": Term(MultiResolutionSTFT()),
        "si_sdr": Term(auraloss.time.SISDRLoss()),
    }
    assert deaf_to_polarity(WeightedSum(terms)) == ["dc", "stft", "si_sdr"]
    assert deaf_to_polarity(WeightedSum()) == ["mrstft"]
    assert deaf_to_polarity(WeightedSum().double()) == ["mrstft"]


def test_terms_come_from_yaml():
    parser = ArgumentParser()
    parser.add_class_arguments(WeightedSum, "loss")
    config = parser.parse_object(
        {
            "loss": {
                "terms": {
                    "l1": {"loss": {"class_path": "torch.nn.L1Loss"}, "weight": 10},
                    "short": {"loss": {"class_path": "L1Loss"}},
                    "stft": {
                        "loss": {
                            "class_path": "MultiResolutionSTFT",
                            "init_args": {"fft_sizes": [512], "hop_sizes": [64], "win_lengths": [256]},
                        }
                    },
                }
            }
        }
    )
    loss = parser.instantiate(config).loss
    assert loss.weights == {"l1": 10.0, "short": 1.0, "stft": 1.0}
    assert isinstance(loss.losses["l1"], torch.nn.L1Loss)
    assert loss.losses["stft"].shortest == 257
    x = torch.randn(1, 1, 600)
    assert loss(x, x)[0].item() == 0.0


def test_gradient_reaches_every_sample(audio):
    prediction = audio[0].float().requires_grad_()
    WeightedSum()(prediction, audio[1].float())[0].backward()
    assert np.all(prediction.grad.numpy() != 0)
