"""mmengine's Runner, made safe to kill and quiet to read."""

from __future__ import annotations

import functools
import logging
import re
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import broadcast, broadcast_object_list, is_distributed, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.model import (
    MMDistributedDataParallel,
    is_model_wrapper,
    revert_sync_batchnorm,
)
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmseg.registry import RUNNERS
from torch import nn
from torch.distributed import init_process_group
from torch.utils.data import DataLoader

from mmseg_kd.checkpoints import (
    atomic_path,
    find_latest_checkpoint,
    load_strictly,
    read_checkpoint,
    remove_file,
    state_dict_of,
)
from mmseg_kd.checkpoints.initialization import check_files, init_weights
from mmseg_kd.command_line import OF_THE_SYSTEM
from mmseg_kd.config.errors import config_errors
from mmseg_kd.datasets.checked_files import guard
from mmseg_kd.datasets.listing import check_listing
from mmseg_kd.engine.compilation import cannot_compile, compile_blocks
from mmseg_kd.engine.devices import memory_errors, unused_card
from mmseg_kd.engine.graphed_step import GraphedStep, cannot_record
from mmseg_kd.engine.hooks.distillation_hook import DistillationHook
from mmseg_kd.engine.hooks.label_check_hook import LabelCheckHook
from mmseg_kd.engine.hooks.trial_hook import TrialHook
from mmseg_kd.engine.optim import set_matmul_precision
from mmseg_kd.engine.resuming import check_optimizer, check_resumable
from mmseg_kd.engine.summary import describe_run, differing_crops, slow_precisions
from mmseg_kd.engine.training_length import LengthCheckHook, follow_length
from mmseg_kd.engine.work_dir_lock import WorkDirLock
from mmseg_kd.errors import UserError, one_line


def _in_config_errors(build: Callable) -> Callable:
    @functools.wraps(build)
    def built(*args: Any, **kwargs: Any) -> Any:
        with config_errors(args[0].cfg):
            return build(*args, **kwargs)

    return built


@RUNNERS.register_module()
class KDRunner(Runner):
    """Runner whose checkpoints are read as data, matched strictly, and written whole or not at all.

    It says on the console what a user looks for and keeps the rest (environment, full
    config, hook order) in the log file.
    """

    _lock: WorkDirLock | None = None

    def __init__(self, *args: Any, experiment_name: str | None = None, **kwargs: Any) -> None:
        self._unwritable: set[tuple[str, int]] = set()
        # mmengine shares logger and message hub between runs of one name in one second.
        name = experiment_name or uuid.uuid4().hex[:8]
        super().__init__(*args, experiment_name=name, **kwargs)

    @memory_errors
    def train(self) -> nn.Module:
        """Train; the teacher, if any, is loaded before the first iteration."""
        try:
            return self._train()
        finally:
            if self._lock is not None:
                self._lock.release()

    def _train(self) -> nn.Module:
        if hasattr(self.bare_model, 'build_teacher'):
            with config_errors(self.cfg):
                self.bare_model.build_teacher()
            hooked = any(isinstance(hook, DistillationHook) for hook in self.hooks)
            if self.bare_model.needs_hook and not hooked:
                raise UserError(
                    'schedules, GradientShare, adapters and EMATeacher need '
                    "default_hooks.distillation=dict(type='DistillationHook')"
                )
        if is_main_process():
            for leftover in Path(self.work_dir).glob('.*.tmp*'):
                # Of a run that was killed while it wrote.
                remove_file(leftover)
        for name in self.cfg.get('activation_checkpointing') or ():
            try:
                self.bare_model.get_submodule(name)
            except AttributeError as error:
                raise UserError(f'activation_checkpointing: {name!r}: {error}') from error
        self.logger.info(describe_run(self))
        set_matmul_precision(self.cfg.get('float32_matmul_precision'), self.logger.info)
        for remark in [*slow_precisions(self), *differing_crops(self.cfg)]:
            self.logger.warning(remark)
        try:
            return super().train()
        except (KeyboardInterrupt, OSError) as error:
            how = 'stopped' if isinstance(error, OSError) else 'interrupted'
            latest = find_latest_checkpoint(self.work_dir)
            advice = (
                f'{latest.name} is there, continue with --resume' if latest else 'nothing saved'
            )
            self.logger.warning(f'{how} at iteration {self.iter}: {advice}')
            raise

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
        if self._resume:
            check_resumable(checkpoint, self, filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        tensors = state_dict_of(checkpoint, filename)
        matched = load_strictly(self.bare_model, tensors, source=str(filename))
        if self._resume and isinstance(self.optim_wrapper, OptimWrapper):
            check_optimizer(checkpoint['optimizer'], self.optim_wrapper, filename)
            # torch would take the checkpoint's choice, while GradScaler asks the config's.
            fused = self.cfg.optim_wrapper.get('optimizer', {}).get('fused')
            for group in checkpoint['optimizer']['param_groups']:
                if 'fused' in group:
                    group['fused'] = fused
        self._has_loaded = True
        self.logger.info(f'loaded {filename}, matched {matched}/{matched} tensors')
        return checkpoint

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
        for hook in self._hooks:
            try:
                with config_errors(self.cfg) if fn_name == 'before_run' else nullcontext():
                    getattr(hook, fn_name, _nothing)(self, **kwargs)
            except OSError as error:
                if self._train_loop is None or isinstance(hook, CheckpointHook):
                    raise
                self._warn_unwritable(type(hook).__name__, error)

    def _warn_unwritable(self, writer: str, error: OSError) -> None:
        """Warn, once, that a hook cannot write a file that training does not need."""
        if self._lock is not None:
            self._lock.check()
        if error.errno not in OF_THE_SYSTEM:
            raise error
        if (writer, error.errno) not in self._unwritable:
            self._unwritable.add((writer, error.errno))
            self.logger.warning(
                f'{writer} cannot write {error.filename or "its file"} ({error.strerror}): '
                'training continues without it'
            )

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Build the model. Some constructors load or download weights.

        Raises:
            UserError: A file cannot be read or does not fit, or a download failed.
        """
        files = check_files(model)
        try:
            built = super().build_model(model)
        except (OSError, RuntimeError) as error:
            text = one_line(error) or type(error).__name__
            offline = isinstance(error, OSError)
            advice = '; to download nothing, write pretrained=False' if offline else ''
            raise UserError(f'the model cannot be built: {text}{advice}') from error
        for file, count in files.items():
            # timm loads strictly.
            self.logger.info(f'{file}: matched {count}/{count} tensors')
        return built

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Move the model to its device and, with several processes, wrap it in DDP."""
        if self.distributed and get_device() == 'cpu' and not is_model_wrapper(model):
            if any(isinstance(m, nn.SyncBatchNorm) for m in model.modules()):
                self.logger.warning(
                    'SyncBN needs a GPU: on the CPU every process normalises its own part of the '
                    'batch, and running statistics are averaged before evaluating and saving'
                )
            # mmengine names a GPU for DDP, which a model on the CPU must not have.
            return MMDistributedDataParallel(
                revert_sync_batchnorm(model),
                broadcast_buffers=False,
                find_unused_parameters=self.cfg.get('find_unused_parameters', False),
            )
        return super().wrap_model(model_wrapper_cfg, model)

    def setup_env(self, env_cfg: dict) -> None:
        """Set up processes and devices; several processes on the CPU talk over gloo."""
        try:
            if self._launcher == 'pytorch' and get_device() == 'cpu' and not is_distributed():
                # mmengine would ask for a GPU.
                init_process_group(backend='gloo')
            super().setup_env(env_cfg)
        except (KeyError, ValueError) as error:
            if self._launcher == 'none' or is_distributed():
                raise
            raise UserError(
                f'--launcher {self._launcher}: this process was not started by it '
                f'({" ".join(str(error).split())}); use torchrun or tools/dist_train.sh, or leave '
                '--launcher out'
            ) from error
        if self._train_loop is not None:
            self._take_work_dir()

    def _take_work_dir(self) -> None:
        """Hold the work_dir until training ends; the main process does, for all of them."""
        refusal: list[str | None] = [None]
        if is_main_process():
            try:
                self._lock = WorkDirLock(self.work_dir)
            except UserError as error:
                refusal = [str(error)]
        broadcast_object_list(refusal)
        if refusal[0]:
            raise UserError(refusal[0])

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
        """Build the logger; what only a bug report needs goes to the file alone, in UTF-8."""
        # mmengine gives its own FileHandler no encoding. Without `maxBytes` this one never rotates.
        handler = dict(type='RotatingFileHandler', encoding='utf-8', errors='backslashreplace')
        kwargs.setdefault('file_handler_cfg', handler)
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_for_the_console)
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

    def dump_config(self) -> None:
        """Write the config into the work_dir; that of a test, which has no training, to its log."""
        if self._train_loop is not None:
            super().dump_config()
        elif is_main_process():
            self.cfg.dump(Path(self.log_dir) / Path(self.cfg.filename or 'config.py').name)

    def _maybe_compile(self, target: str) -> None:
        """Compile the blocks and record the step, for the config's `compile` and `cuda_graph`."""
        if target == 'train_step':
            self._compile_blocks()
            self._record_step()

    def _record_step(self) -> None:
        if not self.cfg.get('cuda_graph') or get_device() != 'cuda':
            return
        if reason := cannot_record(self.model, self.optim_wrapper):
            self.logger.warning(f'cuda_graph: training runs eagerly ({reason})')
            return
        self.model.train_step = GraphedStep(self.model, self.logger.warning)
        self.logger.info('cuda_graph: the training step is recorded after three iterations')

    def _compile_blocks(self) -> None:
        options = self.cfg.get('compile')
        if not options:
            return
        options = {} if options is True else dict(options)
        if reason := cannot_compile(torch.device(get_device()), options):
            self.logger.warning(f'compile: not possible here, training goes on without ({reason})')
            return
        teachers = getattr(self.bare_model, 'teachers', {}).values()
        models = [self.bare_model, *(teacher.segmentor for teacher in teachers)]
        count = sum(compile_blocks(model, options) for model in models)
        self.logger.info(
            f'compile: {count} blocks; the first iterations take a minute or more'
            if count
            else 'compile: neither the student nor a teacher has blocks to compile'
        )

    test = memory_errors(Runner.test)

    # What mmengine builds when it starts, because testing needs only a part of it.
    build_train_loop = _in_config_errors(Runner.build_train_loop)
    build_val_loop = _in_config_errors(Runner.build_val_loop)
    build_test_loop = _in_config_errors(Runner.build_test_loop)
    build_optim_wrapper = _in_config_errors(Runner.build_optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedulers; those without an `end` follow the length of the training."""
        with config_errors(self.cfg):
            return super().build_param_scheduler(follow_length(scheduler, self.max_iters))

    def _init_model_weights(self) -> None:
        # mmengine lists every parameter's initialisation, which nobody reads.
        self.bare_model._dump_init_info = _nothing
        init_weights(self.bare_model)
        del self.bare_model._dump_init_info
        for tensor in self.bare_model.state_dict().values():
            broadcast(tensor)


# What mmengine tells its own developers, by the beginning of the message.
FILE_ONLY = re.compile(
    r'[\s-]*(System environment|Config:|Hooks will be executed|Distributed training is not used'
    r'|Checkpoints will be saved|Exp name|Advance dataloader|per class results|Load checkpoint'
    r'|resumed epoch|paramwise_options|The prefix is not set|"(FileClient|HardDiskBackend)")'
)


def _nothing(*args: Any, **kwargs: Any) -> None:
    pass


def _for_the_console(record: logging.LogRecord) -> bool:
    return not FILE_ONLY.match(record.getMessage())


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
