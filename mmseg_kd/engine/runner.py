"""mmengine's Runner with exact resuming, checked checkpoints, and a short console log."""

import copy
import logging
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import broadcast, is_distributed, master_only
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import RUNNERS
from torch import nn
from torch.distributed import init_process_group
from torch.utils.data import DataLoader

from mmseg_kd.checkpoints import atomic_path, find_latest_checkpoint, load_strictly, read_checkpoint
from mmseg_kd.checkpoints.initialization import forget_pretrained, init_weights
from mmseg_kd.command_line import OF_THE_SYSTEM
from mmseg_kd.compat import DEVELOPER_MESSAGES
from mmseg_kd.config.errors import config_errors
from mmseg_kd.datasets.collate import end_with_lost_batches
from mmseg_kd.datasets.listing import check_listing
from mmseg_kd.engine.compilation import compile_training, record_training_step
from mmseg_kd.engine.devices import memory_errors, unused_card
from mmseg_kd.engine.hooks.label_check_hook import LabelCheckHook
from mmseg_kd.engine.resuming import check_optimizer, check_resumable, resuming
from mmseg_kd.engine.starting import lock_work_dir, prepare_training, try_run
from mmseg_kd.engine.training_length import follow_length, misfits
from mmseg_kd.errors import UserError, one_line, user_errors
from mmseg_kd.records.scalars import files_of_starts
from mmseg_kd.teacher_report.card import check_order


@RUNNERS.register_module()
class KDRunner(Runner):
    """mmengine's Runner with safe checkpoints and early checks of the config.

    Checkpoints are read as data, without running code, and must have exactly the model's tensors.
    They are written completely or not at all. The console leaves out mmengine's details, which are
    in the log file. Mistakes in the config are a `UserError` before training starts.

    Attributes:
        resumes: Whether the training continues from a checkpoint of a run.
        start: The checkpoint that is loaded, or None.
    """

    _lock: FileLock | None = None

    def __init__(self, *args: Any, experiment_name: str | None = None, **kwargs: Any) -> None:
        # Hooks that cannot write, with the reason, which are reported already.
        self._unwritable: set[tuple[str, int | None]] = set()
        resume = kwargs.get('resume')
        if isinstance(resume, str):
            # The config that the run saves says how it began.
            kwargs |= dict(resume=True, load_from=resume, cfg=copy.deepcopy(kwargs['cfg']))
            kwargs['cfg'].resume = False
        self.resumes, self.start = bool(resume), kwargs.get('load_from')
        # mmengine shares logger and message hub between runs of one name in one second.
        name = experiment_name or uuid.uuid4().hex[:8]
        super().__init__(*args, experiment_name=name, **kwargs)

    def train(self) -> nn.Module:
        """Train. Teachers are loaded and the config is checked before the first iteration."""
        try:
            with memory_errors(self):
                prepare_training(self)
                return super().train()
        except (KeyboardInterrupt, Exception) as error:
            # A training that is refused has not begun, and `iter` would build it again.
            done = 0 if isinstance(self.optim_wrapper, dict) else self.iter
            if done or isinstance(error, KeyboardInterrupt | OSError):
                self.logger.warning(self._end(error, done))
            if not Path(self.work_dir).is_dir():
                raise UserError(f'the work_dir {self.work_dir} is gone') from error
            raise
        finally:
            if self._lock is not None:
                self._lock.release()

    def _end(self, error: BaseException, done: int) -> str:
        """Describe an error that ends the training after some iterations."""
        interrupted = isinstance(error, KeyboardInterrupt)
        how, reason = ('interrupted', '') if interrupted else ('stopped', f' ({one_line(error)})')
        latest = find_latest_checkpoint(self.work_dir)
        found = latest and f'{latest.name} is there, continue with --resume'
        return f'{how} at iteration {done}: {found or "nothing saved"}{reason}'

    def test(self) -> dict[str, float]:
        """Test; return the metrics."""
        with memory_errors(self):
            with config_errors(self.cfg):
                try_run(self)
            return super().test()

    @property
    def loops(self) -> dict[str, BaseLoop]:
        """The loops by split: 'train' and 'val' of a training, or 'test'."""
        if not self.trains:
            return {'test': self.test_loop}
        loops = {'train': self.train_loop, 'val': self.val_loop}
        return {split: loop for split, loop in loops.items() if loop is not None}

    @property
    def trains(self) -> bool:
        """Whether this is a training rather than a test."""
        return self.cfg.get('train_cfg') is not None

    @property
    def bare_model(self) -> nn.Module:
        """The model without its distributed or test-time-augmentation wrapper."""
        model = self.model.module if is_model_wrapper(self.model) else self.model
        return model.module if hasattr(model, 'merge_preds') else model

    @property
    def kd_losses(self) -> Any:
        """The distillation losses by name; empty without distillation."""
        return getattr(self.bare_model, 'kd_losses', {})

    @property
    def teachers(self) -> Any:
        """The teachers by name; empty without distillation."""
        return getattr(self.bare_model, 'teachers', {})

    def load_checkpoint(
        self, filename: str, map_location: str | Callable = 'cpu', **_: Any
    ) -> dict:
        """Load a checkpoint that has exactly the model's tensors; any other is a UserError."""
        checkpoint = read_checkpoint(filename, map_location=map_location)
        if self.resumes:
            check_resumable(checkpoint, self, filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        # Only a new training changes the classifier.
        reset = bool(self.cfg.get('reset_classifier')) if self.trains and not self.resumes else None
        if not reset:
            info = getattr(next(iter(self.loops.values())).dataloader.dataset, 'metainfo', {})
            check_order(checkpoint.get('meta'), info.get('classes'), filename)
        matched = load_strictly(self.bare_model, checkpoint, filename, reset_classifier=reset)
        if self.resumes:
            check_optimizer(checkpoint, self)
        self._has_loaded = True
        self.logger.info(f'loaded {filename}, matched {matched}/{matched} tensors')
        return checkpoint

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume from a checkpoint; one that cannot be resumed is a UserError."""
        with resuming(filename):
            super().resume(filename, *args, **kwargs)

    def load_or_resume(self) -> None:
        """Load what the run starts from, then write its config.

        In this order a run that is refused does not replace the config of the earlier run.
        """
        super().load_or_resume()
        # A test does not replace the config of the training.
        if self.trains and not isinstance(self.optim_wrapper, dict):
            super().dump_config()
            for problem in misfits(self):
                self.logger.warning(problem)

    def dump_config(self) -> None:
        """Do nothing: mmengine would write the config before the checkpoint is checked."""

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args: object, **kwargs: object) -> None:
        """Write a checkpoint completely or not at all. Arguments as mmengine's."""
        with atomic_path(Path(out_dir) / filename) as partial:
            super().save_checkpoint(str(partial.parent), partial.name, *args, **kwargs)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call a method of all hooks; a hook that cannot write its file does not stop training."""
        for hook in [hook for hook in self.hooks if hasattr(hook, fn_name)]:
            name = type(hook).__name__
            try:
                # Some hooks build parts from the config.
                with config_errors(self.cfg) if fn_name == 'before_run' else nullcontext():
                    getattr(hook, fn_name)(self, **kwargs)
            except OSError as error:
                needed = not self.trains or isinstance(hook, CheckpointHook)
                if needed or error.errno not in OF_THE_SYSTEM:
                    raise
                if (name, error.errno) not in self._unwritable:
                    self._unwritable.add((name, error.errno))
                    self.logger.warning(
                        f'{name} cannot write {error.filename or "its file"} ({error.strerror}): '
                        'training continues without it'
                    )

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model, for which timm may download weights.

        Raises:
            UserError: A download failed.
        """
        advice = '; to download nothing, write model.backbone.pretrained=False'
        with user_errors('the model cannot be built: ', OSError, after=advice):
            if self.start is not None:
                forget_pretrained(model)
            return super().build_model(model)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Move the model to its device and, with several processes, wrap it in DDP."""
        if self.distributed and get_device() == 'cpu':
            # mmengine would pass the index of a GPU.
            options = dict(device_ids=None, broadcast_buffers=False)
            unused = self.cfg.get('find_unused_parameters', False)
            model_wrapper_cfg = dict(options, find_unused_parameters=unused)
            # SyncBN needs a GPU.
            model = revert_sync_batchnorm(model)
        return super().wrap_model(model_wrapper_cfg, model)

    def setup_env(self, env_cfg: dict) -> None:
        """Set up processes and devices, and lock the work_dir until training ends."""
        launcher = self.cfg.get('launcher', 'none')
        try:
            if launcher == 'pytorch' and get_device() == 'cpu' and not is_distributed():
                # mmengine would need a GPU.
                init_process_group(backend='gloo')
            super().setup_env(env_cfg)
        except (KeyError, ValueError) as error:
            if launcher == 'none' or is_distributed():
                raise
            raise UserError(
                f'--launcher {launcher}: this process was not started by it ({one_line(error)}); '
                'use torchrun or tools/dist_train.sh, or leave --launcher out'
            ) from error
        # Readers sort the starts by name. The clock may have gone back, or the time zone changed.
        last = max((file.parts[-3] for file in files_of_starts(Path(self.work_dir))), default='')
        if self._timestamp <= last:
            self._timestamp = f'{last}_'
        if self.trains:
            self._lock = lock_work_dir(self.work_dir)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a data loader after checking its files. Arguments as mmengine's."""
        if isinstance(dataloader, dict) and isinstance(dataloader.get('dataset'), dict):
            check_listing(dataloader['dataset'], 'SPLIT_dataloader.dataset')
            if dataloader.get('num_workers') == 0:
                # torch refuses workers that persist if there is none.
                dataloader = {**dataloader, 'persistent_workers': False}
            if (dataloader.get('sampler') or {}).get('type') == 'SeededInfiniteSampler':
                seeded = dict(type='SeededSamples', dataset=dataloader['dataset'])
                dataloader = {**dataloader, 'dataset': seeded}
        loader = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
        if loader.worker_init_fn is not None:
            loader.worker_init_fn = partial(end_with_lost_batches, loader.worker_init_fn)
        return loader

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, with a log file in UTF-8 and a console without mmengine's details."""
        # mmengine's own FileHandler has no encoding. Without `maxBytes` this handler never rotates.
        handler = dict(type='RotatingFileHandler', encoding='utf-8', errors='backslashreplace')
        kwargs.setdefault('file_handler_cfg', handler)
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_for_the_console)
        return logger

    def register_default_hooks(self, hooks: dict[str, Hook | dict | None] | None = None) -> None:
        """Register the hooks. None switches off any hook; in mmengine only its own hooks."""
        # A runtime of mmsegmentation does not name these.
        hooks = dict(
            non_finite_loss=dict(type='mmseg.NonFiniteLossHook'),
            distillation=dict(type='mmseg.DistillationHook'),
            gradient_report=dict(type='mmseg.GradientReportHook'),
            teacher_record=dict(type='mmseg.TeacherRecordHook'),
        ) | (hooks or {})
        super().register_default_hooks({name: hook or Hook() for name, hook in hooks.items()})
        if hasattr(self.bare_model, 'num_classes'):
            self.register_hook(LabelCheckHook())

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedulers; one without `end` follows the length of the training."""
        with config_errors(self.cfg):
            return super().build_param_scheduler(follow_length(scheduler, self.max_iters))

    def _init_model_weights(self) -> None:
        init_weights(self.bare_model)
        for tensor in self.bare_model.state_dict().values():
            broadcast(tensor)

    def _maybe_compile(self, target: str) -> None:
        # In place of mmengine, which would compile the whole step.
        if target == 'train_step':
            compile_training(self)
            record_training_step(self)


def _for_the_console(record: logging.LogRecord) -> bool:
    # Some messages begin with a line of dashes.
    return not record.getMessage().lstrip(' \n\t-').startswith(DEVELOPER_MESSAGES)


def build_runner(cfg: Config) -> KDRunner:
    """Build the runner of a checked config; UserError if a part cannot be built."""
    with config_errors(cfg):
        runner = KDRunner.from_cfg(cfg)
    if problem := unused_card():
        runner.logger.warning(problem)
    return runner
