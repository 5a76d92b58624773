"""Published losses, as terms of a WeightedSum."""

from __future__ import annotations

from typing import Any

from nablafx.convert.old import Arguments, Notes, split_class

Terms = dict[str, dict[str, Any]]
# by the last part of a class path or by the name in the published registry: (name of the term, class here)
KNOWN = {
    "L1Loss": ("l1", "torch.nn.L1Loss"),
    "l1_loss": ("l1", "torch.nn.L1Loss"),
    "MSELoss": ("mse", "torch.nn.MSELoss"),
    "mse_loss": ("mse", "torch.nn.MSELoss"),
    "SmoothL1Loss": ("smooth_l1", "torch.nn.SmoothL1Loss"),
    "smooth_l1_loss": ("smooth_l1", "torch.nn.SmoothL1Loss"),
    "HuberLoss": ("huber", "torch.nn.HuberLoss"),
    "huber_loss": ("huber", "torch.nn.HuberLoss"),
    "ESRLoss": ("esr", "ESRLoss"),
    "esr_loss": ("esr", "ESRLoss"),
    "DCLoss": ("dc", "DCLoss"),
    "dc_loss": ("dc", "DCLoss"),
    "SISDRLoss": ("sisdr", "auraloss.time.SISDRLoss"),
    "si_sdr_loss": ("sisdr", "auraloss.time.SISDRLoss"),
    "STFTLoss": ("stft", "auraloss.freq.STFTLoss"),
    "stft_loss": ("stft", "auraloss.freq.STFTLoss"),
    "MultiResolutionSTFTLoss": ("mrstft", "MultiResolutionSTFT"),
    "mrstft_loss": ("mrstft", "MultiResolutionSTFT"),
    "MelSTFTLoss": ("melstft", "auraloss.freq.MelSTFTLoss"),
    "melstft_loss": ("melstft", "auraloss.freq.MelSTFTLoss"),
    "RandomResolutionSTFTLoss": ("random_stft", "auraloss.freq.RandomResolutionSTFTLoss"),
    "random_stft_loss": ("random_stft", "auraloss.freq.RandomResolutionSTFTLoss"),
}
POOLED = {"ESRLoss", "DCLoss"}
# arguments that our own classes take as well
SHARED = {"MultiResolutionSTFT": {"fft_sizes", "hop_sizes", "win_lengths"}, "ESRLoss": set(), "DCLoss": set()}


def convert_loss(given: Any, notes: Notes) -> dict[str, Any] | None:
    """`loss` of a config's model, or None (the default) where no term of the published one has a counterpart."""
    name, old, _ = split_class(given, notes)
    parts: list[tuple[str, Any, float]] = []
    if name == "TimeAndFrequencyDomainLoss":
        parts = _pair(old, "time_domain", "frequency_domain", notes)
    elif name == "ESRandDCLoss":
        parts = _pair(old, "esr", "dc", notes)
    elif name in ("FlexibleLoss", "WeightedMultiLoss", "FlexibleLossWithMetrics"):
        for item in old.take("losses") or []:
            parts.append(_listed(item, notes))
    else:
        parts, old = [("", given, 1.0)], Arguments(name, {}, notes)
    old.end()
    terms: Terms = {}
    for alias, loss, weight in parts:
        _add(terms, alias, loss, weight, notes)
    if not terms:
        notes.miss("loss: none of its terms has a counterpart; the default is used")
        return None
    return {"class_path": "WeightedSum", "init_args": {"terms": terms}}


def _pair(old: Arguments, first: str, second: str, notes: Notes) -> list[tuple[str, Any, float]]:
    return [("", old.take(f"{kind}_loss"), float(old.take(f"{kind}_weight", 5.0))) for kind in (first, second)]


def _listed(item: dict[str, Any], notes: Notes) -> tuple[str, Any, float]:
    """An item of a list of losses: by its name in the registry, or with an object."""
    weight = float(item.get("weight", 1.0))
    if "loss" in item:
        return str(item.get("name", "")), item["loss"], weight
    return str(item.get("alias", "")), {"class_path": str(item["name"]), "init_args": item.get("params") or {}}, weight


def _add(terms: Terms, alias: str, loss: Any, weight: float, notes: Notes) -> None:
    name, _, is_published = split_class(loss, notes)
    path = loss if isinstance(loss, str) else loss["class_path"]
    if name not in KNOWN and (is_published or "." not in path):
        notes.miss(f"loss: {name} (weight {weight:g}) has no counterpart and is left out")
        return
    term, cls = KNOWN.get(name, (name.lower(), path))
    given = {} if isinstance(loss, str) else dict(loss.get("init_args") or {})
    lost = {key for key in given if cls in SHARED and key not in SHARED[cls]}
    for key in sorted(lost):
        notes.miss(f"loss: {name}.{key}: {given.pop(key)} has no counterpart")
    if cls in POOLED:
        notes.change(f"loss: {cls} pools a batch, where the published one weighs each item alike")
    entry: dict[str, Any] = {} if weight == 1 else {"weight": weight}
    terms[alias or term] = {**entry, "loss": {"class_path": cls, "init_args": given} if given else cls}
