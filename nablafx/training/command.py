"""fit, validate, test and predict: LightningCLI with runs, sinks and messages of our own."""

from __future__ import annotations

import json
import logging
import os
import warnings
from argparse import SUPPRESS
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from nablafx.data import PairedAudioDataModule
from nablafx.effects.base import UnheardControlsError
from nablafx.errors import UserError
from nablafx.shipped import OPTIONS, found_configs
from nablafx.training import callbacks, sinks
from nablafx.training.checkpoints import check_fits, read_checkpoint, restoring_from
from nablafx.training.frechet import FrechetDistance
from nablafx.training.launch import agreed, ending_together, is_first
from nablafx.training.locks import training_in
from nablafx.training.media import MediaCallback
from nablafx.training.memory import explained
from nablafx.training.parser import Parser, add_former, take_former
from nablafx.training.record import RunRecord
from nablafx.training.repeats import run as run_repeats
from nablafx.training.repeats import take
from nablafx.training.runs import (
    CHECKPOINTS,
    FOLDER_VARIABLE,
    SEED,
    checkpoint,
    folder_beside,
    folder_of,
    give_back,
    latest_folder,
    new_folder,
    read_config,
    run_name,
)
from nablafx.training.saving import RunCheckpoint
from nablafx.training.system import System
from nablafx.trust import load_settings, only_allowed
from nablafx.writing import remove_leftovers, replacing

MONITOR = "loss/val/total"


def run(command: str, words: list[str]) -> None:
    """Run `nablafx COMMAND WORDS`.

    Raises:
        UserError: what the user can mend.
    """
    load_settings()
    words = found_configs(words)
    for file in take(words, *OPTIONS)[1]:
        # what parses them knows no bounds
        read_config(file)
    rest, repeats = take(words, "--repeats")
    if command == "fit" and repeats:
        run_repeats(rest, repeats[-1])
        return
    _quieten()
    with only_allowed(), ending_together() as trainers:
        Command(command, words, trainers)


class SaveConfig(Callback):
    """Writes the resolved config into the run's folder once the data and the model have been accepted."""

    def __init__(self, text: str, folder: Path) -> None:
        self.text = text
        self.folder = folder

    @rank_zero_only
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with replacing(self.folder / "config.yaml", durable=True) as temporary:
            temporary.write_text(self.text)


class Command(LightningCLI):
    """One subcommand, parsed, checked and run."""

    def __init__(self, command: str, words: list[str], trainers: list[Trainer]) -> None:
        self.command, self.trainers = command, trainers
        self._folder: Path | None = None
        self._held = ExitStack()
        try:
            super().__init__(
                System,
                PairedAudioDataModule,
                save_config_callback=None,
                seed_everything_default=SEED,
                parser_class=Parser,
                parser_kwargs={"prog": "nablafx"},
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                args=[command, *words],
            )
        finally:
            self._held.close()
            if self._folder and is_first():
                give_back(self._folder)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        assert self._folder is not None, "known once the arguments are"
        return self._folder

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        # the parsers of the other commands would only cost time; weights_only is not the user's to switch off
        return {self.command: {*LightningCLI.subcommands()[self.command], "weights_only"}}

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        # LightningCLI would warn of arguments given beside those of the process, which are the same here
        self.config = parser.parse_args(args)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--name", type=str | None, default=None, help="of the run; default: from the -c files")
        parser.add_argument("--log_root", type=str | None, default=None, help="default: $LOG_ROOT, or logs")
        if self.command == "fit":
            parser.add_argument(
                "--repeats",
                type=int,
                default=SUPPRESS,  # of no run's settings: other commands read what fit prints and saves
                help="runs, with seeds from seed_everything on; not in a file",
            )
        add_former(parser)
        parser.add_lightning_class_args(MediaCallback, "media")
        # Lightning puts it before TestReport, which writes its figures
        parser.add_lightning_class_args(FrechetDistance, "fad")
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.set_defaults(
            {
                # one line of the System says what is worth knowing
                "trainer.enable_model_summary": False,
                "checkpoint.monitor": MONITOR,
                "checkpoint.filename": "best",
                "checkpoint.save_last": True,
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.enable_version_counter": False,
                "early_stopping.monitor": MONITOR,
                "early_stopping.patience": 50,
                "early_stopping.check_on_train_epoch_end": False,
            }
        )
        parser.link_arguments("data.num_controls", "model.effect.init_args.num_controls", apply_on="instantiate")
        parser.link_arguments("data.sample_rate", "model.sample_rate", apply_on="instantiate")
        parser.link_arguments("data.sample_rate", "model.effect.init_args.sample_rate", apply_on="instantiate")

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "test":
            # our own table says it
            parser.set_defaults({"verbose": False})
        return parser

    def _parse_ckpt_path(self) -> None:
        """Our checkpoints carry no hyper-parameters: the config beside them does."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.command]
        for section in ("trainer", "model", "data", "media", "fad", "checkpoint", "early_stopping"):
            # jsonargparse lets a list pass for one
            if not isinstance(config[section], Namespace):
                raise UserError(f"the section {section} is {config[section]!r}; it needs settings by their names")
        take_former(config.model, trains=self.command == "fit")
        config.name = config.name or run_name([str(path) for path in config.config or ()])
        for key in ("gradient_clip_val", "gradient_clip_algorithm"):
            if config.trainer[key] is not None:
                raise UserError(f"trainer.{key} does not reach truncated training; set model.{key} instead")
        if config.pop("repeats", None) is not None:
            raise UserError("repeats is for the command line (nablafx fit … --repeats N), and stands in a config")
        root = config.log_root or os.environ.get("LOG_ROOT") or "logs"
        folder, path = json.loads(agreed(lambda: json.dumps(self._find_folder(root))))
        self._folder, config.ckpt_path = Path(folder), path
        os.environ[FOLDER_VARIABLE] = folder  # for those that Lightning starts on this node
        saved = config.clone()
        saved.ckpt_path = None
        self.resolved = self._parser(self.command).dump(saved, skip_unset=False, skip_link_targets=True)
        config.trainer.default_root_dir = str(self.folder)
        config.checkpoint.dirpath = str(self.folder / CHECKPOINTS)
        if config.trainer.logger is not False:
            config.trainer.logger = self._loggers(config.trainer.logger)

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except UnheardControlsError as error:
            names = PairedAudioDataModule(**self._get(self.config, "data").as_dict()).control_names
            raise UserError(
                f"this data set has {len(names)} controls ({', '.join(names)}), and the effect takes none; "
                f"{error.cure}, or choose one setting of the device (data: {{setting: NAME, controls: none}})"
            ) from error
        except (TypeError, ValueError) as error:
            # jsonargparse lets some words of the wrong kind pass
            raise UserError(str(error)) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        trainer = self._get(self.config_init, "trainer")
        given = self.config[self.command]
        record = RunRecord(self.folder, given.name, given.seed_everything, given.ckpt_path)
        extra: list[Callback] = [callbacks.TestReport(), callbacks.PredictionWriter(), record]
        if self.command == "fit":
            extra.append(SaveConfig(self.resolved, self.folder))
        if trainer.enable_progress_bar is not False:
            extra.append(callbacks.ProgressBar())
        if trainer.logger:
            extra.append(LearningRateMonitor(logging_interval="step"))
        self.trainer_defaults["callbacks"] = extra
        self.trainers.append(super().instantiate_trainer(**kwargs))
        return self.trainers[-1]

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        path = self._get(self.config, "ckpt_path")
        if path:
            check_fits(read_checkpoint(path), self.model, path)
        if subcommand == "predict":
            # written as they come, and not kept
            kwargs["return_predictions"] = False
        return {**kwargs, "ckpt_path": path, "weights_only": True}

    def _run_subcommand(self, subcommand: str) -> None:
        path = self._get(self.config, "ckpt_path")
        with explained(self.model, self.datamodule, self.folder), restoring_from(path, self.trainer):
            super()._run_subcommand(subcommand)

    def after_fit(self) -> None:
        if self.trainer.is_global_zero:
            print(f"The run is in {self.folder}")

    def _find_folder(self, root: str) -> tuple[str, str | None]:
        """Where this command writes, and its checkpoint; asked for as best or last it becomes a path."""
        config = self.config[self.command]
        path = config.ckpt_path or (None if self.command == "fit" else "best")
        if path in ("best", "last"):
            folder = folder_beside(config.config or ()) or latest_folder(root, config.name)
            path = str(checkpoint(folder, path))
        elif path and self.command != "fit":
            folder = folder_of(Path(path))
        else:
            folder = new_folder(root, config.name)
        if self.command == "fit" and is_first():
            self._held.enter_context(training_in(folder))
            remove_leftovers(folder)
        return str(folder), path

    def _loggers(self, given: Any) -> list[Any]:
        """The configured sinks and always the plain files, all writing into the run's folder."""
        chosen = given if isinstance(given, list) else [given] if given and given is not True else []
        files = f"{sinks.FileSink.__module__}.FileSink"
        # first: Lightning takes the folder of the first one for the run's
        chosen = [Namespace(class_path=files, init_args=Namespace()), *(s for s in chosen if s.class_path != files)]
        for sink in chosen:
            sink.init_args.save_dir = str(self.folder)
            sink.init_args.name = self.config[self.command].name
        return chosen


def _quieten() -> None:
    """Leave out what says nothing about the user's run."""
    warnings.filterwarnings("ignore", r".*does not have many workers", UserWarning)
    warnings.filterwarnings("ignore", r"The number of training batches .* is smaller than the logging interval")
    # a run that goes on has some
    warnings.filterwarnings("ignore", r"Checkpoint directory .* exists and is not empty")
    # what is logged per epoch are torchmetrics, which have heard all processes
    warnings.filterwarnings("ignore", r"It is recommended to use `self.log")
    warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)")
    if not is_first():
        logging.getLogger("lightning").setLevel(logging.WARNING)
        logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(lambda record: not record.getMessage().startswith(("💡", "TPU available")))
