"""Published configs, section by section, as configs of this framework."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from nablafx.convert.chains import Chain, convert_chain
from nablafx.convert.losses import convert_loss
from nablafx.convert.nets import convert_net
from nablafx.convert.old import Notes, split_class
from nablafx.errors import UserError

Config = dict[str, Any]
PARTS = ("trainval", "test")
# of our own sections: what a config need not say
DEFAULTS = {
    ("model", "lr"): 0.005,
    ("model", "gradient_clip_val"): 10.0,
    ("model", "gradient_clip_algorithm"): "value",
    ("data", "val_fraction"): 0.1,
    ("data", "segment_length"): 144_000,
    ("data", "batch_size"): 16,
    ("data", "sample_rate"): 48_000,
    ("data", "num_workers"): 0,
    ("data", "data_to_use"): 1.0,
    ("data", "preload"): False,
    ("early_stopping", "patience"): 50,
    ("media", "log_media_every_n_steps"): 1000,
}
# what comes of lists where names are, of texts where numbers are, and so on, wherever a config has them
_MISSHAPEN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
BUILT_IN = {
    "ModelSummary": "a line at the start says size and receptive field",
    "LearningRateMonitor": "it is always on",
    "MetricsLoggingCallback": "metrics are always logged",
    "TQDMProgressBar": "there is one",
    "RichProgressBar": "there is one",
}


class Conversion:
    """One or more published configs, converted.

    Args:
        content: the sections `model`, `data`, `trainer` and others, or some of them.
        exact: for a checkpoint: a model that sounds as it did. Else what is meant, without its mistakes.

    Attributes:
        config: the sections of ours.
        notes: what is to be said.
        net: name and arguments of the published net, if that is what the model is.
        chain: if it is a chain.
        num_controls: of the published model.

    Raises:
        UserError: it is no config of the published framework, or its model has no counterpart.
    """

    def __init__(self, content: Config, exact: bool = False) -> None:
        self.config: Config = {}
        self.notes = Notes()
        self.exact = exact
        self.net: tuple[str, dict[str, Any]] | None = None
        self.chain: Chain | None = None
        self.num_controls = 0
        handlers = {"model": self._model, "data": self._data, "trainer": self._trainer}
        if not isinstance(content, dict) or not handlers.keys() & content.keys():
            raise UserError("a published config has a section model, data or trainer, and this has none of them")
        for section, handler in handlers.items():
            if content.get(section) is not None:
                try:
                    handler(content[section])
                except _MISSHAPEN as error:
                    reason = f"{type(error).__name__}: {str(error)[:200]}"
                    raise UserError(f"{section} is not as the published framework writes it ({reason})") from error
        for key, value in content.items():
            if key not in handlers and value is not None:
                self._other(key, value)

    def _set(self, section: str, key: str, value: Any) -> None:
        if value is not None and DEFAULTS.get((section, key)) != value:
            self.config.setdefault(section, {})[key] = value

    def _model(self, given: Any) -> None:
        name, old, is_published = split_class(given, self.notes)
        if not is_published or not name.endswith(("System", "SystemWithTBPTT")):
            raise UserError(
                f"model: {name} is no system of the published framework; it needs a class_path such as "
                "nablafx.core.BlackBoxSystem, nablafx.system.BlackBoxSystem or their WithTBPTT"
            )
        self._set("model", "lr", old.take("lr", 1e-4))
        self._set("media", "log_media_every_n_steps", old.take("log_media_every_n_steps"))
        if name.endswith("WithTBPTT"):
            self._set("model", "tbptt_samples", old.take("step_num_samples", 2048))
        self._set("model", "schedule", "PlateauSchedule")
        self._set("model", "initialise", False)
        old.drop("use_callbacks")
        self._effect(old.take("model"))
        loss = convert_loss(old.take("loss"), self.notes)
        if loss is not None:
            self._set("model", "loss", loss)
        old.end()

    def _effect(self, given: Any) -> None:
        name, model, _ = split_class(given, self.notes)
        if name == "GreyBoxModel":
            self.num_controls = int((given.get("init_args") or {}).get("num_controls") or 0)
            self.chain = convert_chain(model, self.exact)
            self._set("model", "effect", self.chain.effect)
            self._set("model", "lr_multipliers", self.chain.lr_multipliers or None)
        elif name == "BlackBoxModel":
            processor = model.take("processor")
            net, arguments, _ = split_class(processor, self.notes)
            values = dict(processor.get("init_args") or {}) if isinstance(processor, dict) else {}
            self.net = net, values
            self.num_controls = int(values.get("num_controls") or 0)
            self._set("model", "effect", convert_net(net, arguments, self.exact))
            model.end()
        else:
            raise UserError(f"model: {name} is neither BlackBoxModel nor GreyBoxModel of the published framework")

    def _data(self, given: Any) -> None:
        name, old, _ = split_class(given, self.notes)
        if name != "DryWetFilesPluginDataModule":
            raise UserError(f"data: {name} is not the published DryWetFilesPluginDataModule")
        dry, _, _ = _split_folder(old.take("root_dir_dry"))
        wet, part, setting = _split_folder(old.take("root_dir_wet"))
        knobs = old.take("params_idxs_to_use") or None
        self.config["data"] = {"dry": dry, "wet": wet}
        self._set("data", "setting", setting)
        self._set("data", "controls", knobs)
        length, batch = old.take("sample_length", -1), old.take("batch_size", 16)
        if part == "test":
            self.notes.change("data: a test takes whole files, with the config that trains; its lengths are left out")
            old.drop("data_to_use", "trainval_split", "num_workers")
        else:
            if length == -1:
                self.notes.miss("data.sample_length: -1: training takes segments; the default is used")
            self._set("data", "segment_length", None if length == -1 else length)
            self._set("data", "batch_size", batch)
            self._set("data", "val_fraction", round(1 - old.take("trainval_split", 0.8), 6))
            self._set("data", "data_to_use", old.take("data_to_use", 1.0))
            self._set("data", "num_workers", old.take("num_workers", 4))
            self.notes.change("data: the ends of files validate, and not segments drawn at random")
        self._set("data", "sample_rate", old.take("sample_rate", 48_000))
        self._set("data", "preload", old.take("preload", False))
        old.end()

    def _trainer(self, given: Config) -> None:
        values = {key: value for key, value in given.items() if value is not None}
        for key in ("gradient_clip_val", "gradient_clip_algorithm"):
            self._set("model", key, values.pop(key, None))
        self._logger(values.pop("logger", None))
        kept = [c for c in values.pop("callbacks", None) or [] if not self._callback(c)]
        if kept:
            values["callbacks+"] = kept
        for key, value in values.items():
            self._set("trainer", key, value)

    def _logger(self, given: Any) -> None:
        if given is None or isinstance(given, bool):
            return
        name, old, _ = split_class(given[0] if isinstance(given, list) else given, self.notes)
        old.drop("save_dir", "version", "log_model", "id", "dir")
        self._set("trainer", "logger", {"WandbLogger": "WandbSink", "TensorBoardLogger": "TensorBoardSink"}.get(name))
        self._set_name(old.take("name"))
        if name == "WandbLogger":
            arguments = {key: old.take(key) for key in ("project", "entity", "group", "tags")}
            arguments["mode"] = "offline" if old.take("offline", False) else None
            arguments = {key: value for key, value in arguments.items() if value is not None}
            if arguments:
                self.config["trainer"]["logger"] = {"class_path": "WandbSink", "init_args": arguments}
        self.notes.change("trainer.logger: runs lie below logs/ (or LOG_ROOT), in folders made for them")
        old.end()

    def _set_name(self, name: str | None) -> None:
        """The run's name, which a published logger holds."""
        if name:
            self.config["name"] = name

    def _callback(self, given: Any) -> bool:
        """Take up what a callback says; False where it stays as it is."""
        name, old, is_published = split_class(given, self.notes)
        if name == "EarlyStopping":
            self._set("early_stopping", "patience", old.take("patience", 3))
            old.drop("monitor", "verbose", "mode")
            old.end()
        elif name == "ModelCheckpoint":
            old.drop("monitor", "save_last", "save_top_k", "filename", "mode", "verbose")
            old.end()
        elif name == "AudioLoggingCallback":
            self._set("media", "log_media_every_n_steps", old.take("log_every_n_steps", 10_000))
        elif name in BUILT_IN:
            self.notes.change(f"{name}: left out, for {BUILT_IN[name]}")
        elif is_published:
            self.notes.miss(f"{name} has no counterpart")
        else:
            return False
        return True

    def _other(self, key: str, value: Any) -> None:
        if key in ("seed_everything",):
            self.config[key] = value
        else:
            self.notes.miss(f"{key}: {value} has no counterpart")


def _split_folder(given: str | None) -> tuple[str, str | None, str | None]:
    """(device folder, trainval or test, settings folder) of a published root_dir_dry or root_dir_wet."""
    if not given:
        raise UserError("data: the config needs root_dir_dry and root_dir_wet")
    path = PurePosixPath(given)
    if path.name in PARTS:
        return str(path.parent), path.name, None
    if path.parent.name in PARTS:
        return str(path.parent.parent), path.parent.name, path.name
    return str(path), None, None
