"""mmengine's Runner, made safe to kill and quiet to read."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import broadcast, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from mmengine.visualization import Visualizer
from mmseg.registry import RUNNERS
from torch import nn
from torch.utils.data import DataLoader

from mmseg_kd.checkpoints import (
    atomic_path,
    load_strictly,
    read_checkpoint,
    state_dict_of,
)
from mmseg_kd.checkpoints.initialization import init_weights
from mmseg_kd.config.errors import config_errors
from mmseg_kd.datasets.checked_files import guard
from mmseg_kd.datasets.listing import check_listing
from mmseg_kd.engine.compilation import compile_training, record_training_step
from mmseg_kd.engine.console import quieten_console
from mmseg_kd.engine.devices import memory_errors, unused_card
from mmseg_kd.engine.hooks.label_check_hook import LabelCheckHook
from mmseg_kd.engine.hooks.trial_hook import TrialHook
from mmseg_kd.engine.processes import joining, lock_work_dir, wrap_on_cpu
from mmseg_kd.engine.resuming import check_optimizer, check_resumable
from mmseg_kd.engine.starting import prepare_training, reporting_interruptions
from mmseg_kd.engine.training_length import LengthCheckHook, follow_length
from mmseg_kd.engine.unwritable_files import UnwritableFiles
from mmseg_kd.engine.work_dir_lock import WorkDirLock
from mmseg_kd.errors import UserError, one_line


@RUNNERS.register_module()
class KDRunner(Runner):
    """Runner whose checkpoints are read as data, matched strictly, and written whole or not at all.

    The console shows what a user looks for; the rest (environment, full config, hook order) is in
    the log file. Mistakes of the config are a `UserError` before training starts.
    """

    _lock: WorkDirLock | None = None

    def __init__(self, *args: Any, experiment_name: str | None = None, **kwargs: Any) -> None:
        # The loops that were built, by split: those of the training, or that of the test.
        self.loops: dict[str, BaseLoop] = {}
        self._unwritable = UnwritableFiles()
        # mmengine shares logger and message hub between runs of one name in one second.
        name = experiment_name or uuid.uuid4().hex[:8]
        super().__init__(*args, experiment_name=name, **kwargs)

    @memory_errors
    def train(self) -> nn.Module:
        """Train; the teacher, if any, is loaded before the first iteration."""
        try:
            prepare_training(self)
            with reporting_interruptions(self):
                return super().train()
        finally:
            if self._lock is not None:
                self._lock.release()

    @memory_errors
    def test(self) -> dict[str, float]:
        """Test; return the metrics."""
        return super().test()

    @property
    def trains(self) -> bool:
        """Whether this is a training, and not a test alone."""
        return self.cfg.get('train_cfg') is not None

    @property
    def resumes(self) -> bool:
        """Whether the training continues from a checkpoint of a run."""
        return bool(self.cfg.get('resume'))

    @property
    def bare_model(self) -> nn.Module:
        """The model without its distributed or test-time-augmentation wrapper."""
        model = self.model.module if is_model_wrapper(self.model) else self.model
        return model.module if hasattr(model, 'merge_preds') else model

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = 'cpu',
        strict: bool = True,
        revise_keys: list | None = None,
    ) -> dict:
        """Load a checkpoint that has exactly the model's tensors.

        Args:
            filename: The checkpoint's path.
            map_location: As for `torch.load`.
            strict: Kept for mmengine's signature; a mismatch is always an error.
            revise_keys: Kept for mmengine's signature; a `module.` prefix is always removed.

        Returns:
            The checkpoint.

        Raises:
            UserError: The file is missing, damaged, names code, does not fit the model, or is
                to be resumed and cannot be.
        """
        checkpoint = read_checkpoint(filename, map_location=map_location)
        if self.resumes:
            check_resumable(checkpoint, self, filename)
        try:
            self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        except UserError as error:
            if str(filename) in str(error):
                raise
            raise UserError(f'{filename}: {error}') from error
        tensors = state_dict_of(checkpoint, filename)
        # Only a new training changes the classifier.
        reset = bool(self.cfg.get('reset_classifier')) if self.trains and not self.resumes else None
        matched = load_strictly(self.bare_model, tensors, str(filename), reset_classifier=reset)
        if self.resumes:
            check_optimizer(checkpoint, self, filename)
        self._has_loaded = True
        self.logger.info(f'loaded {filename}, matched {matched}/{matched} tensors')
        return checkpoint

    def load_or_resume(self) -> None:
        """Load what the run starts from, then write its config: that of a run refused stays."""
        super().load_or_resume()
        if is_main_process():
            # A test, which has no training, leaves the work_dir's config alone.
            folder = self.work_dir if self.trains else self.log_dir
            name = Path(self.cfg.filename or f'{self.timestamp}.py').name
            self.cfg.dump(Path(folder) / name)

    def dump_config(self) -> None:
        """Do nothing, where mmengine writes the config before it has looked at the checkpoint."""

    def save_checkpoint(self, out_dir: str, filename: str, *args: object, **kwargs: object) -> None:
        """Write a checkpoint; its name appears when it is complete. Arguments as mmengine's."""
        if not is_main_process():
            return
        if self._lock is not None:
            self._lock.check()
        with atomic_path(Path(out_dir) / filename) as partial:
            super().save_checkpoint(str(partial.parent), partial.name, *args, **kwargs)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call the hooks; a log, record or picture that cannot be written does not stop training.

        What they find wrong with the config before a run is a `UserError`.

        Args:
            fn_name: The hooks' method.
            **kwargs: Its arguments.
        """
        for hook in [hook for hook in self.hooks if hasattr(hook, fn_name)]:
            try:
                with config_errors(self.cfg) if fn_name == 'before_run' else nullcontext():
                    getattr(hook, fn_name)(self, **kwargs)
            except OSError as error:
                if not self.trains or isinstance(hook, CheckpointHook):
                    raise
                if self._lock is not None:
                    self._lock.check()
                self._unwritable.warn(type(hook).__name__, error)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model. timm's backbones may download weights.

        Raises:
            UserError: The model cannot be built, or a download failed.
        """
        try:
            return super().build_model(model)
        except (OSError, RuntimeError) as error:
            offline = isinstance(error, OSError)
            advice = '; to download nothing, write pretrained=False' if offline else ''
            raise UserError(f'the model cannot be built: {one_line(error)}{advice}') from error

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Move the model to its device and, with several processes, wrap it in DDP."""
        if self.distributed and get_device() == 'cpu' and not is_model_wrapper(model):
            return wrap_on_cpu(model, self.cfg.get('find_unused_parameters', False))
        return super().wrap_model(model_wrapper_cfg, model)

    def setup_env(self, env_cfg: dict) -> None:
        """Set up processes and devices, and hold the work_dir until training ends."""
        with joining(self.cfg.get('launcher', 'none')):
            super().setup_env(env_cfg)
        if self.trains:
            self._lock = lock_work_dir(self.work_dir)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a data loader whose files are checked. Arguments as mmengine's."""
        if isinstance(dataloader, dict) and isinstance(dataloader.get('dataset'), dict):
            check_listing(dataloader['dataset'], 'dataset')
        built = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        guard(built.dataset)
        return built

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        """Build the visualizer; one a run, where mmengine keeps one a name."""
        if isinstance(visualizer, dict):
            visualizer = {**visualizer, 'name': self.experiment_name}
        return super().build_visualizer(visualizer)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, with a log file in UTF-8 and a console without mmengine's details."""
        # mmengine gives its own FileHandler no encoding. Without `maxBytes` this one never rotates.
        handler = dict(type='RotatingFileHandler', encoding='utf-8', errors='backslashreplace')
        kwargs.setdefault('file_handler_cfg', handler)
        logger = super().build_logger(*args, **kwargs)
        quieten_console(logger)
        return logger

    def register_default_hooks(self, hooks: dict[str, Hook | dict | None] | None = None) -> None:
        """Register the hooks; None leaves one out, where mmengine allows it for its own alone."""
        own = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')
        hooks = {'non_finite_loss': dict(type='NonFiniteLossHook'), **(hooks or {})}
        hooks = {k: v for k, v in hooks.items() if v is not None or k in own}
        super().register_default_hooks(hooks)
        self.register_hook(LabelCheckHook())
        self.register_hook(TrialHook())
        self.register_hook(LengthCheckHook())

    # What mmengine builds when it starts, because testing needs only a part of it.

    def build_train_loop(self, loop: Any) -> BaseLoop:
        """Build the loop of the training."""
        return self._note_loop('train', super().build_train_loop, loop)

    def build_val_loop(self, loop: Any) -> BaseLoop:
        """Build the loop of the validation."""
        return self._note_loop('val', super().build_val_loop, loop)

    def build_test_loop(self, loop: Any) -> BaseLoop:
        """Build the loop of the test."""
        return self._note_loop('test', super().build_test_loop, loop)

    def _note_loop(self, split: str, build: Callable, loop: Any) -> BaseLoop:
        with config_errors(self.cfg):
            self.loops[split] = build(loop)
        return self.loops[split]

    def build_optim_wrapper(self, optim_wrapper: Any) -> OptimWrapper:
        """Build the optimizer."""
        with config_errors(self.cfg):
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedulers; those without an `end` follow the length of the training."""
        with config_errors(self.cfg):
            return super().build_param_scheduler(follow_length(scheduler, self.max_iters))

    def _init_model_weights(self) -> None:
        init_weights(self.bare_model)
        for tensor in self.bare_model.state_dict().values():
            broadcast(tensor)

    def _maybe_compile(self, target: str) -> None:
        """Compile blocks and record the step, where mmengine compiles the whole step."""
        if target == 'train_step':
            compile_training(self)
            record_training_step(self)


def build_runner(cfg: Config) -> KDRunner:
    """Build the runner of a checked config.

    Raises:
        UserError: A type is not registered, or a value does not suit its constructor.
    """
    with config_errors(cfg):
        runner = KDRunner.from_cfg(cfg)
    if problem := unused_card():
        runner.logger.warning(problem)
    return runner
