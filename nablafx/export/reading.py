"""A model from whatever holds one: a run's folder, a checkpoint, a bundle, or a file of Neural Amp Modeler."""

from __future__ import annotations

import math
from pathlib import Path

from nablafx.errors import UserError
from nablafx.export.bundle import SUFFIX, read_bundle
from nablafx.export.model import Facts, Model
from nablafx.foreign import ForeignError, read_table


def read_model(place: str | Path, which: str = "best") -> Model:
    """The model of a run's folder (its `best` or `last` checkpoint), of a checkpoint, a bundle or a .nam file.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = Path(place)
    if path.suffix == SUFFIX:
        return read_bundle(path)
    if path.suffix == ".nam":
        from nablafx.export.nam import read_nam

        return read_nam(path)
    if path.is_file() and path.suffix != ".ckpt":
        raise UserError(
            f"{path} is no model: give a run's folder (logs/…/version_0), a checkpoint (.ckpt), a bundle ({SUFFIX}) "
            "or a .nam file"
        )
    # a bundle needs nothing of what trains
    from nablafx.training.load import load
    from nablafx.training.record import read_record

    loaded = load(path, which)
    system = loaded.system.requires_grad_(False)
    name = read_record(loaded.folder).get("name") or loaded.folder.name
    facts = _facts(loaded.folder)
    return Model(system.effect, system.sample_rate, loaded.control_names, name, loaded.config["model"]["effect"], facts)


def _facts(folder: Path) -> Facts:
    """What a run's folder says of its model."""
    from nablafx.training.plot import read_history
    from nablafx.training.record import read_record

    facts = Facts()
    record = read_record(folder)
    if "steps" in record:
        facts["steps"] = record["steps"]
    metrics = _test_metrics(folder / "metrics.csv")
    if metrics:
        facts["metrics"] = metrics
    validated = read_history(folder / "history.csv").get("metrics/val/esr")
    if validated:
        best = record.get("best_step")
        facts["validation_esr"] = next((value for step, value in validated if step == best), validated[-1][1])
    return facts


def _test_metrics(path: Path) -> dict[str, float]:
    """The last row of a metrics.csv, without what is no number."""
    if not path.is_file():
        return {}
    try:
        rows = [row for _, row in read_table(path) if row.get("file") == "all"]
    except ForeignError as error:
        raise UserError(f"{path} cannot be read ({error}); test that run again") from error
    found = {}
    for name, cell in (rows[-1] if rows else {}).items():
        try:
            value = float(cell)
        except (TypeError, ValueError):
            continue
        if math.isfinite(value):
            found[name] = value
    return found
